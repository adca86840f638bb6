// The keyboard: what can be pressed anywhere, and the list of it.

import { element } from "./elements.js";

const isApple = /Mac|iPhone|iPad/.test(navigator.platform);
const MOD = isApple ? "⌘" : "Ctrl";

// Those of the box itself are listed only.
const ELSEWHERE = [
  [["Enter"], "Send"],
  [["Shift", "Enter"], "A new line"],
  [["↑"], "Change the last question, from an empty box"],
];

export class Shortcuts {
  #dialog = document.getElementById("shortcuts");
  #known = [];

  constructor() {
    document.getElementById("shortcuts-open").addEventListener("click", () => this.open());
    this.add("?", "This list", () => this.open());
    addEventListener("keydown", (event) => this.#pressed(event));
  }

  /** `key` is as in KeyboardEvent; one with `mod` or `shift` is heard even while one writes. */
  add(key, label, act, { mod = false, shift = false } = {}) {
    this.#known.push({ key, label, act, mod, shift });
  }

  open() {
    const own = this.#known.map(({ key, label, mod, shift }) => (
      [[...(mod ? [MOD] : []), ...(shift ? ["Shift"] : []), key.length === 1 ? key.toUpperCase() : key], label]
    ));
    document.getElementById("keys").replaceChildren(...[...ELSEWHERE, ...own].flatMap(([keys, label]) => {
      const term = element("dt", "", "");
      term.append(...keys.flatMap((key, n) => (n ? [" ", element("kbd", "", key)] : [element("kbd", "", key)])));
      return [term, element("dd", "", label)];
    }));
    this.#dialog.showModal();
  }

  #pressed(event) {
    const isMod = isApple ? event.metaKey : event.ctrlKey;
    if (event.isComposing || event.altKey || document.querySelector("dialog[open], :popover-open")) return;
    const writes = event.target.closest?.("input, textarea, select");
    for (const { key, act, mod, shift } of this.#known) {
      if (event.key.toLowerCase() !== key.toLowerCase() || isMod !== mod) continue;
      if (mod ? event.shiftKey !== shift : writes && (key !== "Escape" || event.target.type === "search")) continue;
      if (act(event) === false) continue;
      event.preventDefault();
      return;
    }
  }
}
