// Markdown's blocks, a line at a time, so that a line costs the same however long the answer is: CommonMark's
// algorithm (https://spec.commonmark.org/0.31.2/#appendix-a-parsing-strategy) with GitHub's tables and display math.
// The last line, which may still grow, is taken on trial and taken back before the next.

import { Line } from "./line.js";
import { ATX, CLOSING_FENCE, FENCE, RULE, SETEXT, htmlEnd, htmlKind, listMarker, mathEnd, mathStart } from "./marks.js";
import { definition } from "./references.js";
import { aligns, cells, isDelimiterRow } from "./rows.js";
import { Trial } from "./trial.js";

const CODE_INDENT = 4;
// What may become a table: its head, and perhaps some of its delimiter row.
const HALF_TABLE = /^(\|[^\n]*)(?:\n[ \t]*[|:][|: \t-]*)?$/;
const MOST_PRESUMED = 500;
const ACCEPTS_LINES = new Set(["paragraph", "code", "html", "math"]);
const CONTAINERS = new Set(["document", "quote", "item"]);

/** `text` is a leaf's source, its lines joined; `data` says what only its type has, and is never changed in place. */
export class Block {
  children = [];
  text = "";
  lines = 0;
  isOpen = true;
  isLoose = false;
  /** What draws it. */
  view = null;

  constructor(type, parent, data = {}) {
    this.type = type;
    this.parent = parent;
    this.data = data;
    this.index = parent ? parent.children.length : 0;
  }
}

export class Blocks {
  root = new Block("document", null);
  /** What is to be drawn again, parents before their children. */
  touched = new Set();
  /** By label: what links refer to. */
  links = Object.create(null);
  /** Labels that have been defined since somebody looked. */
  defined = [];
  #tip = this.root;
  #leaf = null;
  #wasBlank = false;
  #trial = null;
  #before = null;

  // Of the line at hand.
  #line = null;
  #oldTip = null;
  #matched = null;
  #allClosed = true;

  /** One line, without its end. */
  line(text) {
    this.#line = new Line(text);
    this.#oldTip = this.#tip;
    this.#leaf = null;
    const container = this.#descend();
    if (container) this.#take(container);
  }

  /** More of the last line, without its end. */
  more(text) {
    const leaf = this.#leaf ?? (this.#leaf = this.#add("paragraph"));
    leaf.text += text;
    this.touched.add(leaf);
  }

  /** Nothing more will come. */
  end() {
    while (this.#tip !== this.root) this.#close(this.#tip);
  }

  /** As `line`, until `untry`; and what looks like a table's head is one. */
  try(line) {
    this.#before = { tip: this.#tip, leaf: this.#leaf, wasBlank: this.#wasBlank };
    this.#trial = new Trial(this.root);
    if (line !== null) this.line(line);
    if (this.#tip.type === "paragraph") this.#presumeTable(this.#tip);
  }

  /** Takes the tried line back; gives what it had added, by parent. */
  untry() {
    if (!this.#trial) return [];
    const added = this.#trial.undo(this.touched);
    this.#tip = this.#before.tip;
    this.#leaf = this.#before.leaf;
    this.#wasBlank = this.#before.wasBlank;
    this.#trial = null;
    return added;
  }

  get isInCode() {
    return this.#tip.type === "code";
  }

  isGrowing(block) {
    return block.isOpen || (this.#trial !== null && block === this.#leaf);
  }

  /** How much of a block's text will stay. */
  sureChars(block) {
    return this.#trial ? this.#trial.charsOf(block) : block.text.length;
  }

  /** The deepest block that the line goes on in; none if it ended one. */
  #descend() {
    let container = this.root;
    for (let last; (last = container.children.at(-1)) && last.isOpen; container = last) {
      this.#line.look();
      const goesOn = this.#goesOn(last);
      if (goesOn === null) return null;
      if (!goesOn) break;
    }
    this.#matched = container;
    this.#allClosed = container === this.#oldTip;
    return container;
  }

  #goesOn(block) {
    switch (block.type) {
      case "list": return true;
      case "quote": return this.#quoteMark();
      case "item": return this.#itemGoesOn(block);
      case "code": return block.data.fence ? this.#fenceGoesOn(block) : this.#indentedGoesOn();
      case "html": return !(this.#line.isBlank && !block.data.end);
      case "paragraph":
      case "table":
      case "math": return !this.#line.isBlank;
      default: return false;
    }
  }

  #quoteMark() {
    if (this.#line.indent >= CODE_INDENT || this.#line.found[0] !== ">") return false;
    this.#line.toFound();
    this.#line.advance(1);
    if (this.#line.isAtSpace) this.#line.advance(1, true);
    return true;
  }

  #itemGoesOn({ children, data: { indent, padding } }) {
    if (this.#line.isBlank) {
      if (!children.length) return false;
      this.#line.toFound();
      return true;
    }
    if (this.#line.indent < indent + padding) return false;
    this.#line.advance(indent + padding, true);
    return true;
  }

  #fenceGoesOn(block) {
    const { fence, indent } = block.data;
    if (this.#line.indent < CODE_INDENT && this.#line.found[0] === fence[0]) {
      const closing = CLOSING_FENCE.exec(this.#line.found);
      if (closing && closing[0].length >= fence.length) {
        this.#tip = block;
        this.#close(block);
        this.#wasBlank = false;
        return null;
      }
    }
    for (let left = indent; left > 0 && this.#line.isAtSpace; left--) this.#line.advance(1, true);
    return true;
  }

  #indentedGoesOn() {
    if (this.#line.indent >= CODE_INDENT) this.#line.advance(CODE_INDENT, true);
    else if (this.#line.isBlank) this.#line.toFound();
    else return false;
    return true;
  }

  #take(from) {
    let container = from;
    let isLeaf = container.type !== "paragraph" && ACCEPTS_LINES.has(container.type);
    while (!isLeaf) {
      this.#line.look();
      const started = this.#start(container);
      if (started === null) {
        this.#line.toFound();
        break;
      }
      container = this.#tip;
      isLeaf = started;
    }
    if (!this.#allClosed && !this.#line.isBlank && this.#tip.type === "paragraph") this.#addLine(this.#tip); // lazily
    else {
      this.#closeUnmatched();
      this.#fill(container);
    }
    // A blank line within a quote or a fence separates nothing outside of it, nor does the rest of a bare mark.
    const isBare = container.type === "item" && !container.children.length;
    this.#wasBlank = this.#line.isBlank && container.type !== "quote" && !container.data.fence && !isBare;
  }

  #fill(container) {
    if (ACCEPTS_LINES.has(container.type)) {
      this.#addLine(container);
      const isOpening = container.type === "math" && container.lines === 1;
      if (container.data.end?.test(isOpening ? container.text.slice(2) : this.#line.text)) this.#close(container);
    } else if (!this.#line.isAtEnd && !this.#line.isBlank) {
      if (container.type === "table") this.#addRow(container);
      else this.#addLine(this.#add("paragraph"));
    }
  }

  /** Starts one block in `container`: null if there is none to start, else whether it is a leaf. */
  #start(container) {
    const { type } = container;
    if (this.#line.indent >= CODE_INDENT) {
      // Else it belongs to the paragraph, or goes on one from which its marks are missing.
      if (this.#tip.type === "paragraph" || this.#line.isBlank) return null;
      this.#line.advance(CODE_INDENT, true);
      this.#closeUnmatched();
      this.#add("code");
      return true;
    }
    const rest = this.#line.found;
    if (rest[0] === ">") {
      this.#quoteMark();
      this.#closeUnmatched();
      this.#add("quote");
      return false;
    }
    return this.#startLeaf(container, rest)
      ?? (type === "paragraph" && rest.includes("|") && this.#startTable(container, rest) ? true : null);
  }

  #startLeaf(container, rest) {
    let found;
    if ((found = ATX.exec(rest))) {
      const text = rest.slice(found[0].length).replace(/^[ \t]*#+[ \t]*$/, "").replace(/[ \t]+#+[ \t]*$/, "");
      return this.#whole("heading", { level: found[0].trimEnd().length }, text);
    }
    if ((found = FENCE.exec(rest))) {
      const info = rest.slice(found[0].length).trim();
      return this.#whole("code", { fence: found[0], indent: this.#line.indent, info });
    }
    if ((found = mathStart(rest))) {
      this.#line.toFound();
      return this.#begin("math", { end: mathEnd(found) });
    }
    if (rest[0] === "<") {
      const isParagraph = container.type === "paragraph" || (!this.#allClosed && this.#tip.type === "paragraph");
      const kind = htmlKind(rest, isParagraph);
      if (kind !== null) return this.#begin("html", { end: htmlEnd(kind) });
    }
    if (container.type === "paragraph" && (found = SETEXT.exec(rest)) && this.#setext(container, found[0][0])) return true;
    if (RULE.test(rest)) return this.#whole("rule");
    return this.#startItem(container, rest);
  }

  #startItem(container, rest) {
    const marker = listMarker(rest, container.type === "paragraph");
    if (!marker) return null;
    const indent = this.#line.indent;
    this.#line.toFound();
    this.#line.advance(marker.width, true);
    const padding = marker.width + this.#line.skipAfterMark();
    this.#closeUnmatched();
    const isSame = this.#tip.type === "list" && this.#tip.data.kind === marker.kind;
    if (!isSame) this.#add("list", { kind: marker.kind, start: marker.start });
    this.#add("item", { indent, padding });
    return false;
  }

  #setext(paragraph, mark) {
    this.#closeUnmatched();
    this.#define(paragraph);
    if (!paragraph.text) return false;
    paragraph.type = "heading";
    paragraph.data = { level: mark === "=" ? 1 : 2 };
    this.#line.toEnd();
    return true;
  }

  /** The last line of a paragraph is a table's head if this one is its delimiter row. */
  #startTable(paragraph, rest) {
    if (!isDelimiterRow(rest)) return false;
    const align = aligns(rest);
    const at = paragraph.text.lastIndexOf("\n");
    const head = paragraph.text.slice(at + 1);
    if (cells(head).length !== align.length) return false;
    this.#closeUnmatched();
    let table = paragraph;
    if (at >= 0) {
      paragraph.text = paragraph.text.slice(0, at);
      this.#close(paragraph);
      table = this.#add("table", { align });
    } else {
      Object.assign(paragraph, { type: "table", data: { align }, text: "", lines: 0 });
      this.touched.add(paragraph);
    }
    this.#row(table, head);
    this.#leaf = null;
    this.#line.toEnd();
    return true;
  }

  #presumeTable(paragraph) {
    const found = paragraph.text.length <= MOST_PRESUMED && HALF_TABLE.exec(paragraph.text);
    const align = found ? cells(found[1]).map(() => null) : [];
    if (!align.length) return;
    Object.assign(paragraph, { type: "table", data: { align }, text: "", lines: 0 });
    this.touched.add(paragraph);
    this.#row(paragraph, found[1]);
  }

  #addRow(table) {
    this.#row(table, this.#line.rest);
  }

  #row(table, text) {
    const row = new Block("row", table, { isHead: !table.children.length });
    row.text = text;
    row.isOpen = false;
    table.children.push(row);
    this.#leaf = row;
    this.touched.add(row);
  }

  /** A leaf that this line is all of. */
  #whole(type, data, text = "") {
    this.#closeUnmatched();
    this.#leaf = this.#add(type, data);
    this.#leaf.text = text;
    this.#line.toEnd();
    if (type === "rule") this.#leaf = null;
    return true;
  }

  /** A leaf that this line is the first of. */
  #begin(type, data) {
    this.#closeUnmatched();
    this.#add(type, data);
    return true;
  }

  #add(type, data) {
    while (!mayContain(this.#tip.type, type)) this.#close(this.#tip);
    const parent = this.#tip;
    if (this.#wasBlank && parent.children.length) {
      const list = parent.type === "list" ? parent : parent.type === "item" ? parent.parent : null;
      if (list && !list.isLoose) {
        list.isLoose = true;
        this.touched.add(list);
      }
    }
    const block = new Block(type, parent, data);
    parent.children.push(block);
    this.#tip = block;
    this.touched.add(block);
    return block;
  }

  #addLine(block) {
    // A fence's first line is what it says of itself, and is all taken.
    if (block.data.fence && this.#leaf === block) return;
    block.text = block.lines ? `${block.text}\n${this.#line.rest}` : this.#line.rest;
    block.lines++;
    this.#leaf = block;
    this.touched.add(block);
  }

  #closeUnmatched() {
    if (this.#allClosed) return;
    while (this.#oldTip !== this.#matched) {
      const { parent } = this.#oldTip;
      this.#close(this.#oldTip);
      this.#oldTip = parent;
    }
    this.#allClosed = true;
  }

  #close(block) {
    block.isOpen = false;
    this.#tip = block.parent;
    this.touched.add(block);
    if (block.type !== "paragraph") return;
    this.#define(block);
    if (block.text) return;
    block.parent.children.pop();
  }

  /** What a paragraph begins with may define what links refer to. */
  #define(paragraph) {
    for (let found; paragraph.text[0] === "[" && (found = definition(paragraph.text));) {
      paragraph.text = paragraph.text.slice(found.length);
      if (this.#trial || this.links[found.label]) continue;
      this.links[found.label] = { href: found.href, title: found.title };
      this.defined.push(found.label);
    }
  }
}

function mayContain(parent, type) {
  return parent === "list" ? type === "item" : CONTAINERS.has(parent) && type !== "item";
}
