// The box one writes in: drafts, the model, send and stop.

import { local, tab } from "./storage.js";

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

  /** `onSend(text)` and `onStop()` are told what was pressed; `onWait()` when it is too early to send;
      `onUp()` when one goes up from an empty box. */
  constructor({ onSend, onStop, onWait, onUp }) {
    this.onSend = onSend;
    this.onWait = onWait;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#text.addEventListener("keydown", (event) => {
      if (event.key === "ArrowUp" && !this.text && !event.isComposing) {
        event.preventDefault();
        onUp();
      }
      // While an input method composes, Enter chooses a candidate.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    this.#text.addEventListener("input", () => this.#changed());
    this.#stop.addEventListener("click", () => onStop());
    this.#model.addEventListener("change", () => local.set(MODEL, this.#model.value));
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
    this.#model.replaceChildren(...models.map(({ name, default: first }) => new Option(name, name, Boolean(first), first)));
    this.choose(local.get(MODEL));
    document.getElementById("model-label").hidden = models.length === 0;
  }

  /** Takes a model, if there is one of that name. */
  choose(model) {
    if ([...this.#model.options].some(({ value }) => value === model)) this.#model.value = model;
  }

  /** Changes to another session's draft. */
  enter(session, loading) {
    this.loading = loading;
    this.#session = session;
    this.text = tab.get(draftKey(session));
  }

  /** Somebody else may be sitting here now. */
  forget() {
    tab.clear(draftKey(null));
    this.text = "";
  }

  /** The session got its id; the draft goes on under it. */
  named(session) {
    tab.set(draftKey(this.#session), "");
    this.#session = session;
    this.#changed();
  }

  /** Gives back what could not be sent, unless something else was written meanwhile. */
  restore(text) {
    if (!this.text.trim()) this.text = text;
  }

  /** Puts a question back, before what is being written. */
  putBack(text) {
    const begun = this.text.trim();
    if (!begun.includes(text)) this.text = begun ? `${text}\n\n${begun}` : text;
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
    tab.set(draftKey(this.#session), this.text);
    this.#send.disabled = !this.text.trim();
    if (CSS.supports("field-sizing", "content")) return;
    this.#text.style.height = "auto";
    this.#text.style.height = `${this.#text.scrollHeight}px`;
  }
}

/** Keeps a draft of a session that is not in view. */
export function keepDraft(session, text) {
  if (!tab.get(draftKey(session))) tab.set(draftKey(session), text);
}
