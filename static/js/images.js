// Images of answers. One is a link until the reader asks to see it, and only where the server allows its host: to load
// it tells that host who reads, and when.

import { element } from "./elements.js";
import { announce } from "./notices.js";

let allowed = [];
/** The addresses of those that were asked for: they stay when what is around them is drawn again. */
const asked = new Set();

/** From now on these may be seen: "https://images.example.org", "https://*.example.org", "https:" for all of them. */
export function allowImages(sources) {
  allowed = sources;
  for (const box of document.querySelectorAll("span.image")) offer(box);
}

/** Has a box with the link to an image also offer to show it, or show it. */
export function offer(box) {
  const link = box.querySelector("a[href]");
  if (!link || !isAllowed(new URL(link.href))) return;
  if (asked.has(link.href)) show(box, link);
  else if (!box.querySelector("button")) box.append(" ", button(link));
}

export function showOnClick(place) {
  place.addEventListener("click", (event) => {
    const box = event.target.closest("button.show")?.parentElement;
    if (!box) return;
    const link = box.querySelector("a");
    asked.add(link.href);
    show(box, link);
    link.focus();
  });
  // These do not rise.
  place.addEventListener("error", ({ target: image }) => {
    if (image.localName !== "img" || !image.parentElement?.matches("a")) return;
    asked.delete(image.parentElement.href);
    image.replaceWith(image.alt);
    announce("The image cannot be loaded");
  }, { capture: true });
}

function show(box, link) {
  const image = element("img");
  image.alt = link.textContent;
  image.referrerPolicy = "no-referrer";
  image.src = link.href;
  link.replaceChildren(image);
  box.replaceChildren(link);
}

function button({ href }) {
  const made = element("button", "show", "Show the image");
  made.type = "button";
  made.title = `It is loaded from ${new URL(href).host}`;
  return made;
}

function isAllowed({ protocol, hostname, port }) {
  return allowed.some((source) => {
    if (source === protocol) return true;
    const [scheme, place] = source.split("//");
    const at = place?.lastIndexOf(":") ?? -1;
    const host = at < 0 ? place : place.slice(0, at);
    const isHost = host?.startsWith("*.") ? hostname.endsWith(host.slice(1)) : hostname === host;
    return isHost && scheme === protocol && port === (at < 0 ? "" : place.slice(at + 1));
  });
}
