// Puts the page together: the conversation, the list beside it, the box below, the address above.

import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { copyOnClick } from "./copying.js";
import { Drawer } from "./drawer.js";
import { insist } from "./http.js";
import { identity } from "./identity.js";
import { allowImages, showOnClick } from "./images.js";
import { entitle, notice } from "./notices.js";
import { rehearse } from "./render.js";
import { Follower } from "./scroll.js";
import { idFrom, link, merge } from "./sessions.js";
import { Settings } from "./settings.js";
import { Shortcuts } from "./shortcuts.js";
import { Signing } from "./signing.js";

const $ = (id) => document.getElementById(id);

const scroll = new Follower($("scroller"), $("messages"), $("latest"));
const composer = new Composer({
  onSend: (text) => conversation.send(text),
  onStop: () => conversation.stop(),
  onWait: () => conversation.waiting(),
  onUp: () => conversation.editLast(),
});
const drawer = new Drawer({
  onLeft: (id) => { if (id === conversation.session) location.hash = "#/"; },
  onBack: (id) => { location.hash = link(id); },
  onRenamed: (id, title) => { if (id === conversation.session) entitle(title); },
});
const settings = new Settings({ onInstructions: (text) => conversation.instruct(text) });
const conversation = new Conversation({ composer, drawer, scroll, settings });

const shortcuts = new Shortcuts();
shortcuts.add("/", "Write", () => composer.focus());
shortcuts.add("k", "Search the chats", () => drawer.search(), { mod: true });
shortcuts.add("o", "New chat", () => $("new-chat").click(), { mod: true, shift: true });
shortcuts.add(",", "Settings", () => settings.open(), { mod: true });
shortcuts.add("Escape", "Stop the answer, close what is open", () => drawer.close() || conversation.stopIfRunning());

// Who has just said who they are starts anew, with what they had begun to write.
const signing = new Signing(() => {
  const { text } = composer;
  history.replaceState(null, "", "#/");
  conversation.show(null);
  composer.restore(text);
});
identity.ask = (sentence) => signing.ask(sentence);
identity.addEventListener("change", ({ detail }) => {
  if (detail.isOther) conversation.forget();
  drawChats();
});

copyOnClick($("messages"));
showOnClick($("messages"));

$("empty").addEventListener("click", (event) => {
  const example = event.target.closest("button.example");
  if (example) conversation.send(example.textContent);
});

addEventListener("hashchange", () => {
  const id = idFrom(location.hash);
  if (id !== null && drawer.isLeaving(id)) {
    history.replaceState(null, "", "#/");
    conversation.show(null);
    notice("That chat is deleted. It can be got back while Undo is here.");
  } else conversation.show(id);
  composer.focus();
});
// Asking for a new chat while in one that has no address yet changes no hash.
for (const link of document.querySelectorAll('a[href="#/"]')) {
  link.addEventListener("click", () => { if (location.hash === "#/") conversation.show(null); });
}

conversation.show(idFrom(location.hash));
composer.focus();
drawChats();
(window.requestIdleCallback ?? setTimeout)(rehearse);
// Without it the choice of a model is the server's own, and no image is shown.
insist("GET", "/api/status").then(({ models, image_hosts: hosts = [] }) => {
  composer.models(models);
  allowImages(hosts);
}, () => {});

/** Those that are known here, and then those that the server lists. */
function drawChats() {
  drawer.draw();
  merge().then(() => drawer.draw(), () => {});
}
