// A paragraph's text in pieces, so that a long one costs no more than a short one.

import { mend } from "./mend.js";
import { morph } from "./morph.js";
import { labels } from "./references.js";

// A piece ends at the last good place in so many characters; if there is none in the most of them, at any.
const PIECE_CHARS = [500, 1_000, 2_000];

/** Each piece is drawn once, except the last while it grows, and those whose links are defined later. */
export class Piecewise {
  #cut = 0;
  #window = 0;
  /** The last of those that are cut off, and what follows it. */
  #settled = null;
  #tail = null;
  #tailText = null;

  constructor(box, seam, draw) {
    this.element = box;
    this.seam = seam;
    this.nodesOf = draw;
  }

  draw(text, look) {
    if (text.length < this.#cut) this.#restart();
    while (this.#settle(text, look)) if (performance.now() >= look.until) return false;
    const rest = text.slice(this.#cut);
    const tail = (look.isGrowing ? mend(rest) : rest).trimEnd();
    if (tail !== this.#tailText) {
      this.#tailText = tail;
      this.#tail = this.#piece(tail, look.links);
    }
    if (!look.isGrowing) this.#tail.remember(look);
    return true;
  }

  #restart() {
    this.#cut = this.#window = 0;
    this.#settled = this.#tailText = null;
    this.element.replaceChildren();
  }

  #settle(text, look) {
    const sure = Math.min(look.sureChars, text.length);
    for (; this.#window < PIECE_CHARS.length; this.#window++) {
      const chars = PIECE_CHARS[this.#window];
      if (this.#cut + chars > sure) return false;
      const window = text.slice(this.#cut, this.#cut + chars);
      const isLast = this.#window === PIECE_CHARS.length - 1;
      const length = this.seam(window) || (isLast ? forcedSeam(window) : 0);
      if (!length) continue;
      this.#settled = this.#piece(window.slice(0, length), look.links);
      this.#settled.remember(look);
      this.#cut += length;
      this.#window = 0;
      this.#tailText = null;
      return true;
    }
    return false;
  }

  /** What is in the place of the tail, from now on. */
  #piece(source, links) {
    this.#tail?.forget();
    morph(this.element, this.#settled?.last, this.nodesOf(source, links));
    return new Piece(source, this.element, this.#settled?.last, this.nodesOf, links);
  }
}

/** A piece of text that is drawn again when one of its labels is defined. */
class Piece {
  #nodes = [];
  #isRemembered = false;

  constructor(source, parent, before, draw, links) {
    this.source = source;
    this.draw = draw;
    this.missing = labels(source).filter((label) => !links[label]);
    for (let node = before ? before.nextSibling : parent.firstChild; node; node = node.nextSibling) this.#nodes.push(node);
    if (!this.#nodes.length) this.#nodes.push(parent.appendChild(document.createTextNode("")));
  }

  get last() {
    return this.#nodes.at(-1);
  }

  remember({ links, want }) {
    if (this.#isRemembered) return;
    this.#isRemembered = true;
    if (this.missing.some((label) => links[label])) this.#redraw(links);
    const missing = this.missing.filter((label) => !links[label]);
    if (missing.length) want(missing, () => this.#redraw(links));
  }

  /** Its nodes are somebody else's now. */
  forget() {
    this.#nodes = [];
  }

  #redraw(links) {
    if (!this.#nodes.length) return;
    const old = this.#nodes;
    const fresh = this.draw(this.source, links);
    if (!fresh.firstChild) fresh.append("");
    this.#nodes = [...fresh.childNodes];
    old[0].before(fresh);
    old.forEach((node) => node.remove());
  }
}

/** A place in the midst of an endless word or an unbroken row of marks, but not within a character. */
function forcedSeam(text) {
  const space = text.lastIndexOf(" ") + 1;
  if (space > text.length / 2) return space;
  let at = text.length - 1;
  while (at > 1 && /[\p{M}\u200d\ufe0f\udc00-\udfff]|^\p{Emoji_Modifier}/u.test(text[at])) at--;
  return at;
}
