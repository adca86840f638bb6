// Images of answers. One is a link until the reader asks to see it, and only where the server allows its host: to load
// it tells that host who reads, and when.

import { element } from "./elements.js";
import { announce } from "./notices.js";

let allowed = [];
/** The addresses of those that were asked for: they stay when what is around them is drawn again. */
const asked = new Set();

/** From now on these may be seen: "https://images.example.org", "https://*.example.org", "https:" for all of them. */
export function allowImages(sources) {
  allowed = sources.map(matcher);
  offerAll();
}

/** Has a box with the link to an image also offer to show it, or show it. */
export function offer(box) {
  const link = box.querySelector("a[href]");
  // What a model writes need not be an address.
  if (!link || !URL.canParse(link.href) || !isAllowed(new URL(link.href))) return;
  if (asked.has(link.href)) show(box, link);
  else if (!box.querySelector("button")) box.append(" ", button(link));
}

export function showOnClick(place) {
  place.addEventListener("click", (event) => {
    const box = event.target.closest("button.show")?.parentElement;
    if (!box) return;
    const link = box.querySelector("a");
    asked.add(link.href);
    offerAll();
    link.focus();
  });
  // These two do not rise.
  place.addEventListener("load", ({ target: image }) => image.classList.remove("loading"), { capture: true });
  place.addEventListener("error", ({ target: image }) => {
    const box = image.closest("span.image");
    if (!box) return;
    asked.delete(image.parentElement.href);
    image.replaceWith(image.alt);
    offer(box);
    announce("The image cannot be loaded");
  }, { capture: true });
}

function offerAll() {
  for (const box of document.querySelectorAll("span.image")) offer(box);
}

function show(box, link) {
  if (link.querySelector("img")) return;
  const image = element("img", "loading");
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

const isAllowed = (address) => allowed.some((suits) => suits(address));

/** Whether an address is of a source. */
function matcher(source) {
  if (!source.includes("//")) return ({ protocol }) => protocol === source;
  const isAnyBelow = source.includes("//*.");
  const { protocol, hostname, port } = new URL(source.replace("//*.", "//"));
  return (address) => address.protocol === protocol && address.port === port
    && (isAnyBelow ? address.hostname.endsWith(`.${hostname}`) : address.hostname === hostname);
}
