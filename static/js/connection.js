// The page's one Socket.IO connection. It is made when it is first needed, and again by whoever misses it.

import { heeding, Refused } from "./http.js";
import { identity } from "./identity.js";

const CONNECT_MS = 10_000;
const ACKNOWLEDGED_MS = 20_000;
const NO_LINE = "The server cannot be reached";

export class Connection {
  #handlers;
  #socket = null;
  #token = null;
  #attempt = null;
  #giveUp = () => {};
  #backAt = 0;
  #lost = Promise.resolve();
  #tellLost = () => {};

  /** `handlers` are called with what the events of their names carry. */
  constructor(handlers) {
    this.#handlers = handlers;
    // A connection is for good whoever it began as.
    identity.addEventListener("change", () => this.close());
  }

  /** The acknowledgement; `heed(it)` is called before any event that follows it. Throws Refused, also if one
      must sign in and does not, and any other Error when the line is down. */
  async request(event, payload, signal, heed = () => {}) {
    await heeding(signal, this.#open());
    return heeding(signal, new Promise((resolve, reject) => {
      this.#socket.timeout(ACKNOWLEDGED_MS).emit(event, payload, (error, said) => {
        if (error || !said.ok) {
          reject(error ? new Error(NO_LINE) : new Refused(refusal(said)));
        } else {
          heed(said);
          resolve(said);
        }
      });
    }));
  }

  /** For what matters only as long as there is a line. */
  tell(event, payload) {
    if (this.#socket?.connected) this.#socket.emit(event, payload);
  }

  /** Until the line is gone. */
  lost(signal) {
    return heeding(signal, this.#lost);
  }

  close() {
    this.#socket?.disconnect();
    this.#giveUp(new Error(NO_LINE));
  }

  async #open() {
    if (this.#socket?.connected) return;
    this.#attempt ??= this.#connect().finally(() => { this.#attempt = null; });
    await this.#attempt;
  }

  async #connect() {
    this.#socket ??= await this.#make();
    for (;;) {
      const problem = await this.#try();
      if (!problem) return;
      if (!problem.data) throw new Error(NO_LINE);
      // So it ends after `auth_expired`, too: the token that ran out is refused.
      const isLocked = problem.data.code === 401;
      if (!isLocked || !(await identity.renewed(this.#token))) throw new Refused(refusal(problem.data));
    }
  }

  /** Null, or why there is no connection. */
  #try() {
    const socket = this.#socket;
    return new Promise((resolve) => {
      const settle = (problem = null) => {
        clearTimeout(timer);
        socket.off("connect", settle).off("connect_error", settle);
        this.#giveUp = () => {};
        resolve(problem);
      };
      const timer = setTimeout(() => socket.connect(), Math.max(0, this.#backAt - Date.now()));
      socket.on("connect", settle).on("connect_error", settle);
      this.#giveUp = settle;
    });
  }

  async #make() {
    const { io } = await import("../vendor/socket.io/socket.io.esm.min.js");
    const socket = io({
      autoConnect: false,
      reconnection: false,
      transports: ["websocket", "polling"],
      tryAllTransports: true,
      timeout: CONNECT_MS,
      auth: (give) => {
        this.#token = identity.token;
        give(this.#token === null ? {} : { token: this.#token });
      },
    });
    for (const [event, handle] of Object.entries(this.#handlers)) socket.on(event, handle);
    socket.on("server_draining", ({ reconnect_in_ms: ms }) => { this.#backAt = Date.now() + ms; });
    socket.on("connect", () => { this.#lost = new Promise((resolve) => { this.#tellLost = resolve; }); });
    socket.on("disconnect", () => this.#tellLost());
    return socket;
  }
}

/** As `refusal` in `http.js` has it. */
function refusal({ code: status, type, error, stream_id: streamId = null, retry_after: retryAfterS = null }) {
  return { status, type, error, streamId, retryAfterS };
}
