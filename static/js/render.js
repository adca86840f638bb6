// Messages as elements.

import { blocks, nodes } from "./markdown.js";

// Rendering may take at most this share of the time; a long answer is then drawn less often.
const SHARE = 0.2;

export function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** An answer, growing or grown. */
export class Answer {
  #text = "";
  #counted = [];
  #drawn = [];
  #stale = false;
  #due = 0;
  #timer = null;
  #prose = element("div", "prose");
  #note = element("div", "note-place");
  #line = element("span", "line");
  #figures = element("p", "figures");

  constructor() {
    this.element = element("article", "answer");
    this.element.setAttribute("aria-label", "Answer");
    const foot = element("footer", "foot");
    foot.append(this.#line, this.#figures);
    this.element.append(this.#prose, this.#note, foot);
  }

  get text() {
    return this.#text;
  }

  /** It is being written. */
  begin() {
    this.element.classList.add("live");
    this.element.setAttribute("aria-busy", "true");
  }

  /** `counted` are the figures up to here. */
  append(text, counted) {
    this.replace(this.#text + text, counted);
  }

  replace(text, counted) {
    this.#text = text;
    this.#counted = counted;
    this.#drawSoon();
  }

  /** What is said of the connection; empty when it is as it should be. */
  line(text) {
    this.#line.textContent = text;
  }

  figures(parts) {
    this.#figures.replaceChildren(...parts.map((part) => element("span", "", part)));
  }

  /** Nothing more will come. */
  end(text = this.#text) {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#text = text;
    this.element.classList.remove("live");
    this.element.removeAttribute("aria-busy");
    this.line("");
    this.figures(this.#counted);
    // Whole, because a link may be defined further down than it is used.
    this.#draw(true);
  }

  /** A short sentence below the text; `{label, act, afterS?}` is a button that does something about it. */
  note(kind, sentence, action) {
    this.#note.replaceChildren(note(kind, sentence, action));
  }

  #drawSoon() {
    this.#stale = true;
    if (this.#timer !== null) return;
    this.#timer = setTimeout(() => requestAnimationFrame(() => this.#frame()), this.#due - performance.now());
  }

  #frame() {
    if (this.#timer === null) return;
    const from = performance.now();
    this.#stale = false;
    this.#draw(false);
    this.figures(this.#counted);
    // Layout and paint, which come before this, are part of what drawing costs.
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#due = performance.now() + (performance.now() - from) / SHARE;
      if (this.#stale) this.#drawSoon();
    });
  }

  // Blocks whose source has not changed keep their nodes, so a selection in them survives too.
  #draw(whole) {
    const next = blocks(this.#text);
    let same = 0;
    while (!whole && same < next.length && this.#drawn[same]?.raw === next[same].raw) same++;
    for (const { made } of this.#drawn.splice(same)) made.forEach((node) => node.remove());
    for (const block of next.slice(same)) {
      const made = nodes(block);
      this.#prose.append(...made);
      this.#drawn.push({ raw: block.raw, made });
    }
  }
}

/** A short sentence with a button: `{label, act}` of what to do about it. With `afterS` that is possible only
    after so many seconds; with `then` as well, they are counted in the sentence, and then that is called. */
export function note(kind, sentence, action) {
  const box = element("div", `note ${kind}`);
  const said = element("span", "", sentence);
  box.append(said);
  if (!action) return box;
  const button = element("button", "again", action.label);
  button.type = "button";
  button.addEventListener("click", action.act);
  box.append(button);
  if (action.then) {
    countDown(action.afterS, (left) => { said.textContent = `${sentence} ${left} s.`; }, () => { if (box.isConnected) action.then(); });
  } else if (action.afterS) {
    countDown(action.afterS, (left) => {
      button.disabled = true;
      button.textContent = `${action.label} in ${left} s`;
    }, () => {
      button.disabled = false;
      button.textContent = action.label;
    });
  }
  return box;
}

function countDown(seconds, show, end) {
  const until = Date.now() + seconds * 1000;
  const tick = () => {
    const left = Math.ceil((until - Date.now()) / 1000);
    if (left <= 0) {
      end();
      return;
    }
    show(left);
    setTimeout(tick, 250);
  };
  tick();
}
