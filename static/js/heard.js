// What the connection has brought of one answer, in order, kept so that whoever begins to read it later
// misses nothing.

import { heeding } from "./http.js";

export class Heard {
  #from;
  #last;
  #events = [];
  #isEnded = false;
  #isCut = false;
  #wake;
  #news;

  /** The first token to come follows piece number `from`. */
  constructor(from) {
    this.#from = this.#last = from;
    this.#await();
  }

  token(text, count) {
    if (count <= this.#last || this.#isEnded) return;
    this.#last = count;
    this.#add({ kind: "token", text, count });
  }

  reset(text, count) {
    this.#last = count;
    this.#add({ kind: "reset", text, count });
  }

  /** The last event. */
  end(event) {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#add(event);
  }

  /** The line is gone. */
  cut() {
    this.#isCut = true;
    this.#tell();
  }

  /** Whether a reader with that many pieces can go on here: at a token's end, or at the reset that the
      server sends to whoever has less than this began with. */
  suits(after) {
    return after < this.#from || this.#placeOf(after) !== null;
  }

  /** The events after piece number `after`, to the end of the answer or of the line. */
  async *read(after, signal) {
    let at = null;
    for (;;) {
      at ??= this.#placeOf(after);
      while (at !== null && at < this.#events.length) yield this.#events[at++];
      if (this.#isCut) return;
      await heeding(signal, this.#news);
    }
  }

  /** Where the next event of a reader with that many pieces stands, or will. A reset suits them all. */
  #placeOf(after) {
    if (after === this.#from) return 0;
    const last = this.#events.findIndex(({ count }) => count === after);
    if (last >= 0) return last + 1;
    const reset = this.#events.findIndex(({ kind }) => kind === "reset");
    return reset >= 0 ? reset : null;
  }

  #add(event) {
    this.#events.push(event);
    this.#tell();
  }

  #tell() {
    this.#wake();
    this.#await();
  }

  #await() {
    this.#news = new Promise((resolve) => { this.#wake = resolve; });
  }
}
