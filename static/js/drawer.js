// The list of chats, at the side or, on a phone, drawn over the page.

import { element, icon } from "./elements.js";
import { identity } from "./identity.js";
import { Menu } from "./menu.js";
import { notice, toast, untoast } from "./notices.js";
import { change, download, forget, link, list, remove } from "./sessions.js";

const UNDO_MS = 8_000;
const DAY_MS = 86_400_000;
const UNTITLED = "Untitled chat";
const TITLE_CHARS = 200;
const narrow = matchMedia("(max-width: 800px)");

export class Drawer {
  #drawer = document.getElementById("drawer");
  #stage = document.getElementById("stage");
  #opener = document.getElementById("drawer-open");
  #search = document.getElementById("search");
  #list = document.getElementById("sessions");
  #current = null;
  // Those that are as good as deleted, each with what makes it so.
  #leaving = new Map();
  #renaming = null;

  /** `onLeft(id)`, `onBack(id)` and `onRenamed(id, title)` are told what became of a chat. */
  constructor({ onLeft, onBack, onRenamed }) {
    this.onLeft = onLeft;
    this.onBack = onBack;
    this.onRenamed = onRenamed;
    this.menu = new Menu(document.getElementById("session-menu"), (act, row) => this.#act(act, row));
    this.#opener.addEventListener("click", () => this.#open(true));
    document.getElementById("drawer-close").addEventListener("click", () => this.close());
    document.getElementById("scrim").addEventListener("click", () => this.close());
    this.#drawer.addEventListener("click", (event) => { if (event.target.closest("a")) this.close(); });
    this.#search.addEventListener("input", () => this.draw());
    addEventListener("storage", () => this.draw());
    addEventListener("pagehide", () => this.#finish());
    identity.addEventListener("leave", () => {
      this.#finish();
      untoast();
      this.#search.value = "";
    });
    narrow.addEventListener("change", () => this.#open(false));
    this.#open(false);
  }

  draw(current = this.#current) {
    this.#current = current;
    if (this.#renaming) return;
    const focused = document.activeElement?.closest?.(".session")?.dataset.id;
    const found = list().filter(({ id, title }) => !this.#leaving.has(id) && matches(title, this.#search.value));
    const groups = Map.groupBy(found, ({ at }) => age(at));
    this.#list.replaceChildren(...[...groups].flatMap(([name, rows]) => {
      const head = element("h2", "sessions-head", name);
      const group = element("ul", "sessions-group");
      group.append(...rows.map((session) => this.#row(session)));
      return [head, group];
    }));
    if (!found.length && this.#search.value) this.#list.append(element("p", "sessions-none", "No chat has that in its title."));
    if (focused) this.#rowOf(focused)?.querySelector(".more").focus();
  }

  close() {
    if (!document.body.classList.contains("drawn")) return false;
    this.#open(false);
    this.#opener.focus();
    return true;
  }

  /** Whether it is as good as deleted. */
  isLeaving(id) {
    return this.#leaving.has(id);
  }

  search() {
    if (narrow.matches) this.#open(true);
    this.#search.focus();
    this.#search.select();
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
    const name = title || UNTITLED;
    const row = element("li", "session");
    row.dataset.id = id;
    const open = element("a", "session-link", name);
    open.href = link(id);
    open.dir = "auto";
    if (id === this.#current) open.setAttribute("aria-current", "page");
    const more = element("button", "more");
    more.type = "button";
    more.append(icon("more"));
    more.setAttribute("aria-label", `More of “${name}”`);
    this.menu.opens(more, { id, title: name });
    row.append(open, more);
    return row;
  }

  #rowOf(id) {
    return [...this.#list.querySelectorAll(".session")].find((row) => row.dataset.id === id);
  }

  #act(act, { id, title }) {
    if (act === "rename") this.#rename(id, title);
    if (act === "delete") this.#delete(id, title);
    if (act === "markdown" || act === "json") {
      download(id, title, act).catch((error) => notice(`The chat could not be exported: ${error.message}`));
    }
  }

  #rename(id, title) {
    const row = this.#rowOf(id);
    const field = element("input", "session-name");
    field.value = title;
    field.maxLength = TITLE_CHARS;
    field.dir = "auto";
    field.setAttribute("aria-label", `Name of “${title}”`);
    const finish = async (isKept) => {
      if (this.#renaming !== field) return;
      this.#renaming = null;
      const name = field.value.trim();
      if (isKept && name && name !== title) await this.#keepName(id, name);
      this.draw();
      this.#rowOf(id)?.querySelector(".more").focus();
    };
    field.addEventListener("keydown", (event) => {
      if (event.isComposing || !["Enter", "Escape"].includes(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
      finish(event.key === "Enter");
    });
    field.addEventListener("blur", () => finish(true));
    this.#renaming = field;
    row.replaceChildren(field);
    field.focus();
    field.select();
  }

  async #keepName(id, name) {
    try {
      const { title } = await change(id, { title: name });
      this.onRenamed(id, title);
    } catch (error) {
      notice(`The chat could not be renamed: ${error.message}`);
    }
  }

  // Whoever goes leaves nothing half done.
  #finish() {
    for (const [id, leave] of this.#leaving) {
      forget(id);
      leave();
    }
  }

  // It goes at once, but for good only when nobody wants it back any more.
  #delete(id, title) {
    const timer = setTimeout(() => leave(), UNDO_MS);
    const leave = async () => {
      clearTimeout(timer);
      try {
        await remove(id);
      } catch (error) {
        notice(`The chat could not be deleted: ${error.message}`);
      }
      this.#leaving.delete(id);
      this.draw();
    };
    const wasOpen = id === this.#current;
    this.#leaving.set(id, leave);
    this.draw();
    if (wasOpen) this.onLeft(id);
    toast(`“${title}” is deleted.`, {
      label: "Undo",
      act: () => {
        clearTimeout(timer);
        this.#leaving.delete(id);
        this.draw();
        if (wasOpen) this.onBack(id);
      },
    }, UNDO_MS);
  }
}

function matches(title, wanted) {
  const words = wanted.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  const name = (title || UNTITLED).toLocaleLowerCase();
  return words.every((word) => name.includes(word));
}

function age(at) {
  const midnight = new Date().setHours(0, 0, 0, 0);
  const time = Date.parse(at);
  if (time >= midnight) return "Today";
  if (time >= midnight - DAY_MS) return "Yesterday";
  return time >= midnight - 7 * DAY_MS ? "The last seven days" : "Earlier";
}
