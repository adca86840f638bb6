// One answer from its question to its end, in the words of `stream.js`, over Socket.IO; and what happens in a
// session, whoever makes it happen.

import { Connection } from "./connection.js";
import { Heard } from "./heard.js";
import { isPassing, pause, Refused } from "./http.js";
import { SEND_TRIES, UNREACHABLE, verdict } from "./stream.js";

// A request that crossed an answer's end finds it here: the server sends a socket nothing twice.
const KEPT_MS = 60_000;

const answers = new Map();
const listeners = new Set();

const connection = new Connection({
  chat_token: ({ stream_id: id, token, count }) => answers.get(id)?.token(token, count),
  chat_reset: ({ stream_id: id, partial, count }) => answers.get(id)?.reset(partial, count),
  chat_complete: (event) => end({ kind: "done", ...event }),
  chat_stream_error: (event) => {
    // A refusal, which names the answer that is in the way, is acknowledged as well.
    if (event.ok !== false) end({ kind: "failed", ...event });
  },
  session_updated: (news) => {
    if (news.change === "message") expect(news.live_stream, 0);
    for (const listener of listeners) listener(news);
  },
  disconnect: () => {
    for (const answer of answers.values()) answer.cut();
    answers.clear();
  },
});

export const close = () => connection.close();

export async function* ask(body, key, signal) {
  const payload = { ...JSON.parse(body), idempotency_key: key };
  let asked = null;
  let answer = null;
  for (let tries = 0; !asked; tries++) {
    try {
      asked = await connection.request("chat_stream", payload, signal, (said) => { answer = takeUp(said, 0); });
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof Refused || tries === SEND_TRIES) {
        yield error instanceof Refused ? { kind: "refused", ...error } : UNREACHABLE;
        return;
      }
      yield { kind: "lost" };
      await pause(tries, signal);
    }
  }
  yield { kind: "started", streamId: asked.stream_id, questionId: asked.question_id };
  yield* untilEnded(asked.stream_id, 0, answer, signal);
}

export const follow = (streamId, after, signal) => untilEnded(streamId, after, null, signal);

async function* untilEnded(streamId, after, begun, signal) {
  let count = after;
  for (let tries = 0; ; tries++) {
    const { answer, error } = tries === 0 && begun ? { answer: begun } : await resume(streamId, count, signal);
    if (answer) {
      yield { kind: "back" };
      for await (const event of answer.read(count, signal)) {
        tries = 0;
        count = event.count ?? count;
        yield event;
        if (event.kind === "done" || event.kind === "failed") return;
      }
    } else if (error instanceof Refused && !isPassing(error.status)) {
      yield verdict(error);
      return;
    }
    yield { kind: "lost" };
    await pause(tries, signal, error?.retryAfterS);
  }
}

export const stop = (streamId) => connection.request("chat_stop", { stream_id: streamId });

/** Until `signal` says so, `onNews` gets every `session_updated` of the session, and one whose `change` is
    "joined" each time that there are such from now on, but there may have been others before. */
export async function listen(session, onNews, signal) {
  const listener = (news) => { if (news.session_id === session) onNews(news); };
  const leave = () => {
    listeners.delete(listener);
    connection.tell("session_leave", { session_id: session });
  };
  signal.addEventListener("abort", leave);
  listeners.add(listener);
  for (let tries = 0; !signal.aborted; tries++) {
    try {
      const said = await connection.request("session_join", { session_id: session }, signal, (joined) => {
        expect(joined.live_stream, joined.live_stream?.count);
      });
      onNews({ ...said, session_id: session, change: "joined" });
      tries = 0;
      await connection.lost(signal);
      await pause(tries, signal);
    } catch (error) {
      if (signal.aborted || (error instanceof Refused && !isPassing(error.status))) break;
      await pause(tries, signal, error.retryAfterS).catch(() => {});
    }
  }
  signal.removeEventListener("abort", leave);
  listeners.delete(listener);
}

/** The answer, as from piece number `count` + 1, or the error why not. */
async function resume(streamId, count, signal) {
  try {
    let answer = null;
    await connection.request("chat_resume", { stream_id: streamId, after: count }, signal, (said) => {
      answer = takeUp(said, count);
    });
    return { answer };
  } catch (error) {
    signal.throwIfAborted();
    return { error };
  }
}

/** The answer, for a reader with `count` pieces who has just asked for the rest. */
function takeUp(said, count) {
  if (said.after !== undefined) {
    // The server begins anew: whoever read on as it was has to ask, too.
    answers.get(said.stream_id)?.cut();
    answers.delete(said.stream_id);
  }
  const answer = expect(said, said.after ?? count);
  if (!answer.suits(count)) connection.close();
  return answer;
}

/** What the connection begins to bring: pieces from number `from` + 1 on, unless it does so already. */
function expect(live, from) {
  if (!live) return null;
  const { stream_id: id } = live;
  if (!answers.has(id)) answers.set(id, new Heard(from));
  return answers.get(id);
}

function end(event) {
  const answer = answers.get(event.stream_id);
  if (!answer) return;
  answer.end(event);
  setTimeout(() => { if (answers.get(event.stream_id) === answer) answers.delete(event.stream_id); }, KEPT_MS);
}
