// A block of code: its head, and its text in parts that are coloured once and then left alone.

import { canColour, coloured, isSettled } from "./colouring.js";
import { element } from "../elements.js";
import { plain } from "../markdown.js";
import { morph } from "./morph.js";

// A part is so many lines, or the first of these that leaves no string or comment open.
const PART_LINES = [40, 80, 160];
// Or fewer, if they are long.
const LINE_CHARS = 60;

export class Code {
  #name = element("span");
  #pre = element("pre");
  #code = element("code");
  #language = "";
  #cut = 0;
  #window = 0;
  #last = null;
  #tail = null;

  /** `again` is called when it should be drawn once more. */
  constructor(again) {
    this.again = again;
    const copy = element("button", "copy", "Copy");
    copy.type = "button";
    copy.setAttribute("aria-label", "Copy the code");
    const head = element("div", "code-head");
    head.append(this.#name, copy);
    this.#pre.tabIndex = 0;
    this.#pre.setAttribute("role", "region");
    this.#pre.append(this.#code);
    this.#say("");
    this.element = element("div", "code");
    this.element.dir = "ltr";
    this.element.append(head, this.#pre);
  }

  /** False if there was no time for all of it. */
  draw(block, { sureChars, until }) {
    const text = block.data.fence ? block.text : withoutBlankEnd(block.text);
    const [language] = (block.data.info ?? "").split(/\s/, 1);
    if (language !== this.#language || text.length < this.#cut) this.#restart(language);
    const isKnown = isSettled(language, this.again);
    while (isKnown && this.#settle(text, Math.min(sureChars, text.length))) {
      if (performance.now() < until) continue;
      this.#show(text, plain);
      return false;
    }
    this.#show(text, (rest) => coloured(rest, language).nodes);
    return true;
  }

  #say(language) {
    this.#name.textContent = language;
    this.#pre.setAttribute("aria-label", language ? `Code, ${language}` : "Code");
    this.#code.className = /^[\w+#.-]+$/.test(language) ? `language-${language}` : "";
  }

  #restart(language) {
    this.#language = language;
    this.#say(language);
    this.#cut = this.#window = 0;
    this.#last = this.#tail = null;
    this.#code.replaceChildren();
  }

  #show(text, draw) {
    const tail = text.slice(this.#cut);
    const key = `${draw === plain || !canColour(this.#language)} ${tail}`;
    if (key === this.#tail) return;
    this.#tail = key;
    morph(this.#code, this.#last, draw(tail));
  }

  /** The next part, if it is there as far as it is sure. */
  #settle(text, sureChars) {
    for (; this.#window < PART_LINES.length; this.#window++) {
      const end = lineEnd(text, this.#cut, PART_LINES[this.#window], sureChars);
      if (end < 0) return false;
      const { nodes, isWhole } = coloured(text.slice(this.#cut, end), this.#language);
      if (!isWhole && this.#window < PART_LINES.length - 1) continue;
      const part = element("span", "part");
      part.append(nodes);
      morph(this.#code, this.#last, only(part));
      this.#last = this.#code.lastChild;
      this.#cut = end;
      this.#window = 0;
      this.#tail = null;
      return true;
    }
    return false;
  }
}

function only(node) {
  const fragment = document.createDocumentFragment();
  fragment.append(node);
  return fragment;
}

function lineEnd(text, from, lines, sureChars) {
  for (let at = from, line = 1; ; line++) {
    const end = text.indexOf("\n", at) + 1;
    if (end === 0 || end > sureChars) return -1;
    if (line === lines || end - from >= lines * LINE_CHARS) return end;
    at = end;
  }
}

function withoutBlankEnd(text) {
  let end = text.length;
  for (let at = end; at > 0 && " \t\n".includes(text[at - 1]); at--) if (text[at - 1] === "\n") end = at - 1;
  return text.slice(0, end);
}
