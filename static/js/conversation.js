// The conversation in view: which session it is, what was said in it, and the answer it is giving.

import { keepDraft } from "./composer.js";
import { ofStored, remarkStored } from "./figures.js";
import { randomId } from "./http.js";
import { announce, entitle, notice } from "./notices.js";
import { Others } from "./others.js";
import { Answer, Question } from "./render.js";
import { Run } from "./run.js";
import * as sessions from "./sessions.js";
import { ask, follow } from "./transport.js";

const TITLE_CHARS = 60;
const NOT_SIGNED_IN = "You are not signed in.";

export class Conversation {
  session = null;
  #run = null;
  #visit = new AbortController();
  #others = new Others({
    onUnseen: () => this.#catchUp(),
    onTitle: () => this.#retitle(),
    onDeleted: () => this.#lose("This chat was deleted."),
  });
  // The last message in view, if its id is known.
  #last = null;
  // A refused question stands there until another takes its place.
  #unsent = null;
  #place = document.getElementById("messages");
  #empty = document.getElementById("empty");

  constructor({ composer, drawer, scroll }) {
    this.composer = composer;
    this.drawer = drawer;
    this.scroll = scroll;
  }

  /** Changes to a session, null for a new one. `except` is a stream that cannot be followed. */
  async show(id, except = null) {
    this.#leave();
    const { signal } = (this.#visit = new AbortController());
    this.session = id;
    this.#unsent = null;
    this.#place.replaceChildren();
    this.#empty.hidden = id !== null;
    this.composer.enter(id, id !== null);
    this.drawer.draw(id);
    notice("");
    entitle(titleOf(id));
    if (id === null) return;
    this.#others.attend(id, signal);
    try {
      const session = await sessions.load(id, signal, () => notice("Reconnecting…"));
      notice("");
      this.#fill(session, except);
      this.scroll.toEnd();
    } catch (error) {
      if (!signal.aborted) this.#lack(id, error);
    }
    if (signal.aborted) return;
    this.composer.loading = false;
    this.#catchUp();
  }

  /** Somebody else may be sitting here now. */
  forget() {
    this.#run?.detach();
    sessions.forgetAll();
    this.composer.forget();
    history.replaceState(null, "", "#/");
    this.show(null);
  }

  send(text) {
    const session = this.session ?? sessions.newId();
    const body = JSON.stringify({ message: text, session_id: session, model: this.composer.model, partial: false });
    // The very same question again, after nobody knows what became of it, must keep its key.
    const key = this.#unsent?.body === body ? this.#unsent.key : randomId();
    this.#unsent?.element.remove();
    this.#unsent = null;
    this.session = session;
    this.#empty.hidden = true;
    notice("");
    const question = new Question(text);
    this.#place.append(question.element);
    const run = this.#begin(new Run(session, this));
    this.scroll.toEnd();
    run.asked = { text, body, key, question };
    run.watch(ask(body, key, run.signal));
  }

  stop() {
    const run = this.#run;
    this.composer.stopping(true);
    if (!run || run.stop()) return;
    run.detach();
    this.#refuse(run, "Not sent.");
  }

  waiting() {
    notice(this.#run ? "Wait for the answer, or stop it first." : "One moment, this chat is still loading.");
  }

  // The answer runs on; a question that has not been handed over yet is, first.
  #leave() {
    this.#visit.abort();
    const run = this.#run;
    this.#run = null;
    this.composer.busy(false);
    if (run?.streamId) run.detach();
  }

  #fill(session, except) {
    const { session_id: id, messages, live_stream: live } = session;
    this.#name(session);
    this.#last = messages.at(-1)?.id;
    for (const message of messages) this.#place.append(this.#stored(message, messages));
    // An answer is saved just before its stream ends, so it can be in both places for a moment.
    const saved = live && messages.some((each) => each.role === "assistant" && each.stream_id === live.stream_id);
    if (live && !saved && live.stream_id !== except) this.#follow(id, live);
    else if (messages.at(-1)?.role === "user") this.#place.append(this.#unanswered(messages.at(-1)));
    for (const { stream_id: streamId } of [live ?? {}, ...messages]) this.#others.saw(streamId);
  }

  #name({ session_id: id, title, updated_at: at }) {
    sessions.add([{ id, title, at }]);
    this.drawer.draw(id);
    entitle(title);
  }

  async #retitle() {
    const { signal } = this.#visit;
    const session = await sessions.load(this.session, signal).catch(() => null);
    if (session && !signal.aborted) this.#name(session);
  }

  /** Shows what was said here by others, once nothing else is under way. */
  async #catchUp() {
    const { signal } = this.#visit;
    const { unseen } = this.#others;
    if (this.#run) this.#others.saw(this.#run.streamId);
    if (unseen === null || this.#run || this.composer.loading) return;
    this.#others.unseen = null;
    const last = this.#last;
    try {
      const session = await sessions.load(this.session, signal);
      if (signal.aborted) return;
      // What was read before an answer that runs, or has ended since, would hide it.
      if (this.#run || this.#last !== last) this.#others.unseen ??= unseen;
      else if (session.live_stream || session.messages.at(-1)?.id !== this.#last) this.#refill(session);
    } catch (error) {
      if (!signal.aborted) this.#lack(this.session, error);
      return;
    }
    this.#catchUp();
  }

  #refill(session) {
    this.#place.replaceChildren();
    this.#fill(session, null);
    if (this.#unsent) this.#place.append(this.#unsent.element);
  }

  #follow(id, { stream_id: streamId, count }) {
    const run = this.#begin(new Run(id, this, count));
    run.streamId = streamId;
    run.watch(follow(streamId, 0, run.signal));
  }

  #begin(run) {
    this.#run = run;
    this.#place.append(run.answer.element);
    this.composer.busy(true);
    announce("Answering");
    return run;
  }

  #stored(message, messages) {
    if (message.role === "user") return new Question(message.content).element;
    const answer = new Answer();
    answer.end(message.content);
    answer.figures(ofStored(message));
    const sentence = remarkStored(message);
    const broken = message.status === "failed" || message.status === "interrupted";
    const question = message === messages.at(-1) && messages.findLast((each) => each.role === "user");
    if (broken && question) this.#offerAgain(answer, sentence, question.content);
    else if (sentence) answer.note(broken ? "problem" : "", sentence);
    return answer.element;
  }

  #unanswered({ content }) {
    const answer = new Answer();
    this.#offerAgain(answer, "This question has no answer.", content);
    return answer.element;
  }

  #offerAgain(answer, sentence, text) {
    answer.note("problem", sentence, { label: "Ask again", act: () => this.#again(text) });
  }

  #again(text) {
    if (this.#run) return;
    if (this.composer.text === text) this.composer.text = "";
    this.send(text);
  }

  #lack(id, error) {
    if (error.status === 404) {
      this.#lose("That chat is no longer on the server.");
      return;
    }
    const answer = new Answer();
    answer.note("problem", ...(error.status === 401 ? this.#locked(id) : [error.message, this.#anew("Try again", id)]));
    this.#place.replaceChildren(answer.element);
  }

  #lose(sentence) {
    sessions.forget(this.session);
    history.replaceState(null, "", "#/");
    this.show(null);
    notice(sentence);
  }

  #locked(id) {
    return [NOT_SIGNED_IN, this.#anew("Sign in", id)];
  }

  #anew(label, id) {
    return { label, act: () => this.show(id) };
  }

  /* What runs tell */

  started(run) {
    sessions.remember(run.session, firstLine(run.asked.text));
    if (run !== this.#run) {
      this.drawer.draw();
      run.detach();
      return;
    }
    this.#others.saw(run.streamId);
    this.#others.attend(run.session, this.#visit.signal);
    if (sessions.idFrom(location.hash) !== run.session) history.pushState(null, "", sessions.link(run.session));
    this.composer.named(run.session);
    this.drawer.draw(run.session);
    entitle(titleOf(run.session));
  }

  line(run, sentence) {
    if (run === this.#run) announce(sentence);
  }

  ended(run, sentence, isBroken) {
    if (isBroken) this.#offerAgain(run.answer, sentence, run.asked?.text ?? this.#lastQuestion());
    if (run !== this.#run) return;
    this.#run = null;
    this.#last = run.messageId;
    this.composer.busy(false);
    announce(sentence);
    this.#catchUp();
  }

  gone(run) {
    if (run === this.#run) this.show(run.session, run.streamId);
  }

  locked(run) {
    run.answer.note("problem", ...this.#locked(run.session));
    this.ended(run, NOT_SIGNED_IN, false);
  }

  unstopped(run, error) {
    if (run !== this.#run) return;
    this.composer.stopping(false);
    notice(`The answer could not be stopped: ${error.message}`);
  }

  refused(run, { status, type, streamId, error, retryAfterS }) {
    if (type === "session_busy" && streamId) this.#busy(run);
    else this.#refuse(run, status === 401 ? NOT_SIGNED_IN : error, retryAfterS);
  }

  async #busy(run) {
    keepDraft(run.session, run.asked.text);
    if (run !== this.#run) return;
    await this.show(run.session);
    if (this.session === run.session) notice("This chat is still answering another question; yours is kept here.");
  }

  #refuse(run, sentence, afterS = null) {
    const { text, body, key, question } = run.asked;
    if (run !== this.#run) {
      keepDraft(titleOf(run.session) === null ? null : run.session, text);
      return;
    }
    run.answer.element.remove();
    question.refuse(sentence, { label: "Try again", act: () => this.#again(text), afterS });
    this.#unsent = { body, key, element: question.element };
    this.composer.restore(text);
    this.ended(run, sentence, false);
    this.scroll.toEnd();
  }

  #lastQuestion() {
    return [...this.#place.querySelectorAll(".bubble")].at(-1)?.textContent ?? "";
  }
}

/** The title in the list, null for a session that is not there. */
function titleOf(id) {
  return sessions.list().find((each) => each.id === id)?.title ?? null;
}

function firstLine(text) {
  const line = text.trim().split("\n", 1)[0];
  return line.length > TITLE_CHARS ? `${line.slice(0, TITLE_CHARS - 1).trimEnd()}…` : line;
}
