// What the connection has brought of one answer, kept so that whoever begins to read it later misses nothing.
//
// It holds, in order, everything after piece number `from`. What lies before that comes when it is asked for,
// between the live pieces; it is told apart from them by counts that do not exceed `from`.

import { heeding } from "./http.js";

export class Heard {
  // Events as `stream.js` yields them. A place counts from the first event there ever was; what is put
  // before that one has places below 0.
  #events = [];
  #first = 0;
  #from;
  #wanted = null;
  #early = [];
  #ending = null;
  #isCut = false;
  #wake;
  #news;

  constructor(from) {
    this.#from = from;
    this.#await();
  }

  /** The server was asked for all after piece number `after`. False if a reader can never begin there: that
      piece came in one with the next, or another beginning is on its way. */
  want(after) {
    if (this.#placeOf(after) !== null) return true;
    if (after > this.#from || (this.#wanted ?? after) !== after) return false;
    this.#wanted = after;
    return true;
  }

  /** False for what makes no sense here. */
  token(text, count) {
    const event = { kind: "token", text, count };
    if (count <= this.#from) this.#fill(event);
    // The server may send again what had ended before it was asked.
    else if (this.#ending) return this.#wanted === null;
    else if (count > (this.#events.at(-1)?.count ?? 0)) this.#add(event);
    return true;
  }

  reset(text, count) {
    this.#from = count;
    this.#add({ kind: "reset", text, count });
  }

  /** The last event. */
  end(event) {
    if (this.#ending) return;
    this.#ending = event;
    if (this.#wanted === null) this.#add(event);
  }

  /** The line is gone. */
  cut() {
    this.#isCut = true;
    this.#tell();
  }

  /** The events after piece number `after`, to the end of the answer or of the line. */
  async *read(after, signal) {
    let at = null;
    for (;;) {
      at ??= this.#placeOf(after);
      while (at !== null && at < this.#first + this.#events.length) yield this.#events[at++ - this.#first];
      if (this.#isCut) return;
      await heeding(signal, this.#news);
    }
  }

  /** Where the next event of a reader with that many pieces stands, or will. A reset suits them all. */
  #placeOf(after) {
    if (after === this.#from) return this.#first;
    const last = this.#events.findIndex(({ count }) => count === after);
    if (last >= 0) return this.#first + last + 1;
    return this.#events[0]?.kind === "reset" ? this.#first : null;
  }

  #fill(event) {
    if (this.#wanted === null) return;
    this.#early.push(event);
    if (event.count < this.#from) return;
    this.#events.unshift(...this.#early);
    this.#first -= this.#early.length;
    this.#from = this.#wanted;
    this.#wanted = null;
    this.#early = [];
    if (this.#ending && this.#events.at(-1) !== this.#ending) this.#events.push(this.#ending);
    this.#tell();
  }

  #add(event) {
    this.#events.push(event);
    this.#tell();
  }

  #tell() {
    this.#wake();
    this.#await();
  }

  #await() {
    this.#news = new Promise((resolve) => { this.#wake = resolve; });
  }
}
