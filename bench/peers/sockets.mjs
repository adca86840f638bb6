// Socket.IO on node that sends a made-up answer, one event a token, and keeps nothing.
import { createServer } from "node:http";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import { Server } from "socket.io";

const WORDS = ["The", " answer", " grows", " word", " by", " word", ",", " and"];
const BURST = 32; // tokens that an unpaced answer gets before the next one has its turn

const http = createServer();
const io = new Server(http);

async function answer(socket, message, streamId) {
  const field = (name, otherwise) => Number(new RegExp(` ${name}=([0-9.]+)`).exec(message)?.[1] ?? otherwise);
  const tokens = field("tokens", 100);
  const rate = field("tps", 0);
  const began = performance.now();
  for (let number = 0; number < tokens; number++) {
    const early = rate ? began + (number * 1000) / rate - performance.now() : 0;
    if (early > 0) await sleep(early);
    else if (number % BURST === 0) await turn();
    socket.emit("chat_token", { token: WORDS[number % 8], count: number + 1, stream_id: streamId });
  }
  socket.emit("chat_complete", { tokens, stream_id: streamId });
}

let streams = 0;
io.on("connection", (socket) => {
  socket.on("chat_stream", ({ message }, acknowledge) => {
    const streamId = `s${++streams}`;
    acknowledge({ ok: true, stream_id: streamId });
    answer(socket, message, streamId);
  });
});
http.listen(Number(process.env.PORT), "127.0.0.1", 8192);
