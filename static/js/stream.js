// One answer, from its question to its end, over as many connections as it takes.
//
// Here they are responses of server-sent events; `socket.js` says the same of a socket. `ask` and `follow` yield, in order:
//   {kind: "started", streamId, questionId}           the server has the question
//   {kind: "token", text, count}                      one more piece
//   {kind: "reset", text, count}                      the text so far, replacing what was there
//   {kind: "lost"} {kind: "back"}                     the line broke; it is there again
// and, as the last,
//   {kind: "done", …}                                 as on the wire
//   {kind: "failed", error, type}                     the answer broke off
//   {kind: "refused", status, error, retryAfterS, …}  nothing was generated
//   {kind: "unreachable", error}                      the question could not be handed over
//   {kind: "gone"}                                    nothing left to follow: the session has what there is
//   {kind: "locked"}                                  one must sign in first, and did not

import { call, isPassing, pause, reach, refusal } from "./http.js";
import { EventParser } from "./sse.js";

export const SEND_TRIES = 6;
export const UNREACHABLE = { kind: "unreachable", error: "The server cannot be reached" };
// The server fills silence every 15 s; a line quiet for three times that is dead without having said so.
const SILENCE_MS = 45_000;

/** `body` is sent as it is; `key` is what makes sending it twice the same question. */
export async function* ask(body, key, signal) {
  const headers = { "Content-Type": "application/json", "Idempotency-Key": key };
  let response = null;
  for (let tries = 0; !response; tries++) {
    try {
      response = await reach("/api/chat/stream", { method: "POST", headers, body, signal });
    } catch {
      signal.throwIfAborted();
      if (tries === SEND_TRIES) {
        yield UNREACHABLE;
        return;
      }
      yield { kind: "lost" };
      await pause(tries, signal);
    }
  }
  if (!response.ok) {
    yield { kind: "refused", ...(await refusal(response)) };
    return;
  }
  const cursor = { streamId: response.headers.get("X-Stream-Id"), count: 0 };
  yield { kind: "started", streamId: cursor.streamId, questionId: response.headers.get("X-Question-Id") };
  yield* untilEnded(cursor, response, signal);
}

/** The answer from its piece number `after` + 1. */
export function follow(streamId, after, signal) {
  return untilEnded({ streamId, count: after }, null, signal);
}

export function stop(streamId) {
  return call("POST", `/api/chat/streams/${encodeURIComponent(streamId)}/stop`);
}

async function* untilEnded(cursor, response, signal) {
  for (let tries = 0; ; tries++) {
    response ??= await resume(cursor, signal);
    let retryAfterS = null;
    if (response?.status === 200) {
      yield { kind: "back" };
      for await (const event of events(response, signal)) {
        const news = understand(JSON.parse(event.data), cursor);
        if (!news) continue;
        tries = 0;
        yield news;
        if (news.kind === "done" || news.kind === "failed") return;
      }
    } else if (response) {
      const said = await refusal(response);
      if (!isPassing(said.status)) {
        yield verdict(said);
        return;
      }
      if (said.status === 429) retryAfterS = said.retryAfterS;
    }
    response = null;
    yield { kind: "lost" };
    await pause(tries, signal, retryAfterS);
  }
}

/** The last event for who may not follow, and would not if they tried again. */
export function verdict(said) {
  if ([204, 404, 410].includes(said.status)) return { kind: "gone" };
  return said.status === 401 ? { kind: "locked" } : { kind: "failed", ...said };
}

/** A response of any status, or null when there is no line. */
async function resume({ streamId, count }, signal) {
  const path = `/api/chat/streams/${encodeURIComponent(streamId)}?after=${count}&partial=false`;
  try {
    return await reach(path, { headers: { "Last-Event-ID": `${streamId}:${count}` }, signal });
  } catch {
    signal.throwIfAborted();
    return null;
  }
}

/** The events of one connection; it ends alike when the body ends, breaks or falls silent. */
async function* events(response, signal) {
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  const parser = new EventParser();
  try {
    for (;;) {
      const chunk = await readSoon(reader);
      if (!chunk) break;
      yield* parser.feed(decoder.decode(chunk, { stream: true }));
    }
    signal.throwIfAborted();
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** The next bytes; null when no more will come over this connection. */
async function readSoon(reader) {
  let timer;
  const silence = new Promise((resolve) => { timer = setTimeout(resolve, SILENCE_MS, null); });
  const bytes = reader.read().then(({ value }) => value ?? null, () => null);
  const chunk = await Promise.race([bytes, silence]);
  clearTimeout(timer);
  return chunk;
}

function understand(data, cursor) {
  if (data.error) return { kind: "failed", ...data };
  if (data.done) return { kind: "done", ...data };
  if (data.reset) {
    cursor.count = data.count;
    return { kind: "reset", text: data.partial, count: data.count };
  }
  // Joining by the same key starts again at 1.
  if (!(data.count > cursor.count)) return null;
  cursor.count = data.count;
  return { kind: "token", text: data.token, count: data.count };
}
