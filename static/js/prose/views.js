// How each type of block looks. A view has an `element`; `body` is where its block's children go; `draw` brings it up
// to date and gives false if there was no time for all of it.

import { Code } from "./code.js";
import { element } from "../elements.js";
import { html, htmlSeam, inline, inlineSeam } from "../markdown.js";
import { rewrite } from "./morph.js";
import { Piecewise } from "./pieces.js";
import { withoutDefinitions } from "./references.js";
import { cells } from "./rows.js";

// So many rows of a table are a body, so that the layout of those before is not looked at again.
const BODY_ROWS = 50;
const TASK = /^\[([ xX])\](?=\s+\S)/;

/** The view of a block; `kind` tells whether it may go on as another's. */
export function viewOf(block, again) {
  const view = makeView(block, again);
  view.kind = kindOf(block);
  return view;
}

export function kindOf({ type, data, parent }) {
  return [type, data.level ?? data.kind ?? data.isHead, type === "row" && parent.data.align].join(" ");
}

/** Takes a view away, and the body of a table with its last row. */
export function removeView({ element: gone }) {
  const { parentElement: place } = gone;
  gone.remove();
  if (place?.localName === "tbody" && !place.firstChild) place.remove();
}

function makeView(block, again) {
  switch (block.type) {
    case "paragraph": return new Text(element("p"), block);
    case "heading": return new Text(element(`h${block.data.level}`), block);
    case "html": return new Html();
    case "code": return new Code(again);
    case "math": return new Formula();
    case "table": return new Table();
    case "row": return new Row(block);
    case "list": return new List(block);
    default: return new Box(block.type);
  }
}

const TAGS = { quote: "blockquote", item: "li", rule: "hr" };

class Box {
  constructor(type) {
    this.element = this.body = element(TAGS[type]);
    if (type === "quote") this.element.dir = "auto";
  }

  draw() {
    return true;
  }
}

class List {
  constructor({ data: { start } }) {
    this.element = this.body = element(start === null ? "ul" : "ol");
    this.element.dir = "auto";
  }

  draw({ isLoose, data: { start } }) {
    if (start !== null && start !== 1) this.element.setAttribute("start", start);
    else this.element.removeAttribute("start");
    setClass(this.element, isLoose ? "loose" : "");
    return true;
  }
}

class Table {
  #table = element("table");

  constructor() {
    this.element = element("div", "table");
    this.element.tabIndex = 0;
    this.element.setAttribute("role", "region");
    this.element.setAttribute("aria-label", "Table");
    this.element.append(this.#table);
  }

  /** Where a row goes. */
  bodyFor({ data: { isHead } }) {
    const tag = isHead ? "thead" : "tbody";
    const last = this.#table.lastChild;
    if (last?.localName === tag && last.childElementCount < BODY_ROWS) return last;
    return this.#table.appendChild(element(tag));
  }

  draw() {
    return true;
  }
}

class Row {
  #cells;

  constructor({ data: { isHead }, parent }) {
    this.element = element("tr");
    this.#cells = parent.data.align.map((align) => {
      const cell = element(isHead ? "th" : "td");
      cell.dir = "auto";
      if (align) cell.setAttribute("align", align);
      return new Piecewise(cell, inlineSeam, inline);
    });
    this.element.append(...this.#cells.map(({ element: cell }) => cell));
  }

  draw({ text }, look) {
    const sources = cells(text);
    const sureChars = look.sureChars < text.length ? 0 : Infinity;
    this.#cells.forEach((cell, nth) => {
      const isLast = look.isGrowing && nth === sources.length - 1;
      cell.draw(sources[nth] ?? "", { ...look, sureChars, isGrowing: isLast });
    });
    return true;
  }
}

/** As it was written. */
class Formula {
  #text = document.createTextNode("");

  constructor() {
    this.element = element("div", "math");
    this.element.append(this.#text);
  }

  draw({ text }) {
    rewrite(this.#text, text);
    return true;
  }
}

class Html {
  #pieces = new Piecewise(element("div", "html"), htmlSeam, html);

  constructor() {
    this.element = this.#pieces.element;
    this.element.dir = "auto";
  }

  draw({ text }, look) {
    return this.#pieces.draw(text, { ...look, isGrowing: false });
  }
}

class Text {
  #pieces;

  constructor(box, { parent }) {
    this.element = box;
    // A list or a quote goes by all that is in it, except what goes by itself.
    if (parent.type === "document") this.element.dir = "auto";
    this.#pieces = new Piecewise(box, inlineSeam, inline);
  }

  draw(block, look) {
    const { text, parent } = block;
    // Until it is closed a definition may still change.
    const rest = block.isOpen ? withoutDefinitions(text) : text;
    if (rest !== text) return this.#pieces.draw(rest, { ...look, sureChars: 0 });
    const task = parent.type === "item" && block.index === 0 && TASK.exec(text);
    if (parent.type === "item" && block.index === 0) setClass(parent.view.element, task ? "task" : "");
    if (!task) return this.#pieces.draw(text, look);
    const shown = (task[1] === " " ? "☐" : "☑") + text.slice(task[0].length);
    return this.#pieces.draw(shown, { ...look, sureChars: look.sureChars - (text.length - shown.length) });
  }
}

function setClass(box, name) {
  if (name) box.className = name;
  else box.removeAttribute("class");
}
