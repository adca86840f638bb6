// Messages as elements.

import { drawSoon, sliceFrom } from "./drawing.js";
import { element } from "./elements.js";
import { Prose } from "./prose/prose.js";

const REHEARSAL = "# One\n\nTwo **three** `four` [five](#six).\n\n- seven\n\n1. eight\n\n> nine\n\n|a|b|\n|-|-|\n|c|d|\n\n```\nten\n```\n";

/** An answer, growing or grown. */
export class Answer {
  #text = "";
  #pace = null;
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

  get text() {
    return this.#text;
  }

  /** It is being written; `pace` counts it. */
  begin(pace) {
    this.#pace = pace;
    this.element.classList.add("live");
    this.element.setAttribute("aria-busy", "true");
  }

  append(text) {
    this.#text += text;
    this.#prose.append(text);
    drawSoon(this.#draw);
  }

  replace(text) {
    this.#change(text);
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
    if (this.#pace) this.figures(this.#pace.parts);
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
    if (!this.#isEnded) this.figures(this.#pace.parts);
    else if (isDone) {
      this.element.classList.remove("live");
      this.element.removeAttribute("aria-busy");
    }
    return isDone;
  };
}

/** Draws a bit of everything to nobody's eyes, so that the first answer need not wait for what draws it to be
    compiled. */
export function rehearse() {
  const prose = new Prose(element("div"), () => {});
  prose.append(REHEARSAL);
  prose.end();
  prose.work(Infinity);
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
