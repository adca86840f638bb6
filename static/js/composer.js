// The box one writes in: drafts, the model, the way answers come, send and stop.

import { choice, choose } from "./transport.js";

const MODEL = "parley.model";
const draftKey = (id) => `parley.draft.${id ?? ""}`;

export class Composer {
  /** Too early to send: what was said before is not there yet. */
  loading = false;
  #session = null;
  #busy = false;
  #form = document.getElementById("composer");
  #text = document.getElementById("message");
  #send = document.getElementById("send");
  #stop = document.getElementById("stop");
  #model = document.getElementById("model");
  #transport = document.getElementById("transport");

  /** `onSend(text)` and `onStop()` are told what was pressed; `onWait()` when it is too early to send. */
  constructor({ onSend, onStop, onWait }) {
    this.onSend = onSend;
    this.onWait = onWait;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#text.addEventListener("keydown", (event) => {
      // While an input method composes, Enter chooses a candidate.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    this.#text.addEventListener("input", () => this.#changed());
    this.#stop.addEventListener("click", () => onStop());
    this.#model.addEventListener("change", () => store(localStorage, MODEL, this.#model.value));
    this.#transport.value = choice();
    this.#transport.addEventListener("change", () => choose(this.#transport.value));
  }

  get text() {
    return this.#text.value;
  }

  set text(text) {
    this.#text.value = text;
    this.#changed();
  }

  /** The chosen model's name; undefined leaves it to the server. */
  get model() {
    return this.#model.value || undefined;
  }

  models(models) {
    const kept = read(localStorage, MODEL);
    this.#model.replaceChildren(...models.map(({ name, default: first }) => {
      const choice = name === kept || (first && !models.some((each) => each.name === kept));
      return new Option(name, name, Boolean(first), choice);
    }));
    document.getElementById("model-label").hidden = models.length === 0;
  }

  /** Changes to another session's draft. */
  enter(session, loading) {
    this.loading = loading;
    this.#session = session;
    this.text = read(sessionStorage, draftKey(session));
  }

  /** Somebody else may be sitting here now. */
  forget() {
    forgetDrafts();
    this.text = "";
  }

  /** The session got its id; the draft goes on under it. */
  named(session) {
    store(sessionStorage, draftKey(this.#session), "");
    this.#session = session;
    this.#changed();
  }

  /** Gives back what could not be sent, unless something else was written meanwhile. */
  restore(text) {
    if (!this.text.trim()) this.text = text;
  }

  busy(is) {
    const hadFocus = document.activeElement === this.#stop;
    this.#busy = is;
    this.#stop.hidden = !is;
    this.#stop.disabled = false;
    this.#send.hidden = is;
    if (hadFocus && !is) this.focus();
  }

  stopping(is) {
    this.#stop.disabled = is;
  }

  /** For who has a keyboard; on a phone it would draw one over the page. */
  focus() {
    if (matchMedia("(hover: hover)").matches) this.#text.focus({ preventScroll: true });
  }

  #submit() {
    const text = this.text;
    if (!text.trim()) return;
    if (this.#busy || this.loading) {
      this.onWait();
      return;
    }
    this.text = "";
    this.onSend(text);
  }

  #changed() {
    store(sessionStorage, draftKey(this.#session), this.text);
    this.#send.disabled = !this.text.trim();
    if (CSS.supports("field-sizing", "content")) return;
    this.#text.style.height = "auto";
    this.#text.style.height = `${this.#text.scrollHeight}px`;
  }
}

/** Keeps a draft of a session that is not in view. */
export function keepDraft(session, text) {
  if (!read(sessionStorage, draftKey(session))) store(sessionStorage, draftKey(session), text);
}

function forgetDrafts() {
  try {
    for (const key of Object.keys(sessionStorage)) if (key.startsWith(draftKey(null))) sessionStorage.removeItem(key);
  } catch {
    // Then nothing was stored either.
  }
}

function read(storage, key) {
  try {
    return storage.getItem(key) ?? "";
  } catch {
    return "";
  }
}

function store(storage, key, value) {
  try {
    if (value) storage.setItem(key, value);
    else storage.removeItem(key);
  } catch {
    // Private windows may refuse to store; then a reload loses the draft.
  }
}
