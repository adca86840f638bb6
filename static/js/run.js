// One answer while it arrives: what the events of its stream do to its element.

import { Pace, ofDone, remark } from "./figures.js";
import { Answer } from "./render.js";
import { stop } from "./transport.js";

// After so many tries in vain the person is told what may be the matter.
const PATIENCE = 6;

export class Run {
  streamId = null;
  /** What it is the answer of. */
  exchange = null;
  /** The stored answer's, once it is complete. */
  messageId = null;
  answer = new Answer();
  #controller = new AbortController();
  #pace;
  // How often in a row.
  #lost = 0;
  #stopping = false;

  /** `owner` is told `started(run)`, `line(run, sentence)`, `refused(run, event)`, `gone(run)`, `locked(run)`,
      `ended(run, sentence, isBroken)`, `unsent(run)` and `unstopped(run, error)`. `count` is where a joined answer
      was. */
  constructor(session, owner, count = null) {
    this.session = session;
    this.owner = owner;
    this.#pace = new Pace(count);
    this.answer.begin(this.#pace);
  }

  get signal() {
    return this.#controller.signal;
  }

  /** Leave it; it runs on. */
  detach() {
    this.#controller.abort();
  }

  async watch(events) {
    try {
      for await (const event of events) this[`_${event.kind}`](event);
    } catch (error) {
      if (!this.signal.aborted) this._failed({ error: `The page could not go on: ${error.message}` });
    }
  }

  /** False if the server may not even have the question and there is no line to stop it over. */
  stop() {
    if (this.#stopping) return true;
    this.#stopping = true;
    if (this.streamId) this.#askToStop();
    return Boolean(this.streamId) || !this.#lost;
  }

  async #askToStop() {
    try {
      await stop(this.streamId);
    } catch (error) {
      this.#stopping = false;
      this.owner.unstopped(this, error);
    }
  }

  _started({ streamId, questionId }) {
    this.streamId = streamId;
    this.exchange.id = questionId;
    this.owner.started(this);
    if (this.#stopping) this.#askToStop();
  }

  _token({ text, count }) {
    this.#pace.at(count);
    this.answer.append(text);
  }

  _reset({ text, count }) {
    this.#pace.at(count);
    this.answer.replace(text);
  }

  _lost() {
    if (this.#stopping && !this.streamId) {
      this.owner.unsent(this);
      return;
    }
    this.answer.line(this.#lost < PATIENCE ? "reconnecting…" : "reconnecting… Is there a network? Nothing of the answer is lost.");
    if (!this.#lost) this.owner.line(this, "The connection is lost; reconnecting");
    this.#lost++;
  }

  _back() {
    this.answer.line("");
    if (this.#lost) this.owner.line(this, "Connected again");
    this.#lost = 0;
  }

  _done(event) {
    this.messageId = event.message_id;
    this.answer.end(event.full_response);
    this.answer.figures(ofDone(event));
    const sentence = remark(event);
    if (sentence) this.answer.note("", sentence);
    this.owner.ended(this, event.finish_reason === "stopped" ? "Stopped" : "The answer is complete", false);
  }

  _failed({ error }) {
    this.answer.end();
    this.owner.ended(this, error, true);
  }

  _refused(event) {
    this.owner.refused(this, event);
  }

  _unreachable(event) {
    this.owner.refused(this, event);
  }

  _gone() {
    this.owner.gone(this);
  }

  _locked() {
    this.answer.end();
    this.owner.locked(this);
  }
}
