// A model's text becomes nodes here and nowhere else. What it wrote is never trusted: raw HTML is shown
// as text, what Markdown makes is sanitised into nodes, and no string is ever assigned as HTML.

import DOMPurify from "../vendor/dompurify/purify.es.js";
import { Marked } from "../vendor/marked/marked.esm.js";

// Bare tags people mean when they write them; with an attribute they are text like the rest.
const BARE = "br|b|i|em|strong|sub|sup|kbd|mark|s|u|details|summary";
const BARE_TAG = new RegExp(`&lt;(/?(?:${BARE}))\\s*/?&gt;`, "gi");

const ANSWER = {
  ALLOWED_TAGS: [
    "p", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "blockquote", "ul", "ol", "li", "pre", "code", "a", "del",
    "table", "thead", "tbody", "tr", "th", "td", ...BARE.split("|"),
  ],
  ALLOWED_ATTR: ["href", "title", "class", "start", "align"],
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:)/i,
  // DOMPurify holds every attribute against that pattern, except those it knows and these.
  ADD_URI_SAFE_ATTR: ["start", "align"],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};
const COLOURS = { ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"], RETURN_DOM_FRAGMENT: true };
// Colouring is linear but slow; past this many characters code stays plain.
const MOST_COLOURED = 60_000;

const escaped = (text) => text.replace(/[&<>"']/g, (mark) => `&#${mark.charCodeAt(0)};`);
const bare = (html) => html.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(BARE_TAG, "<$1>");

const marked = new Marked({
  gfm: true,
  renderer: {
    html: ({ text }) => bare(text),
    // Loading it would tell its host who reads what, and when.
    image: ({ href, text }) => `<a href="${escaped(href)}">${escaped(text || href)}</a>`,
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
  },
});

/** The top-level blocks of a text; two with the same `raw` look the same. */
export const blocks = (text) => marked.lexer(text);

/** The nodes of one block. */
export function nodes(block) {
  const fragment = sanitise(marked.parser([block]));
  for (const link of fragment.querySelectorAll("a")) secure(link);
  for (const item of fragment.querySelectorAll("li")) {
    if (/^\s*[☐☑]/.test(item.textContent)) item.className = "task";
  }
  for (const table of fragment.querySelectorAll("table")) wrap(table, "table");
  for (const code of fragment.querySelectorAll("pre > code")) dress(code);
  return [...fragment.childNodes];
}

/** HTML from anywhere as nodes that can only be looked at and followed. */
export function sanitise(html) {
  const fragment = DOMPurify.sanitize(html, ANSWER);
  for (const element of fragment.querySelectorAll("[class]")) {
    if (!(element.localName === "code" && /^language-[\w+#.-]+$/.test(element.className))) element.removeAttribute("class");
  }
  return fragment;
}

function secure(link) {
  if (!link.hasAttribute("href")) return;
  link.rel = "noopener noreferrer";
  link.target = "_blank";
}

function wrap(element, className) {
  const box = document.createElement("div");
  box.className = className;
  element.replaceWith(box);
  box.append(element);
  return box;
}

function dress(code) {
  const language = code.className.replace("language-", "");
  const head = document.createElement("div");
  head.className = "code-head";
  const name = document.createElement("span");
  name.textContent = language;
  const copy = document.createElement("button");
  copy.type = "button";
  copy.className = "copy";
  copy.textContent = "Copy";
  copy.setAttribute("aria-label", "Copy the code");
  head.append(name, copy);
  wrap(code.parentElement, "code").prepend(head);
  if (language && code.textContent.length <= MOST_COLOURED) colour(code, language);
}

let highlighter = null;

// Fetched with the first code there is, and at once from then on, so that its cost counts as drawing.
function colour(code, language) {
  if (!highlighter) {
    import("../vendor/highlight/highlight.min.js").then(({ default: loaded }) => {
      highlighter = loaded;
      colour(code, language);
    }, () => { /* The line is down: code stays plain. */ });
    return;
  }
  paint(highlighter, code, language);
}

function paint(hljs, code, language) {
  if (!hljs.getLanguage(language)) return;
  const { value } = hljs.highlight(code.textContent, { language, ignoreIllegals: true });
  code.replaceChildren(DOMPurify.sanitize(value, COLOURS));
}
