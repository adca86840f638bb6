// The chats of who is signed in, as the server lists them, until this tab is closed; of nobody, to whom it
// lists nothing, those whose ids this browser keeps.

import { identity } from "./identity.js";
import { call, insist, randomId, reach, refusal, Refused } from "./http.js";
import { local, tab } from "./storage.js";

const KEY = "parley.sessions";
const MOST = 200;
// A browser may still be reading what it saves.
const KEPT_MS = 60_000;
const ID = /^[A-Za-z0-9_-]{1,64}$/;

export const newId = randomId;

/** `[{id, title, at}]`, the last used first. */
export function list() {
  try {
    const kept = JSON.parse(shelf().get(KEY) || "[]");
    return Array.isArray(kept) ? kept.filter(isEntry) : [];
  } catch {
    return [];
  }
}

/** Puts it on top of the list; a title given before stays. */
export function remember(id, title) {
  const known = list();
  const before = known.find((each) => each.id === id);
  keep([{ id, title: before?.title || title, at: new Date().toISOString() }, ...known.filter((each) => each.id !== id)]);
}

export function forget(id) {
  keep(list().filter((each) => each.id !== id));
}

/** Adds what the server says of some; its titles win. */
export function add(told) {
  const all = new Map(list().map((each) => [each.id, each]));
  for (const { id, title, at } of told) all.set(id, { id, title: title || all.get(id)?.title || "", at });
  keep([...all.values()]);
}

/** Takes over what the server lists; of who is signed in it lists all. */
export async function merge() {
  const before = new Set(list().map(({ id }) => id));
  const { sessions } = await call("GET", `/api/chat/sessions?limit=${MOST}`);
  if (identity.token !== null) keep(list().filter(({ id }) => !before.has(id)));
  add(sessions.map(({ session_id: id, title, updated_at: at }) => ({ id, title, at })));
}

/** What somebody else who sits here now must not see. */
export function forgetAll() {
  tab.set(KEY, "");
}

/** The session with all that was said in it. Throws Refused; a session that is gone leaves the list. */
export async function load(id, signal, onLost) {
  try {
    return await insist("GET", `${path(id)}?versions=all`, signal, onLost);
  } catch (error) {
    if (error instanceof Refused && error.status === 404) forget(id);
    throw error;
  }
}

/** Deletes it on the server, even if this page is being left. Throws as `load`. */
export async function remove(id) {
  try {
    await call("DELETE", path(id), { keepalive: true });
  } catch (error) {
    if (!(error instanceof Refused && error.status === 404)) throw error;
  }
  forget(id);
}

/** Changes `title`, `model` or `system`, and gives the session. Throws as `load`. */
export async function change(id, changes) {
  const session = await call("PATCH", path(id), { body: JSON.stringify(changes) });
  add([{ id, title: session.title, at: session.updated_at }]);
  return session;
}

/** Hands a copy over as a file; `format` is markdown or json. Throws as `load`. */
export async function download(id, title, format) {
  const response = await reach(`${path(id)}/export?format=${format}`);
  if (!response.ok) throw new Refused(await refusal(response));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = `${fileName(title)}.${format === "json" ? "json" : "md"}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), KEPT_MS);
}

const fileName = (title) => title.replace(/[^\p{L}\p{N}._-]+/gu, " ").trim().slice(0, 60).trim() || "chat";

/** The id in `#/s/<id>`, or null. */
export function idFrom(hash) {
  const id = hash.startsWith("#/s/") ? hash.slice(4) : "";
  return ID.test(id) ? id : null;
}

export const link = (id) => `#/s/${id}`;

const path = (id) => `/api/chat/sessions/${encodeURIComponent(id)}`;

const isEntry = (each) => ID.test(each?.id) && typeof each.title === "string" && !Number.isNaN(Date.parse(each.at));

const shelf = () => (identity.token === null ? local : tab);

function keep(sessions) {
  sessions.sort((a, b) => (a.at < b.at ? 1 : -1));
  shelf().set(KEY, JSON.stringify(sessions.slice(0, MOST)));
}
