// Messages as elements.

import { drawSoon, sliceFrom } from "./drawing.js";
import { element } from "./elements.js";
import { Prose } from "./prose/prose.js";

export { element };

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** A question; `refuse` says at it why it was not taken. */
export class Question {
  constructor(text) {
    this.element = element("article", "question");
    this.element.setAttribute("aria-label", "Question");
    this.element.append(element("div", "bubble", text));
  }

  refuse(sentence, action) {
    this.element.classList.add("unsent");
    this.element.append(note("problem", sentence, action));
  }
}

/** An answer, growing or grown. */
export class Answer {
  #text = "";
  #counted = [];
  #isEnded = false;
  #place = element("div", "prose");
  #prose = new Prose(this.#place, () => drawSoon(this.#draw));
  #note = element("div", "note-place");
  #line = element("span", "line");
  #figures = element("p", "figures");

  constructor() {
    this.element = element("article", "answer");
    this.element.setAttribute("aria-label", "Answer");
    const foot = element("footer", "foot");
    foot.append(this.#line, this.#figures);
    this.element.append(this.#place, this.#note, foot);
  }

  /** It is being written. */
  begin() {
    this.element.classList.add("live");
    this.element.setAttribute("aria-busy", "true");
  }

  /** `counted` are the figures up to here. */
  append(text, counted) {
    this.#text += text;
    this.#counted = counted;
    this.#prose.append(text);
    drawSoon(this.#draw);
  }

  replace(text, counted) {
    this.#change(text);
    this.#counted = counted;
    drawSoon(this.#draw);
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
    this.#change(text);
    this.#prose.end();
    this.#isEnded = true;
    this.line("");
    this.figures(this.#counted);
    // Most are drawn by then; a long one that is stored takes several frames.
    this.element.setAttribute("aria-busy", "true");
    if (!this.#draw(sliceFrom(performance.now()))) drawSoon(this.#draw);
  }

  /** A short sentence below the text; `{label, act, afterS?}` is a button that does something about it. */
  note(kind, sentence, action) {
    this.#note.replaceChildren(note(kind, sentence, action));
  }

  #change(text) {
    if (text.startsWith(this.#text)) this.#prose.append(text.slice(this.#text.length));
    else this.#prose.restart(text);
    this.#text = text;
  }

  #draw = (until) => {
    const isDone = this.#prose.work(until);
    if (!this.#isEnded) this.figures(this.#counted);
    else if (isDone) {
      this.element.classList.remove("live");
      this.element.removeAttribute("aria-busy");
    }
    return isDone;
  };
}

function note(kind, sentence, action) {
  const box = element("div", `note ${kind}`);
  box.append(element("span", "", sentence));
  if (!action) return box;
  const button = element("button", "again", action.label);
  button.type = "button";
  button.addEventListener("click", action.act);
  if (action.afterS) countDown(button, action);
  box.append(button);
  return box;
}

function countDown(button, { label, afterS }) {
  const until = Date.now() + afterS * 1000;
  const tick = () => {
    const left = Math.ceil((until - Date.now()) / 1000);
    button.disabled = left > 0;
    button.textContent = left > 0 ? `${label} in ${left} s` : label;
    if (left > 0) setTimeout(tick, 250);
  };
  tick();
}
