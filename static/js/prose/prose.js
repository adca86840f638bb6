// An answer's text as it grows: each piece of it is read once, drawn once, and then left alone. Only the end, which may
// still change, is drawn again, so that a token costs the same however long the answer is.

import { Blocks } from "./blocks.js";
import { kindOf, removeView, viewOf } from "./views.js";

// Of a longer line only the beginning says what it is; the rest is text.
const LINE_CHARS = 500;
// What a line may begin with before it is known what it is: nothing is shown of it until then.
const UNDECIDED = /^[\s>]*(?:(?:[-+*]|\d{1,9}[.)])\s+)*(?:[-+*=_~#`$\\]+|\d{1,9}[.)]?|\[[ xX]?\]?)?\s*$/;
const UNDECIDED_IN_CODE = /^\s*(?:`+|~+)?\s*$/;
const LINES_AT_ONCE = 24;

export class Prose {
  #blocks;
  /** What has come and is not read, from `#at` on. */
  #source;
  #at;
  #isLong;
  #wasReturn;
  #isEnded;
  #isClosed;
  /** By parent: blocks that a line taken back had added; their views may go on as those of what it is now. */
  #ghosts;
  /** By label: pieces to draw again when it is defined. */
  #wanted;
  #late;

  /** `again` is called when there is something to draw without new text. */
  constructor(place, again) {
    this.place = place;
    this.again = again;
    this.#begin();
  }

  append(text) {
    if (!text) return;
    // "\r\n" may come in two parts.
    const part = this.#wasReturn && text[0] === "\n" ? text.slice(1) : text;
    this.#wasReturn = text.endsWith("\r");
    const left = this.#source.slice(this.#at);
    this.#at = 0;
    this.#source = left + (part.includes("\r") ? part.replace(/\r\n?/g, "\n") : part);
  }

  restart(text) {
    this.place.replaceChildren();
    this.#begin();
    this.append(text);
  }

  /** Nothing more will come. */
  end() {
    this.#isEnded = true;
  }

  /** Draws for as long; true if nothing is left to do. */
  work(until) {
    for (const [parent, dropped] of this.#blocks.untry()) {
      // Those of the time before stand there still, if there was no time to draw what takes their place.
      this.#ghosts.set(parent, [...(this.#ghosts.get(parent) ?? []), ...dropped]);
    }
    for (let isAll = this.#isClosed; !isAll; ) {
      isAll = this.#readSome();
      if (isAll) this.#readEnd();
      if (!this.#drawTouched(until) || (!isAll && performance.now() >= until)) return false;
    }
    if (!this.#drawTouched(until)) return false;
    this.#bury();
    return this.#drawLate(until);
  }

  #begin() {
    this.#blocks = new Blocks();
    this.#blocks.root.view = { body: this.place, kind: kindOf(this.#blocks.root), draw: () => true };
    this.#source = "";
    this.#at = 0;
    this.#isLong = this.#wasReturn = this.#isEnded = this.#isClosed = false;
    this.#ghosts = new Map();
    this.#wanted = new Map();
    this.#late = [];
  }

  /** Some lines, or all that are there: then true. */
  #readSome() {
    for (let lines = 0; lines < LINES_AT_ONCE; lines++) if (!this.#readLine()) return true;
    return false;
  }

  #readLine() {
    const end = this.#source.indexOf("\n", this.#at);
    const length = (end < 0 ? this.#source.length : end) - this.#at;
    if (!this.#isLong && length > LINE_CHARS) {
      this.#blocks.line(this.#take(LINE_CHARS));
      this.#isLong = true;
    } else if (this.#isLong) {
      if (length) this.#blocks.more(this.#take(length));
      if (end < 0) return false;
      this.#isLong = false;
      this.#at++;
    } else if (end < 0) return false;
    else {
      this.#blocks.line(this.#take(length));
      this.#at++;
    }
    return true;
  }

  #take(chars) {
    this.#at += chars;
    return this.#source.slice(this.#at - chars, this.#at);
  }

  /** What is not a whole line yet. */
  #readEnd() {
    const rest = this.#source.slice(this.#at);
    if (this.#isEnded) {
      if (rest) this.#blocks.line(this.#take(rest.length));
      this.#blocks.end();
      this.#isClosed = true;
    } else if (!this.#isLong) {
      const isUndecided = (this.#blocks.isInCode ? UNDECIDED_IN_CODE : UNDECIDED).test(rest);
      this.#blocks.try(isUndecided ? null : rest);
    }
  }

  #drawTouched(until) {
    const { touched } = this.#blocks;
    for (const block of touched) {
      touched.delete(block);
      if (!isThere(block)) this.#remove(block);
      else if (!this.#draw(block, until)) {
        touched.add(block);
        return false;
      }
      if (touched.size && performance.now() >= until) return false;
    }
    return true;
  }

  #draw(block, until) {
    if (block.view?.kind !== kindOf(block)) this.#place(block);
    return block.view.draw(block, {
      links: this.#blocks.links,
      sureChars: this.#blocks.sureChars(block),
      isGrowing: this.#blocks.isGrowing(block),
      want: (labels, redraw) => this.#want(labels, redraw),
      until,
    });
  }

  #place(block) {
    const old = block.view?.element;
    if (!old && this.#adopt(block)) return;
    const { view } = block.parent;
    block.view = viewOf(block, () => this.#touch(block));
    if (old) old.replaceWith(block.view.element);
    else (view.body ?? view.bodyFor(block)).append(block.view.element);
  }

  /** Goes on with the view of what stood in the same place before the last line was taken back. */
  #adopt(block) {
    const ghosts = this.#ghosts.get(block.parent) ?? [];
    const at = ghosts.findIndex(({ index }) => index === block.index);
    if (at < 0) return false;
    const [ghost] = ghosts.splice(at, 1);
    if (ghost.view?.kind === kindOf(block)) {
      block.view = ghost.view;
      block.view.again = () => this.#touch(block);
      this.#ghosts.set(block, ghost.children);
      return true;
    }
    for (const each of [ghost, ...ghosts.splice(0)]) this.#remove(each);
    return false;
  }

  #remove(block) {
    if (block.view) removeView(block.view);
    block.view = null;
  }

  #bury() {
    for (const ghost of [...this.#ghosts.values()].flat()) this.#remove(ghost);
    this.#ghosts.clear();
  }

  #touch(block) {
    this.#blocks.touched.add(block);
    this.again();
  }

  #want(labels, redraw) {
    for (const label of labels) {
      if (!this.#wanted.has(label)) this.#wanted.set(label, []);
      this.#wanted.get(label).push(redraw);
    }
  }

  #drawLate(until) {
    for (const label of this.#blocks.defined.splice(0)) {
      this.#late.push(...(this.#wanted.get(label) ?? []));
      this.#wanted.delete(label);
    }
    while (this.#late.length) {
      if (performance.now() >= until) return false;
      this.#late.pop()();
    }
    return true;
  }
}

/** Whether a block has not been taken back, nor anything it is in. */
function isThere(block) {
  for (let each = block; each.parent; each = each.parent) if (each.parent.children[each.index] !== each) return false;
  return true;
}
