// What a JavaScript program sees when it may not connect: `node refused.mjs <url> <good token>`.
// Prints one JSON object: the error, and whether it is let in after it has taken a good token.

import { io } from "socket.io-client";

const [url, token] = process.argv.slice(2);
const socket = io(url, { auth: { token: "x" }, reconnection: false });
const once = (name) => new Promise((resolve) => socket.once(name, resolve));

const error = await once("connect_error");
const active = socket.active;
socket.auth = { token };
socket.connect();
await once("connect");
console.log(JSON.stringify({ message: error.message, data: error.data, active }));
socket.disconnect();
