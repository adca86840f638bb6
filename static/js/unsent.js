// A question that was not sent: it was refused, or waits for its turn. There is one at most, and it stands there until
// another takes its place.

import { randomId } from "./http.js";

export class Unsent {
  #held = null;

  /** `asked` is what was sent, `{body, key}`; with `waits` it goes out by itself. */
  hold(exchange, asked, session, { waits = false } = {}) {
    this.#held = { exchange, ...asked, session, waits };
  }

  get is() {
    return Boolean(this.#held);
  }

  /** What it comes after. */
  get before() {
    return this.#held?.exchange.before;
  }

  holds(exchange) {
    return this.#held?.exchange === exchange;
  }

  /** The very same question again, after nobody knows what became of it, must keep its key. */
  keyFor(body) {
    return this.#held?.body === body ? this.#held.key : randomId();
  }

  /** What would be lost with the page, `[session, text]`; null if nothing. */
  get atRisk() {
    return this.#held?.waits ? [this.#held.session, this.#held.exchange.text] : null;
  }

  /** Takes it away. */
  drop() {
    const exchange = this.#held?.exchange;
    this.#held = null;
    if (!exchange) return;
    exchange.before.remove(exchange);
    exchange.element.remove();
  }

  /** Puts it after another exchange, in a conversation that was drawn anew. */
  move(before) {
    if (!this.#held) return;
    this.#held.exchange.before = before;
    before.add(this.#held.exchange);
  }
}
