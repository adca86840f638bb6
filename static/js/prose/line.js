// A line as it is read from its beginning, with tabs as wide as CommonMark has them.

const TAB = 4;

export class Line {
  #offset = 0;
  #column = 0;
  #nonspace = 0;
  #nonspaceColumn = 0;
  #isTabSplit = false;
  /** Of what is left, once `look` was called. */
  indent = 0;
  isBlank = false;

  constructor(text) {
    this.text = text.includes("\0") ? text.replaceAll("\0", "\ufffd") : text;
  }

  get isAtEnd() {
    return this.#offset >= this.text.length;
  }

  get isAtSpace() {
    return isSpace(this.text[this.#offset]);
  }

  /** From where `look` found something. */
  get found() {
    return this.text.slice(this.#nonspace);
  }

  /** What is left, with the rest of a tab that was split as spaces. */
  get rest() {
    const rest = this.text.slice(this.#offset);
    return this.#isTabSplit ? " ".repeat(TAB - (this.#column % TAB)) + rest.slice(1) : rest;
  }

  /** Sees how far what is left is indented. */
  look() {
    let at = this.#offset;
    let column = this.#column;
    for (; isSpace(this.text[at]); at++) column += this.text[at] === "\t" ? TAB - (column % TAB) : 1;
    this.isBlank = at >= this.text.length;
    this.#nonspace = at;
    this.#nonspaceColumn = column;
    this.indent = column - this.#column;
  }

  toFound() {
    this.#offset = this.#nonspace;
    this.#column = this.#nonspaceColumn;
    this.#isTabSplit = false;
  }

  toEnd() {
    this.#offset = this.text.length;
  }

  /** Over so many characters, or columns, in which a tab may be split. */
  advance(count, isColumns = false) {
    for (let left = count; left > 0 && !this.isAtEnd; ) {
      const width = this.text[this.#offset] === "\t" ? TAB - (this.#column % TAB) : 1;
      this.#isTabSplit = isColumns && width > left;
      const step = isColumns ? Math.min(left, width) : width;
      this.#column += step;
      if (!this.#isTabSplit) this.#offset++;
      left -= isColumns ? step : 1;
    }
  }

  /** Over the spaces after a list's mark: how many belong to it. */
  skipAfterMark() {
    const [offset, column] = [this.#offset, this.#column];
    do this.advance(1, true);
    while (this.#column - column <= TAB && this.isAtSpace);
    const spaces = this.#column - column;
    if (spaces >= 1 && spaces <= TAB && !this.isAtEnd) return spaces;
    // Nothing but the mark, or indented code.
    [this.#offset, this.#column] = [offset, column];
    this.#isTabSplit = false;
    if (this.isAtSpace) this.advance(1, true);
    return 1;
  }
}

const isSpace = (mark) => mark === " " || mark === "\t";
