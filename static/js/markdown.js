// A model's text becomes nodes here and nowhere else. What it wrote is never trusted: raw HTML is shown
// as text, what Markdown makes is sanitised into nodes, and no string is ever assigned as HTML.

import DOMPurify from "../vendor/dompurify/purify.es.js";
import { Lexer, Marked, Parser } from "../vendor/marked/marked.esm.js";
import { offer } from "./images.js";

// Bare tags people mean when they write them; with an attribute they are text like the rest.
const BARE = "br|b|i|em|strong|sub|sup|kbd|mark|s|u|details|summary";
const BARE_TAG = new RegExp(`&lt;(/?(?:${BARE}))\\s*/?&gt;`, "gi");
const BARE_PAIR = new RegExp(`<(/?)(?:${BARE.replace("br|", "")})\\s*>`, "gi");

const ANSWER = {
  ALLOWED_TAGS: ["p", "a", "del", "code", "span", ...BARE.split("|")],
  ALLOWED_ATTR: ["href", "title", "class"],
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:)/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};
const SPANS = ["math", "image"];
const COLOURS = { ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"], RETURN_DOM_FRAGMENT: true };

// Formulas are shown as they were written: emphasis and escapes would mangle them. A dollar before a space, or at a
// word or a number, is money. Bounded, since what begins one need not end it.
const FORMULA = [
  /\\\((?:[^\\]|\\[^)]){1,999}?\\\)/,
  /\\\[(?:[^\\]|\\[^\]]){1,999}?\\\]/,
  /\$\$(?:[^$\\]|\\[^]){1,999}?\$\$/,
  /(?<![\w$\\])\$(?![\s$])(?:[^$\\\n]|\\.){0,999}?[^\s$\\]\$(?![\w$])/,
].map(({ source }) => source).join("|");
const FORMULA_HERE = new RegExp(FORMULA, "y");
const FORMULAS = new RegExp(FORMULA, "g");
const FORMULA_MAY_BEGIN = /\$|\\[([]/;

// What has none of these is itself.
const SPECIAL = /[\\`*_~[\]<>&$@]|:\/\/|www\.| {2,}\n/i;

const escaped = (text) => text.replace(/[&<>"']/g, (mark) => `&#${mark.charCodeAt(0)};`);
const bare = (html) => html.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(BARE_TAG, "<$1>");

const marked = new Marked({
  gfm: true,
  renderer: {
    html: ({ text }) => bare(text),
    // Loading it would tell its host who reads what, and when. Within a link there can be no other.
    image: ({ href, text, isLinked }) => isLinked
      ? escaped(text || href)
      : `<span class="image"><a href="${escaped(href)}">${escaped(text || href)}</a></span>`,
  },
  hooks: { emStrongMask: (text) => text.replace(FORMULAS, (formula) => "a".repeat(formula.length)) },
  extensions: [{
    name: "math",
    level: "inline",
    start: (text) => FORMULA_MAY_BEGIN.exec(text)?.index,
    tokenizer(text, before) {
      if (text[0] === "$" && /[\w$\\]$/.test(before.at(-1)?.raw ?? "")) return undefined;
      FORMULA_HERE.lastIndex = 0;
      const found = FORMULA_HERE.exec(text);
      return found ? { type: "math", raw: found[0] } : undefined;
    },
    renderer: ({ raw }) => `<span class="math">${escaped(raw)}</span>`,
  }],
});

function lexed(text, links) {
  const lexer = new Lexer(marked.defaults);
  lexer.tokens.links = links;
  return lexer.inlineTokens(text);
}

/** What stands in a paragraph, as nodes; `links` is what its labels refer to. */
export function inline(text, links) {
  if (!SPECIAL.test(text)) return plain(text);
  const tokens = lexed(text, links);
  if (text.includes("![")) markLinked(tokens, false);
  const fragment = sanitise(Parser.parseInline(tokens, marked.defaults));
  for (const link of fragment.querySelectorAll("a")) secure(link);
  for (const image of fragment.querySelectorAll("span.image")) offer(image);
  return fragment;
}

function markLinked(tokens, isLinked) {
  for (const token of tokens) {
    if (token.type === "image") token.isLinked = isLinked;
    else if (token.tokens) markLinked(token.tokens, isLinked || token.type === "link");
  }
}

/** HTML that stands by itself, as the text it is. */
export function html(text) {
  return sanitise(bare(text));
}

export function plain(text) {
  const fragment = document.createDocumentFragment();
  if (text) fragment.append(text);
  return fragment;
}

/** The last place in a paragraph's text after which it could as well be another's, 0 if there is none. */
export function inlineSeam(text) {
  let seam = 0;
  let at = 0;
  let brackets = 0;
  let tags = 0;
  for (const { type, raw } of lexed(text, Object.create(null))) {
    if (type === "html") tags += BARE_PAIR.test(raw) ? (raw[1] === "/" ? -1 : 1) : 0;
    BARE_PAIR.lastIndex = 0;
    for (let i = 0; (type === "text" || type === "escape") && i < raw.length; i++) {
      const mark = raw[i];
      if (type === "text" && opens(mark, raw[i + 1])) return seam;
      if (type === "text" && mark === "[") brackets++;
      else if (type === "text" && mark === "]") brackets = Math.max(0, brackets - 1);
      // Two spaces before a line's end belong together.
      else if (mark === " " && !brackets && !tags && !/\s/.test(text[at + i - 1] ?? " ") && /\S/.test(text[at + i + 1] ?? "")) {
        seam = at + i + 1;
      }
    }
    at += raw.length;
  }
  return seam;
}

/** Whether a mark in a text might pair with one that is still to come. */
function opens(mark, next) {
  if (mark === "`") return true;
  if (mark === "<") return next === undefined || /[a-z/!?]/i.test(next);
  return "*_~$".includes(mark) && (next === undefined || /\S/.test(next));
}

/** The same of HTML: the end of its last line after which no bare tag is open. */
export function htmlSeam(text) {
  let seam = 0;
  let tags = 0;
  for (let at = 0, end; (end = text.indexOf("\n", at)) >= 0; at = end + 1) {
    for (const [, closes] of text.slice(at, end).matchAll(BARE_PAIR)) tags += closes ? -1 : 1;
    if (tags <= 0) seam = end + 1;
  }
  return seam;
}

/** HTML from anywhere as nodes that can only be looked at and followed. */
export function sanitise(markup) {
  const fragment = DOMPurify.sanitize(markup, ANSWER);
  for (const element of fragment.querySelectorAll("[class]")) {
    if (!(element.localName === "span" && SPANS.includes(element.className))) element.removeAttribute("class");
  }
  return fragment;
}

/** A highlighter's HTML as nodes. */
export const colours = (markup) => DOMPurify.sanitize(markup, COLOURS);

function secure(link) {
  if (!link.hasAttribute("href")) return;
  link.rel = "noopener noreferrer";
  link.target = "_blank";
}
