// The form that sends a request, and what came of it as it comes.

import { code, make, sentence } from "./elements.js";
import { curl, request } from "./request.js";

// More than this is not shown: a page has to stay one that can be scrolled.
const MOST_CHARS = 200_000;

export class Trying {
  #operation;
  #schemas;
  #token;
  #onLink;
  #fields = [];
  #reading = null;

  /** `token()` is the one to send, or empty; `onLink(operationId, values)` goes on to another operation. */
  constructor(operation, schemas, token, onLink) {
    this.#operation = operation;
    this.#schemas = schemas;
    this.#token = token;
    this.#onLink = onLink;
    const line = code("", "curl");
    this.curl = line.box;
    this.line = line.shown;
    this.element = this.#draw();
    this.update();
  }

  /** Put values into the form, by the names of parameters. */
  fill(values) {
    for (const { name, input } of this.#fields) if (name in values) input.value = values[name];
    this.element.open = true;
    this.update();
  }

  /** Writes the curl line anew. */
  update() {
    const streams = "text/event-stream" in (this.#operation.responses["200"]?.content ?? {});
    this.line.textContent = curl(this.#request(), { streams, signed: this.#token() !== "" });
  }

  #draw() {
    const { operationId, parameters = [], requestBody } = this.#operation;
    for (const { name, in: place, required, schema } of parameters) {
      this.#fields.push({ name, place, input: field(`${operationId}-${name}`, schema, required) });
    }
    if (requestBody) this.#fields.push({ name: "body", place: "body", input: this.#body(requestBody) });
    this.send = make("button", { type: "submit", class: "send" }, "Send");
    this.stop = make("button", { type: "button", class: "quiet", hidden: true }, "Stop reading");
    this.result = make("div", { class: "result", hidden: true });
    const rows = this.#fields.map(({ name, input }) =>
      make("label", { class: "row" }, make("span", {}, name, input.required ? make("span", { class: "must" }, "required") : null), input));
    const form = make("form", {}, rows, make("p", { class: "buttons" }, this.send, this.stop));
    form.addEventListener("input", () => this.update());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#ask();
    });
    this.stop.addEventListener("click", () => this.#reading?.abort());
    return make("details", { class: "try" }, make("summary", {}, "Try it"), form, this.result);
  }

  #body({ required, content }) {
    const example = this.#schemas.example(content["application/json"].schema);
    const text = Object.keys(example).length ? JSON.stringify(example, null, 2) : "{}";
    const input = make("textarea", { rows: Math.min(10, text.split("\n").length + 1), spellcheck: "false", required });
    input.value = text;
    return input;
  }

  #request() {
    const values = { path: {}, query: {}, header: {}, body: null };
    for (const { name, place, input } of this.#fields) {
      if (place === "body") values.body = input.value;
      else values[place][name] = input.value;
    }
    return request(this.#operation, values);
  }

  async #ask() {
    this.#reading?.abort();
    const reading = (this.#reading = new AbortController());
    const { url, ...options } = this.#request();
    const token = this.#token();
    if (token) options.headers.Authorization = `Bearer ${token}`;
    this.#busy(true);
    const shown = new Result(this.result);
    try {
      const response = await fetch(url, { ...options, signal: reading.signal, cache: "no-store" });
      shown.head(response);
      this.#offer(response, await shown.body(response));
    } catch (error) {
      shown.end(reading.signal.aborted ? "You stopped reading; the server goes on." : `No answer: ${error.message}`);
    }
    if (this.#reading === reading) this.#busy(false);
  }

  #busy(busy) {
    this.stop.hidden = !busy;
    this.result.setAttribute("aria-busy", busy);
  }

  /** Where one can go on from this answer, with values taken from it. */
  #offer(response, said) {
    const links = Object.values(this.#operation.responses[response.status]?.links ?? {});
    const buttons = links.map(({ operationId, description, parameters }) => {
      const values = Object.fromEntries(Object.entries(parameters).map(([name, where]) => [name, taken(where, response, said)]));
      if (Object.values(values).some((value) => value === null)) return null;
      const button = make("button", { type: "button", class: "quiet" }, description);
      button.addEventListener("click", () => this.#onLink(operationId, values));
      return button;
    });
    const there = buttons.filter(Boolean);
    if (there.length) this.result.append(make("p", { class: "buttons" }, "Go on: ", there));
  }
}

/** A value that a link takes from a response, or null. */
function taken(where, response, said) {
  if (where.startsWith("$response.header.")) return response.headers.get(where.slice("$response.header.".length));
  try {
    return JSON.parse(said)[where.slice("$response.body#/".length)] ?? null;
  } catch {
    return null;
  }
}

function field(id, schema, required) {
  const choices = schema.enum;
  if (!choices) return make("input", { id, required, autocomplete: "off", spellcheck: "false" });
  const options = ["", ...choices].map((choice) => make("option", { value: choice }, choice || "as the server does"));
  return make("select", { id }, options);
}

/** Status, headers and body, drawn into a place. */
class Result {
  #place;
  #body;

  constructor(place) {
    this.#place = place;
    this.#body = make("pre", { tabindex: "0", "aria-label": "Response body" });
    place.replaceChildren(make("p", { class: "soft" }, "Waiting for an answer …"));
    place.hidden = false;
  }

  head(response) {
    const headers = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    this.#place.replaceChildren(
      make("p", { class: "answered", role: "status" },
        make("strong", { class: response.ok ? "good" : "bad" }, `${response.status} ${response.statusText}`)),
      make("details", {}, make("summary", {}, "Headers"), make("pre", {}, headers)),
      this.#body,
    );
  }

  /** Shows the body as it comes, and gives it whole. */
  async body(response) {
    const decoder = new TextDecoder();
    let said = "";
    for await (const piece of pieces(response)) {
      const text = decoder.decode(piece, { stream: true });
      const room = MOST_CHARS - said.length;
      said += text;
      if (room > 0) this.#body.append(text.slice(0, room));
      if (isStream(response)) this.#body.scrollTop = this.#body.scrollHeight;
    }
    if (!said) this.#body.replaceChildren(make("span", { class: "soft" }, "No body."));
    if (said.length > MOST_CHARS) this.end("The rest is not shown.");
    this.#indent(response, said);
    return said;
  }

  end(words) {
    this.#place.append(make("p", { class: "soft", role: "status" }, sentence(words)));
  }

  #indent(response, said) {
    if (!/json/.test(response.headers.get("Content-Type") ?? "") || said.length > MOST_CHARS) return;
    this.#body.textContent = JSON.stringify(JSON.parse(said), null, 2);
  }
}

const isStream = (response) => response.headers.get("Content-Type")?.startsWith("text/event-stream");

async function* pieces(response) {
  if (!response.body) return;
  const reader = response.body.getReader();
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
  } finally {
    reader.cancel().catch(() => {}); // it may be over already
  }
}
