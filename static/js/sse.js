// An incremental reader of text/event-stream, as the HTML standard defines it.

// Only these end a line; U+2028, U+2029 and U+0085 are text like any other.
const LINE_END = /\r\n|\n|\r/;

export class EventParser {
  #rest = "";
  #afterCR = false;
  #id = "";
  #data = [];

  /** Takes the next bit of text, cut anywhere, and yields each `{id, data}` it completes. */
  *feed(text) {
    if (!text) return;
    // A CR that ended the last bit has ended its line; the LF of a CRLF may come only now.
    if (this.#afterCR && text[0] === "\n") text = text.slice(1);
    this.#afterCR = text.endsWith("\r");
    const lines = (this.#rest + text).split(LINE_END);
    this.#rest = lines.pop();
    for (const line of lines) {
      if (line) this.#field(line);
      else if (this.#data.length) yield this.#dispatch();
    }
  }

  #field(line) {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") this.#data.push(value);
    else if (name === "id" && !value.includes("\0")) this.#id = value;
  }

  #dispatch() {
    const event = { id: this.#id, data: this.#data.join("\n") };
    this.#data = [];
    return event;
  }
}
