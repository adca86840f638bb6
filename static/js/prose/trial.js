// What a line does that may still grow, so that it can be taken back. It changes nothing but the last block, that one's
// last block, and so on, and adds to them.

export class Trial {
  #spine = new Map();

  constructor(root) {
    for (let block = root; block; block = block.children.at(-1)) {
      const { type, data, text, lines, isOpen, isLoose, children } = block;
      this.#spine.set(block, { type, data, text, lines, isOpen, isLoose, count: children.length, last: children.at(-1) });
    }
  }

  /** How much of a block's text was there before. */
  charsOf(block) {
    return this.#spine.get(block)?.text.length ?? 0;
  }

  /** Makes everything as it was; gives what had been added, by parent. */
  undo(touched) {
    const added = [];
    for (const [block, { count, last, ...state }] of this.#spine) {
      Object.assign(block, state);
      touched.add(block);
      // A paragraph that only defined something may have made way.
      const kept = count && block.children[count - 1] !== last ? count - 1 : count;
      if (block.children.length > kept) added.push([block, block.children.slice(kept)]);
      block.children.length = kept;
      if (kept < count) block.children.push(last);
    }
    return added;
  }
}
