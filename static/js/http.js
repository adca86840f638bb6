// Requests with a deadline, refusals as data, and waiting between tries.

import { bearer, identity } from "./identity.js";

const HEADERS_MS = 20_000;
const LONGEST_PAUSE_MS = 5_000;

/** fetch as who is signed in; who must sign in first is asked to, and then it goes on. Gives up if no
    headers come; the body may then take as long as it likes. */
export async function reach(path, options) {
  for (;;) {
    const { token } = identity;
    const response = await reachAs(token, path, options);
    if (response.status !== 401 || !(await identity.renewed(token))) return response;
  }
}

/** The same with this token, once. */
export async function reachAs(token, path, { signal, headers, ...options } = {}) {
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(new DOMException("No answer", "TimeoutError")), HEADERS_MS);
  const either = signal ? AbortSignal.any([signal, deadline.signal]) : deadline.signal;
  try {
    return await fetch(path, { ...options, headers: { ...headers, ...bearer(token) }, signal: either, cache: "no-store" });
  } finally {
    clearTimeout(timer);
  }
}

/** What a response that is not a success says, whoever wrote it. */
export async function refusal(response) {
  const said = await response.json().catch(() => ({}));
  const retryAfter = Number.parseInt(response.headers.get("Retry-After"), 10);
  return {
    status: response.status,
    type: said.type ?? "",
    error: typeof said.error === "string" ? said.error : `The server answered with status ${response.status}`,
    streamId: said.stream_id ?? null,
    retryAfterS: Number.isFinite(retryAfter) ? retryAfter : null,
  };
}

export class Refused extends Error {
  constructor(said) {
    super(said.error);
    Object.assign(this, said);
  }
}

/** JSON in, JSON out. Throws Refused, or fetch's TypeError when the line is down. */
export async function call(method, path, options) {
  const response = await reach(path, { method, ...options });
  if (!response.ok) throw new Refused(await refusal(response));
  return response.json();
}

/** Calls until there is an answer or a refusal that trying again would not change. */
export async function insist(method, path, signal, onLost = () => {}) {
  for (let tries = 0; ; tries++) {
    try {
      return await call(method, path, { signal });
    } catch (error) {
      if (signal?.aborted || (error instanceof Refused && !isPassing(error.status))) throw error;
      onLost();
      await pause(tries, signal, error.retryAfterS);
    }
  }
}

export const isPassing = (status) => status === 429 || status >= 500;

/** Doubling, with jitter so that a restarted server is not met by everybody at once. Ends early when
    the browser says it is online again. */
export function pause(tries, signal, seconds = null) {
  const cap = Math.min(LONGEST_PAUSE_MS, 250 * 2 ** Math.min(tries, 10));
  const wait = Math.min(LONGEST_PAUSE_MS, seconds ? seconds * 1000 : cap) * (0.5 + Math.random() / 2);
  return new Promise((resolve, reject) => {
    const over = () => {
      clearTimeout(timer);
      removeEventListener("online", over);
      signal?.removeEventListener("abort", over);
      if (signal?.aborted) reject(signal.reason);
      else resolve();
    };
    const timer = setTimeout(over, wait);
    addEventListener("online", over);
    signal?.addEventListener("abort", over);
    if (signal?.aborted) over();
  });
}

/** What the promise gives, unless the signal comes first: then its reason is thrown. */
export function heeding(signal, promise) {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const over = () => reject(signal.reason);
    signal.addEventListener("abort", over);
    if (signal.aborted) over();
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", over));
  });
}

/** 128 random bits, as hex. */
export function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
