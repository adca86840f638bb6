// What a JavaScript program does with the official client: `node conversation.mjs <url> <transports>`.
// Prints one JSON object of what it saw.

import { io } from "socket.io-client";

const [url, transports] = process.argv.slice(2);
const options = { transports: transports.split(","), forceNew: true };
const socket = io(url, options);

const once = (name, from = socket) => new Promise((resolve) => from.once(name, resolve));
const ask = (event, payload, on = socket) => on.timeout(20_000).emitWithAck(event, payload);

async function answer(message) {
  const tokens = [];
  const counts = [];
  const hear = (event) => { tokens.push(event.token); counts.push(event.count); };
  socket.on("chat_token", hear);
  const ended = once("chat_complete");
  let early;
  const acknowledged = await new Promise((resolve) => {
    socket.emit("chat_stream", { message }, (said) => { early = tokens.length; resolve(said); });
  });
  const complete = await ended;
  socket.off("chat_token", hear);
  return { acknowledged, early, text: tokens.join(""), counts, complete };
}

await once("connect");
const first = await answer("Say hello");
const second = await answer("And again");

const busy = await ask("chat_stream", { message: "go [[demo tokens=2000 tps=50]]" });
const other = io(url, options);
await once("connect", other);
const resumed = await ask("chat_resume", { stream_id: busy.stream_id, after: 0 }, other);
await once("chat_token", other);
const ended = once("chat_complete", other);
const stopped = await ask("chat_stop", { stream_id: busy.stream_id }, other);
const complete = await ended;

const error = once("chat_stream_error");
const refused = await ask("chat_stream", { message: "" });
const binary = await ask("chat_stream", { message: Buffer.from("hello") });
const whole = await ask("chat_stream", Buffer.from("hello"));

console.log(JSON.stringify({
  transport: socket.io.engine.transport.name,
  first, second, resumed, stopped, complete, refused, error: await error, binary, whole,
}));
socket.close();
other.close();
