// What the browser keeps for the page: `local` for good and for every tab, `tab` until this one is closed.
// A private window may refuse to keep anything; then it holds for this page alone.

class Shelf {
  #open;
  #here = new Map();

  constructor(open) {
    this.#open = open;
  }

  /** Empty if there is nothing. */
  get(key) {
    try {
      return this.#open().getItem(key) ?? "";
    } catch {
      return this.#here.get(key) ?? "";
    }
  }

  /** Empty takes it away. */
  set(key, value) {
    this.#here.delete(key);
    try {
      if (value) this.#open().setItem(key, value);
      else this.#open().removeItem(key);
    } catch {
      if (value) this.#here.set(key, value);
    }
  }

  /** Takes away all whose keys begin so. */
  clear(prefix) {
    const begins = (key) => key.startsWith(prefix);
    for (const key of this.#here.keys()) if (begins(key)) this.#here.delete(key);
    try {
      for (const key of Object.keys(this.#open()).filter(begins)) this.#open().removeItem(key);
    } catch {
      // Then nothing was kept there either.
    }
  }
}

export const local = new Shelf(() => localStorage);
export const tab = new Shelf(() => sessionStorage);
