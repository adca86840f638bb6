// The conversation in view: which session it is, what was said in it, and the answer it is giving.

import { keepDraft } from "./composer.js";
import { Beginning, Exchange, grow } from "./exchange.js";
import { announce, entitle, notice, withdraw } from "./notices.js";
import { Others } from "./others.js";
import { Answer } from "./render.js";
import { Run } from "./run.js";
import * as sessions from "./sessions.js";
import { ask, follow } from "./transport.js";
import { Unsent } from "./unsent.js";

const TITLE_CHARS = 60;
const NOT_SIGNED_IN = "You are not signed in.";
// What holds only as long as an answer runs.
const WAIT = "Wait for the answer, or stop it first.";
const BUSY = "This chat is still answering another question; yours is kept here.";
const INSTEAD = "The question that was waiting is in the box again.";
const ELSEWHERE = "Another version of this chat is being answered.";

export class Conversation {
  session = null;
  // Whether the server has not taken a question in it yet.
  #isNew = true;
  #run = null;
  #visit = new AbortController();
  #others = new Others({
    onUnseen: () => this.#catchUp(),
    onTitle: () => this.#retitle(),
    onDeleted: () => this.#lose("This chat was deleted."),
  });
  #said = new Beginning();
  // What a question comes after unless it says so: the last of what was said, in whichever version.
  #newest = null;
  // The last message in view, if its id is known.
  #last = null;
  #unsent = new Unsent();
  #place = document.getElementById("messages");
  #empty = document.getElementById("empty");
  #acts = {
    edit: (exchange, text) => this.#askAnew(exchange, text),
    again: (exchange) => this.#askAnew(exchange, exchange.text),
    turn: (exchange) => this.#turn(exchange),
  };

  constructor({ composer, drawer, scroll, settings }) {
    this.composer = composer;
    this.drawer = drawer;
    this.scroll = scroll;
    this.settings = settings;
    addEventListener("pagehide", () => {
      this.#keepUnsent();
      // Nobody knows yet whether the server has it.
      if (this.#run && !this.#run.streamId) this.#keep(this.#run.session, this.#run.exchange.text);
    });
  }

  /** Changes to a session, null for a new one. `except` is a stream that cannot be followed. */
  async show(id, except = null) {
    this.#leave();
    const { signal } = (this.#visit = new AbortController());
    this.session = id;
    this.#isNew = id === null;
    this.#said = new Beginning();
    this.#newest = null;
    this.#place.replaceChildren();
    this.#empty.hidden = id !== null;
    this.composer.enter(id, id !== null);
    this.settings.enter("");
    this.drawer.draw(id);
    notice("");
    entitle(titleOf(id));
    if (id === null) return;
    this.#others.attend(id, signal);
    try {
      const session = await sessions.load(id, signal, () => notice("Reconnecting…"));
      notice("");
      if (session.model) this.composer.choose(session.model);
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
    this.#unsent.drop();
    sessions.forgetAll();
    this.composer.forget();
    history.replaceState(null, "", "#/");
    this.show(null);
  }

  send(text) {
    const last = this.#said.path.at(-1) ?? this.#said;
    this.#ask(text, this.#unsent.before ?? last);
  }

  stop() {
    const run = this.#run;
    this.composer.stopping(true);
    if (run && !run.stop()) this.unsent(run);
  }

  /** Whether there was something to stop. */
  stopIfRunning() {
    if (this.#run) this.stop();
    return Boolean(this.#run);
  }

  waiting() {
    notice(this.#run ? WAIT : "One moment, this chat is still loading.");
  }

  /** Change the last question. */
  editLast() {
    if (!this.#run && !this.#unsent.is) this.#said.path.at(-1)?.edit();
  }

  /** Why the instructions for this chat were refused; empty if they were not. */
  async instruct(system) {
    if (this.#isNew) return "";
    try {
      await sessions.change(this.session, { system: system || null });
      return "";
    } catch (error) {
      return error.message;
    }
  }

  // The answer runs on; a question that has not been handed over yet is, first.
  #leave() {
    this.#visit.abort();
    this.#keepUnsent();
    this.#unsent.drop();
    const run = this.#run;
    this.#run = null;
    this.#busy(false);
    if (run?.streamId) run.detach();
  }

  #busy(is) {
    this.composer.busy(is);
    this.#place.classList.toggle("busy", is);
  }

  /* Asking */

  /** Asks the question of another exchange anew, which stays as an earlier version. False if that must wait. */
  #askAnew({ text: was, before }, text) {
    if (this.#run) {
      this.waiting();
      return false;
    }
    if (this.composer.text === was) this.composer.text = "";
    this.#ask(text, before, { isAnew: true });
    return true;
  }

  #ask(text, before, { isAnew = false } = {}) {
    const session = this.session ?? sessions.newId();
    const body = JSON.stringify({
      message: text,
      session_id: session,
      model: this.composer.model,
      system: this.#isNew ? this.settings.instructions : undefined,
      temperature: this.settings.temperature,
      parent_id: before === (this.#newest ?? this.#said) ? undefined : (before.lastId ?? null),
      partial: false,
    });
    const key = this.#unsent.keyFor(body);
    const [, waited] = this.#unsent.atRisk ?? [];
    this.#unsent.drop();
    this.session = session;
    notice("");
    if (waited && waited !== text) {
      this.composer.putBack(waited);
      notice(INSTEAD);
    }
    const shown = before.chosen;
    const exchange = new Exchange(text, before, this.#acts);
    before.add(exchange);
    const run = this.#begin(new Run(session, this), exchange);
    this.#redraw();
    this.scroll.toEnd();
    run.asked = { body, key, shown: isAnew ? shown : null };
    run.watch(ask(body, key, run.signal));
  }

  #begin(run, exchange) {
    this.#run = run;
    run.exchange = exchange;
    exchange.give(run.answer);
    this.#busy(true);
    announce("Answering");
    return run;
  }

  #follow(id, { stream_id: streamId, count }, exchange) {
    const run = this.#begin(new Run(id, this, count), exchange);
    run.streamId = streamId;
    run.watch(follow(streamId, 0, run.signal));
  }

  // What waits for its turn must not be lost with the page, nor what a question was to be changed to.
  #keepUnsent() {
    const edited = this.#said.path.find(({ draft, text }) => draft !== null && draft !== text);
    if (this.#unsent.atRisk) this.#keep(...this.#unsent.atRisk);
    if (edited) this.#keep(this.session, edited.draft);
  }

  // A chat that is not listed could not be found again.
  #keep(session, text) {
    keepDraft(titleOf(session) === null ? null : session, text);
  }

  /* Showing */

  #fill(session, except) {
    const { session_id: id, messages, live_stream: live, system } = session;
    this.#name(session);
    this.settings.enter(system);
    this.#last = messages.at(-1)?.id;
    this.#said = grow(messages, this.#acts);
    // An answer is saved just before its stream ends, so it can be in both places for a moment.
    const saved = live && messages.some((each) => each.role === "assistant" && each.stream_id === live.stream_id);
    this.#newest = this.#said.path.at(-1) ?? null;
    if (live && !saved && live.stream_id !== except) this.#follow(id, live, this.#newest);
    else if (messages.at(-1)?.role === "user") this.#newest.offerAgain("This question has no answer.");
    this.#redraw();
    for (const { stream_id: streamId } of [live ?? {}, ...messages]) this.#others.saw(streamId);
  }

  #redraw() {
    const { path } = this.#said;
    this.#empty.hidden = !this.#isNew || path.length > 0;
    for (const exchange of path) exchange.drawTools();
    const elements = path.map(({ element }) => element);
    // Those that stay are left alone, with what is selected in them.
    let same = 0;
    while (same < elements.length && this.#place.children[same] === elements[same]) same++;
    while (this.#place.children.length > same) this.#place.lastElementChild.remove();
    this.#place.append(...elements.slice(same));
  }

  #turn(exchange) {
    if (this.#run) return;
    this.#unsent.drop();
    exchange.before.chosen = exchange;
    this.#redraw();
    exchange.element.scrollIntoView({ block: "nearest" });
    exchange.element.querySelector(".versions button:enabled")?.focus();
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

  // What others have said does not take a reader away from an earlier version, nor what they are writing.
  #refill(session) {
    const { path } = this.#said;
    const edited = path.find(({ draft }) => draft !== null);
    const stays = edited ?? (path.at(-1) === this.#newest || this.#unsent.is ? null : path.at(-1));
    const draft = edited?.draft;
    this.#place.replaceChildren();
    this.#fill(session, null);
    this.#unsent.move(this.#said.path.at(-1) ?? this.#said);
    const same = stays && this.#said.all.find(({ id }) => id === stays.id);
    if (same) this.#look(same);
    if (draft !== undefined) {
      if (same) same.edit(draft);
      else this.composer.restore(draft);
    }
    this.#redraw();
  }

  /** Shows the version that this one is in. */
  #look(exchange) {
    exchange.choose();
    if (this.#run && !this.#said.path.includes(this.#run.exchange)) notice(ELSEWHERE);
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
    sessions.remember(run.session, firstLine(run.exchange.text));
    if (run !== this.#run) {
      this.drawer.draw();
      run.detach();
      return;
    }
    this.#newest = run.exchange;
    this.#isNew = false;
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
    if (isBroken) run.exchange.offerAgain(sentence);
    if (run !== this.#run) return;
    run.exchange.answerId = run.messageId;
    this.#run = null;
    this.#last = run.messageId;
    this.#busy(false);
    for (const passing of [WAIT, BUSY, ELSEWHERE]) withdraw(passing);
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

  /** It was stopped before the server was heard to have it. */
  unsent(run) {
    run.detach();
    this.#refuse(run, "Not sent.");
  }

  unstopped(run, error) {
    if (run !== this.#run) return;
    this.composer.stopping(false);
    notice(`The answer could not be stopped: ${error.message}`);
  }

  refused(run, { status, type, streamId, error, retryAfterS }) {
    if (type === "session_busy" && streamId) this.#isBusy(run);
    else if (type === "rate_limited" && retryAfterS && run === this.#run) this.#wait(run, retryAfterS);
    else this.#refuse(run, status === 401 ? NOT_SIGNED_IN : error, retryAfterS);
  }

  async #isBusy(run) {
    const { exchange: { text }, asked: { shown } } = run;
    const isNew = shown?.text !== text;
    if (isNew) keepDraft(run.session, text);
    if (run !== this.#run) return;
    await this.show(run.session);
    if (this.session === run.session && this.#run) notice(isNew ? BUSY : WAIT);
  }

  #refuse(run, sentence, afterS = null) {
    const { exchange, asked } = run;
    const { shown } = asked;
    const { text, before } = exchange;
    if (run !== this.#run) {
      this.#keep(run.session, text);
      return;
    }
    this.#unsent.hold(exchange, asked, run.session);
    if (shown) {
      // An earlier version is worth more than a question that was not taken.
      this.#unsent.drop();
      before.chosen = shown;
      this.#redraw();
      this.composer.restore(text === shown.text ? "" : text);
      notice(sentence);
    } else {
      exchange.refuse("problem", sentence, { label: "Try again", act: () => this.#tryAgain(text, before), afterS });
      this.composer.restore(text);
    }
    this.ended(run, sentence, false);
    this.scroll.toEnd();
  }

  #tryAgain(text, before) {
    if (this.#run) return;
    if (this.composer.text === text) this.composer.text = "";
    this.#ask(text, before);
  }

  /** It goes out by itself when there is room for it. */
  #wait(run, seconds) {
    const { exchange, asked } = run;
    this.#unsent.hold(exchange, asked, run.session, { waits: true });
    exchange.refuse("wait", "Many questions in a short time: this one is sent in", {
      label: "Do not send",
      afterS: seconds,
      act: () => {
        const { text, before } = exchange;
        this.#unsent.drop();
        if (asked.shown) before.chosen = asked.shown;
        this.#redraw();
        if (asked.shown?.text !== text) this.composer.putBack(text);
      },
      then: () => {
        if (!this.#unsent.holds(exchange) || this.#run) return;
        this.#ask(exchange.text, exchange.before, { isAnew: Boolean(asked.shown) });
      },
    });
    this.ended(run, `Waiting ${seconds} seconds`, false);
    this.scroll.toEnd();
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
