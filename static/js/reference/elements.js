// Elements from text: nothing a document says is ever markup.

/** `make("a", { href: "#x", class: "link" }, "text", child)`; attributes that are null or false are left out. */
export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

/** A sentence in which `words` in backticks are code. */
export function sentence(text) {
  return text.split("`").map((part, at) => (at % 2 ? make("code", {}, part) : part));
}

/** The same, a paragraph for each that blank lines part. */
export function paragraphs(text) {
  return text.trim().split(/\n\s*\n/).map((part) => make("p", {}, sentence(part.replaceAll("\n", " "))));
}

/** Text to copy, under a heading. */
export function code(text, heading) {
  const shown = make("code", {}, text);
  const head = make("div", { class: "code-head" }, make("span", {}, heading), make("button", { type: "button", class: "copy" }, "Copy"));
  return { box: make("div", { class: "code" }, head, make("pre", { tabindex: "0" }, shown)), shown };
}
