// Which way answers come. The person chooses, or leaves it to the page; an answer that is under way changes over.

import * as socket from "./socket.js";
import * as sse from "./stream.js";
import { local } from "./storage.js";

const TRANSPORT = "parley.transport";
// Left to itself the page takes the socket, which brings news of other tabs as well, as long as there is one.
const AUTOMATIC = "auto";
// A way whose line breaks so often with nothing in between is left for the other.
const PATIENCE = 2;
// The socket is tried again with a question after this time, and after twice of it each time that it fails.
const AVOIDED_MS = 30_000;
// So long the page may be busy with what has come before it looks at anything else.
const SLICE_MS = 8;
const ways = { sse, socket };
const changes = new EventTarget();
let chosen = local.get(TRANSPORT) in ways ? local.get(TRANSPORT) : AUTOMATIC;
let best = "socket";
let avoidedMs = AVOIDED_MS;
let avoidedUntil = 0;

export const choice = () => chosen;

export function choose(name) {
  local.set(TRANSPORT, name === AUTOMATIC ? "" : name);
  change(() => {
    chosen = name;
    best = "socket";
    avoidedMs = AVOIDED_MS;
  });
}

/** As in `stream.js`, and so is `follow`. */
export function ask(body, key, signal) {
  if (Date.now() > avoidedUntil) change(() => { best = "socket"; });
  return across({ streamId: null, count: 0 }, signal, (way, until) => way.ask(body, key, until));
}

export function follow(streamId, after, signal) {
  return across({ streamId, count: after }, signal);
}

export async function stop(streamId) {
  const name = current();
  try {
    return await ways[name].stop(streamId);
  } catch (error) {
    if (chosen !== AUTOMATIC || error.status) throw error;
    return ways[other(name)].stop(streamId);
  }
}

/** As in `socket.js`. The other way brings no news: there one looks when the page is looked at again. */
export function listen(session, onNews, signal) {
  let left = new AbortController();
  const begin = () => {
    left.abort();
    left = new AbortController();
    if (current() === "socket") socket.listen(session, onNews, AbortSignal.any([signal, left.signal]));
  };
  changes.addEventListener("change", begin, { signal });
  document.addEventListener("visibilitychange", () => {
    if (current() !== "socket" && !document.hidden) onNews({ session_id: session, change: "joined" });
  }, { signal });
  begin();
}

const current = () => (chosen === AUTOMATIC ? best : chosen);

const other = (name) => (name === "sse" ? "socket" : "sse");

/** The events of one answer, whichever ways they come; it is asked for only until one of them has it. */
async function* across(cursor, signal, begin) {
  for (;;) {
    const left = new AbortController();
    const leave = () => left.abort();
    changes.addEventListener("change", leave);
    const until = AbortSignal.any([signal, left.signal]);
    const name = current();
    let lost = 0;
    let untilMs = performance.now() + SLICE_MS;
    try {
      const { [name]: way } = ways;
      const events = cursor.streamId ? way.follow(cursor.streamId, cursor.count, until) : begin(way, until);
      for await (const event of events) {
        cursor.streamId = event.kind === "started" ? event.streamId : cursor.streamId;
        cursor.count = event.count ?? cursor.count;
        lost = event.kind === "lost" ? lost + 1 : 0;
        yield event;
        if (performance.now() > untilMs) {
          await aTask();
          untilMs = performance.now() + SLICE_MS;
        }
        if (event.kind === "token" && name === "socket") avoidedMs = AVOIDED_MS;
        if (lost === PATIENCE) avoid(name);
      }
      return;
    } catch (error) {
      if (signal.aborted || !left.signal.aborted) throw error;
    } finally {
      changes.removeEventListener("change", leave);
    }
  }
}

/** After whatever else waits; timers would be slowed down where the page is not seen. */
function aTask() {
  const { port1, port2 } = new MessageChannel();
  return new Promise((resolve) => {
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

function avoid(name) {
  if (best !== name) return;
  if (name === "socket") {
    avoidedUntil = Date.now() + avoidedMs;
    avoidedMs *= 2;
  }
  change(() => { best = other(name); });
}

function change(how) {
  const before = current();
  how();
  if (current() === before) return;
  changes.dispatchEvent(new Event("change"));
  if (current() !== "socket") socket.close();
}
