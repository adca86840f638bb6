// What becomes of the session in view by other hands: in another tab, on another device.

import { listen } from "./transport.js";

export class Others {
  /** The stream of an answer that is not in view, or true if there may be anything; null if all is. */
  unseen = null;
  #session = null;
  #signal = null;

  /** `onUnseen()`, `onTitle()` and `onDeleted()` are told what happened. */
  constructor({ onUnseen, onTitle, onDeleted }) {
    this.onUnseen = onUnseen;
    this.onTitle = onTitle;
    this.onDeleted = onDeleted;
  }

  /** Listens to the session until the signal, once. */
  attend(session, signal) {
    if (session === this.#session && signal === this.#signal) return;
    this.#session = session;
    this.#signal = signal;
    this.unseen = null;
    listen(session, (news) => { if (!signal.aborted) this.#hear(news); }, signal);
  }

  saw(streamId) {
    if (this.unseen === streamId) this.unseen = null;
  }

  #hear({ change, live_stream: live }) {
    if (change === "deleted") this.onDeleted();
    if (change === "title") this.onTitle();
    if (change === "joined") this.#miss(live?.stream_id ?? true);
    // An answer's end needs no look: whoever saw it begin has it.
    if (change === "message" && live) this.#miss(live.stream_id);
  }

  #miss(what) {
    this.unseen = what;
    this.onUnseen();
  }
}
