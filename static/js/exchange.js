// What was said: exchanges, each a question and its answer, and the one that it came after. A question that
// was asked anew, with the same words or others, is another version beside the earlier one.

import { copyText } from "./copying.js";
import { element, icon } from "./elements.js";
import { ofStored, remarkStored } from "./figures.js";
import { Answer, note } from "./render.js";

/** Before all others. */
export class Beginning {
  after = [];
  /** Which of the next ones is shown. */
  chosen = null;

  /** The exchanges that are shown. */
  get path() {
    const path = [];
    for (let each = this.chosen; each; each = each.chosen) path.push(each);
    return path;
  }

  /** Those that come after it, in whichever version. */
  get all() {
    const found = [...this.after];
    for (const each of found) found.push(...each.after);
    return found;
  }

  add(exchange) {
    this.after.push(exchange);
    this.chosen = exchange;
  }

  remove(exchange) {
    this.after = this.after.filter((each) => each !== exchange);
    if (this.chosen === exchange) this.chosen = this.after.at(-1) ?? null;
  }
}

export class Exchange extends Beginning {
  /** The question's, on the server; null as long as it is not known. */
  id = null;
  answerId = null;
  answer = null;
  #acts;
  #stored = null;
  #made = null;
  #bubble;
  #tools;
  #answerTools;

  /** `acts` has what can be done with one: `edit(exchange, text)`, which says whether that is possible now,
      `again(exchange)`, `turn(exchange)` to show this version. */
  constructor(text, before, acts) {
    super();
    this.text = text;
    this.before = before;
    this.#acts = acts;
  }

  /** What there is to see. It is made when it is first looked at. */
  get element() {
    if (!this.#made) this.#make();
    return this.#made;
  }

  /** What the next question comes after. */
  get lastId() {
    return this.answerId ?? this.id;
  }

  choose() {
    for (let each = this; each.before; each = each.before) each.before.chosen = each;
  }

  /** Its answer, as it was saved. */
  store(message) {
    this.#stored = message;
    this.answerId = message.id;
  }

  /** Its answer, which may be growing still. */
  give(answer) {
    this.answer = answer;
    this.element.append(answer.element, this.#answerTools);
  }

  /** Says at the question why it was not taken. */
  refuse(kind, sentence, action) {
    this.answer?.element.remove();
    this.#answerTools.remove();
    this.#bubble.parentElement.classList.add("unsent");
    this.#bubble.parentElement.append(note(kind, sentence, action));
  }

  /** Says at the answer why there is no more of it. */
  offerAgain(sentence) {
    if (!this.answer) this.give(new Answer());
    this.answer.note("problem", sentence, { label: "Try again", act: () => this.#acts.again(this) });
  }

  /** Draws the buttons anew, after there are other versions. */
  drawTools() {
    if (!this.#made) return;
    const versions = this.before.after;
    const isSame = versions.every(({ text }) => text === this.text);
    const turner = versions.length > 1 ? [this.#turner(versions)] : [];
    this.#tools.replaceChildren(
      ...(isSame ? [] : turner),
      this.#tool("pen", "Edit the question", "asks", () => this.edit()),
      this.#tool("copy", "Copy the question", "", () => copyText(this.text)),
    );
    this.#answerTools.replaceChildren(
      this.#tool("copy", "Copy the answer", "", () => copyText(this.answer.text)),
      this.#tool("retry", "Answer again", "asks", () => this.#acts.again(this)),
      ...(isSame ? turner : []),
    );
  }

  /** What its question is being changed to; null unless it is. */
  get draft() {
    return this.#made?.querySelector(".edit textarea")?.value ?? null;
  }

  /** Puts a box in the place of the question. */
  edit(text = this.text) {
    const question = this.element.firstElementChild;
    if (question.querySelector("form")) return;
    const form = element("form", "edit");
    const box = element("textarea");
    box.value = text;
    box.dir = "auto";
    box.rows = 3;
    box.setAttribute("aria-label", "Your question");
    const row = element("div", "edit-row");
    const cancel = element("button", "button", "Cancel");
    cancel.type = "button";
    row.append(cancel, element("button", "button main", "Send"));
    form.append(box, row);
    const close = () => {
      form.remove();
      question.classList.remove("edited");
      this.#tools.querySelector("[aria-label='Edit the question']")?.focus();
    };
    cancel.addEventListener("click", close);
    box.addEventListener("keydown", (event) => {
      if (event.isComposing) return;
      if (event.key === "Escape") {
        event.stopPropagation();
        close();
      } else if (event.key === "Enter" && !event.shiftKey) {
        event.preventDefault();
        form.requestSubmit();
      }
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (box.value.trim() && this.#acts.edit(this, box.value)) close();
    });
    question.classList.add("edited");
    question.prepend(form);
    box.focus();
    box.setSelectionRange(box.value.length, box.value.length);
  }

  #make() {
    this.#made = element("section", "exchange");
    const question = element("article", "question");
    question.setAttribute("aria-label", "Question");
    this.#bubble = element("div", "bubble", this.text);
    this.#bubble.dir = "auto";
    this.#tools = element("div", "tools");
    this.#answerTools = element("div", "tools");
    question.append(this.#bubble, this.#tools);
    this.#made.append(question);
    if (this.#stored) this.#show(this.#stored);
    this.drawTools();
  }

  #show(message) {
    const answer = new Answer();
    answer.end(message.content);
    answer.figures(ofStored(message));
    this.give(answer);
    const sentence = remarkStored(message);
    if (message.status === "failed" || message.status === "interrupted") this.offerAgain(sentence);
    else if (sentence) answer.note("", sentence);
  }

  #tool(name, label, className, act) {
    const button = element("button", `tool ${className}`);
    button.type = "button";
    button.title = label;
    button.setAttribute("aria-label", label);
    button.append(icon(name));
    button.addEventListener("click", act);
    return button;
  }

  #turner(versions) {
    const at = versions.indexOf(this);
    const turn = (step) => () => this.#acts.turn(versions[at + step]);
    const box = element("span", "versions asks");
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", "Versions");
    const back = this.#tool("back", "The version before", "", turn(-1));
    const on = this.#tool("on", "The next version", "", turn(1));
    back.disabled = at === 0;
    on.disabled = at === versions.length - 1;
    box.append(back, element("span", "", `${at + 1}/${versions.length}`), on);
    return box;
  }
}

/** All that was said in a session, from its messages in the order they were made. The newest is chosen. */
export function grow(messages, acts) {
  const beginning = new Beginning();
  const known = new Map();
  let newest = null;
  for (const message of messages) {
    const before = known.get(message.parent_id);
    if (message.role === "user") {
      const exchange = new Exchange(message.content, before ?? beginning, acts);
      exchange.id = message.id;
      exchange.before.add(exchange);
      known.set(message.id, exchange);
      newest = exchange;
    } else if (before) {
      before.store(message);
      known.set(message.id, before);
      newest = before;
    }
  }
  newest?.choose();
  return beginning;
}
