// Which way answers come. The person chooses; an answer that is under way changes over.

import * as socket from "./socket.js";
import * as sse from "./stream.js";

const TRANSPORT = "parley.transport";
const ways = { sse, socket };
const changes = new EventTarget();
let chosen = kept();

export const choice = () => chosen;

export function choose(name) {
  chosen = name;
  keep(name);
  changes.dispatchEvent(new Event("change"));
  if (name !== "socket") socket.close();
}

/** As in `stream.js`, and so is `follow`. */
export function ask(body, key, signal) {
  return across({ streamId: null, count: 0 }, signal, (way, until) => way.ask(body, key, until));
}

export function follow(streamId, after, signal) {
  return across({ streamId, count: after }, signal);
}

export const stop = (streamId) => ways[chosen].stop(streamId);

/** As in `socket.js`; the other way brings no news. */
export function listen(session, onNews, signal) {
  let left = new AbortController();
  const begin = () => {
    left.abort();
    left = new AbortController();
    if (chosen === "socket") socket.listen(session, onNews, AbortSignal.any([signal, left.signal]));
  };
  changes.addEventListener("change", begin, { signal });
  begin();
}

/** The events of one answer, whichever ways they come; it is asked for only until one of them has it. */
async function* across(cursor, signal, begin) {
  for (;;) {
    const left = new AbortController();
    const leave = () => left.abort();
    changes.addEventListener("change", leave);
    const until = AbortSignal.any([signal, left.signal]);
    const way = ways[chosen];
    try {
      const events = cursor.streamId ? way.follow(cursor.streamId, cursor.count, until) : begin(way, until);
      for await (const event of events) {
        cursor.streamId = event.kind === "started" ? event.streamId : cursor.streamId;
        cursor.count = event.count ?? cursor.count;
        yield event;
      }
      return;
    } catch (error) {
      if (signal.aborted || !left.signal.aborted) throw error;
    } finally {
      changes.removeEventListener("change", leave);
    }
  }
}

function kept() {
  try {
    const name = localStorage.getItem(TRANSPORT);
    return name in ways ? name : "sse";
  } catch {
    return "sse";
  }
}

function keep(name) {
  try {
    localStorage.setItem(TRANSPORT, name);
  } catch {
    // Private windows may refuse to store; the choice then holds for this page.
  }
}
