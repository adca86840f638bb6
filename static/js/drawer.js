// The list of chats, at the side or, on a phone, drawn over the page.

import { element, icon } from "./render.js";
import { link, list, remove } from "./sessions.js";

const SURE_MS = 5_000;
const narrow = matchMedia("(max-width: 800px)");

export class Drawer {
  #drawer = document.getElementById("drawer");
  #stage = document.getElementById("stage");
  #opener = document.getElementById("drawer-open");
  #list = document.getElementById("sessions");
  #current = null;

  /** `onRemoved(id)` and `onProblem(sentence)` are told how a deletion went. */
  constructor({ onRemoved, onProblem }) {
    this.onRemoved = onRemoved;
    this.onProblem = onProblem;
    this.#opener.addEventListener("click", () => this.#open(true));
    document.getElementById("drawer-close").addEventListener("click", () => this.close());
    document.getElementById("scrim").addEventListener("click", () => this.close());
    this.#drawer.addEventListener("click", (event) => { if (event.target.closest("a")) this.close(); });
    addEventListener("keydown", (event) => { if (event.key === "Escape") this.close(); });
    addEventListener("storage", () => this.draw());
    narrow.addEventListener("change", () => this.#open(false));
    this.#open(false);
  }

  draw(current = this.#current) {
    this.#current = current;
    this.#list.replaceChildren(...list().map((session) => this.#row(session)));
  }

  close() {
    if (!document.body.classList.contains("drawn")) return;
    this.#open(false);
    this.#opener.focus();
  }

  #open(is) {
    document.body.classList.toggle("drawn", is);
    this.#opener.setAttribute("aria-expanded", String(is));
    // What cannot be seen or is covered must not be reached with the keyboard either.
    this.#drawer.inert = narrow.matches && !is;
    this.#stage.inert = is;
    if (is) document.getElementById("new-chat").focus();
  }

  #row({ id, title }) {
    const row = element("li", "session");
    const open = element("a", "session-link", title || "Untitled chat");
    open.href = link(id);
    if (id === this.#current) open.setAttribute("aria-current", "page");
    row.append(open, this.#bin(id, title || "Untitled chat"));
    return row;
  }

  // Asks by becoming its own question; leaving it, or leaving it alone, means no.
  #bin(id, title) {
    const button = element("button", "bin");
    button.type = "button";
    const calm = () => {
      button.classList.remove("sure");
      button.setAttribute("aria-label", `Delete “${title}”`);
      button.replaceChildren(icon("bin"));
    };
    button.addEventListener("blur", calm);
    button.addEventListener("click", () => {
      if (button.classList.contains("sure")) {
        this.#remove(id);
        return;
      }
      button.classList.add("sure");
      button.setAttribute("aria-label", `Really delete “${title}”`);
      button.replaceChildren("Delete?");
      setTimeout(calm, SURE_MS);
    });
    calm();
    return button;
  }

  async #remove(id) {
    try {
      await remove(id);
      this.onRemoved(id);
    } catch (error) {
      this.onProblem(`The chat could not be deleted: ${error.message}`);
    }
    this.draw();
  }
}
