// A menu that a button opens beside itself.

const GAP_PX = 4;

export class Menu {
  #menu;
  #of = null;

  /** `act(what, about)` is told which item was chosen, by its `value`, and what its button is about. */
  constructor(menu, act) {
    this.#menu = menu;
    menu.addEventListener("click", (event) => {
      const item = event.target.closest("button");
      if (!item) return;
      const { about } = this.#of;
      menu.hidePopover();
      act(item.value, about);
    });
    menu.addEventListener("keydown", (event) => this.#move(event));
    menu.addEventListener("toggle", ({ newState }) => {
      this.#of?.button.setAttribute("aria-expanded", String(newState === "open"));
    });
  }

  opens(button, about) {
    button.setAttribute("aria-haspopup", "menu");
    button.setAttribute("aria-expanded", "false");
    button.addEventListener("click", () => this.#open(button, about));
  }

  #open(button, about) {
    this.#of = { button, about };
    this.#menu.showPopover({ source: button });
    const at = button.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = this.#menu;
    const below = at.bottom + GAP_PX;
    this.#menu.style.left = `${Math.max(GAP_PX, Math.min(at.left, innerWidth - width - GAP_PX))}px`;
    this.#menu.style.top = `${below + height < innerHeight ? below : Math.max(GAP_PX, at.top - height - GAP_PX)}px`;
    this.#items()[0].focus();
  }

  #items() {
    return [...this.#menu.querySelectorAll("button")];
  }

  #move(event) {
    const items = this.#items();
    const at = items.indexOf(document.activeElement);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
    if (event.key === "Tab") this.#menu.hidePopover();
    if (next === undefined) return;
    event.preventDefault();
    items.at(next % items.length).focus();
  }
}
