// The small print under an answer: how many tokens, how fast.

const plural = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
const rate = (n) => `${n < 1000 ? n.toFixed(1) : Math.round(n).toLocaleString("en")} tokens/s`;

function time(ms) {
  const s = ms / 1000;
  if (s < 1) return `${Math.round(ms)} ms`;
  return s < 60 ? `${s.toFixed(1)} s` : `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
}

/** Counts while an answer arrives. What was there before we joined, at `count`, says nothing about its pace. */
export class Pace {
  #from;
  #asked;
  #since = null;
  #first = null;
  #count = null;
  #now = 0;

  constructor(count = null) {
    this.#from = count ?? 0;
    this.#asked = count === null ? performance.now() : null;
  }

  /** So many have come now. */
  at(count) {
    this.#count = count;
    this.#now = performance.now();
    if (this.#since !== null || count <= this.#from) return;
    this.#since = this.#now;
    this.#from = count;
    if (this.#asked !== null) this.#first = this.#now - this.#asked;
  }

  get parts() {
    if (this.#count === null) return [];
    const elapsed = this.#since === null ? 0 : (this.#now - this.#since) / 1000;
    const parts = [plural(this.#count, "token")];
    if (elapsed > 0.4) parts.push(rate((this.#count - this.#from) / elapsed));
    if (this.#first !== null) parts.push(`first after ${time(this.#first)}`);
    return parts;
  }
}

/** The figures of a closing event. */
export function ofDone(done) {
  const parts = [plural(done.tokens, "token")];
  if (done.tokens_per_second) parts.push(rate(done.tokens_per_second));
  if (typeof done.ttft_ms === "number") parts.push(`first after ${time(done.ttft_ms)}`);
  parts.push(time(done.duration * 1000));
  const prompt = done.usage?.prompt_tokens;
  if (typeof prompt === "number") {
    parts.push(`${done.usage_source === "estimate" ? "about " : ""}${plural(prompt, "prompt token")}`);
  }
  if (done.model) parts.push(done.model);
  return parts;
}

/** The figures of a stored answer, as many as were kept. */
export function ofStored(message) {
  const { tokens, duration, model } = message;
  if (duration) return ofDone({ ...message, tokens_per_second: tokens / duration });
  return [...(typeof tokens === "number" ? [plural(tokens, "token")] : []), ...(model ? [model] : [])];
}

/** A short sentence for an ending that is not the usual one, else nothing. */
export function remark({ finish_reason: reason, history_dropped: dropped }) {
  const parts = [];
  if (reason === "stopped") parts.push("Stopped.");
  if (reason === "detached") parts.push("Stopped, because nobody was reading.");
  if (reason === "length") parts.push("Cut off at the length limit.");
  if (reason === "content_filter") parts.push("Held back by the model's content filter.");
  if (dropped) parts.push(`${plural(dropped, "earlier message")} did not fit the model's context.`);
  return parts.join(" ");
}

const ENDINGS = {
  stopped: "Stopped.",
  failed: "The model broke off here.",
  interrupted: "Interrupted: the server went away while answering.",
};

/** The same for a stored answer. */
export const remarkStored = (message) => message.error || remark(message) || (ENDINGS[message.status] ?? "");
