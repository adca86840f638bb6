// `[label]: address "title"`, which links elsewhere refer to.

const DEFINITION = new RegExp(
  "^\\[((?:\\\\.|[^\\[\\]\\\\]){1,999})\\]:[ \\t]*\\n?[ \\t]*(<[^<>\\n]*>|[^\\s<]\\S*)" +
  "(?:(?:[ \\t]+\\n?[ \\t]*|[ \\t]*\\n[ \\t]*)(\"(?:\\\\.|[^\"\\\\])*\"|'(?:\\\\.|[^'\\\\])*'|\\((?:\\\\.|[^()\\\\])*\\)))?[ \\t]*(?:\\n|$)",
  "s",
);
const ESCAPED = /\\([!-/:-@[-`{-~])/g;
const LABEL = /\[((?:\\.|[^[\]\\]){1,999})\]/gs;

/** As links are looked up. */
export const labelled = (text) => text.trim().replace(/\s+/g, " ").toLowerCase();

/** The definition that a text begins with, and its length; null if it begins with none. */
export function definition(text) {
  const found = DEFINITION.exec(text);
  if (!found || !found[1].trim()) return null;
  const [{ length }, label, address, title] = found;
  const href = address.replace(/^<(.*)>$/s, "$1").replace(ESCAPED, "$1");
  return { length, label: labelled(label), href, title: title?.slice(1, -1).replace(ESCAPED, "$1") };
}

/** A paragraph's text without the definitions that it begins with. */
export function withoutDefinitions(text) {
  let rest = text;
  for (let found; rest[0] === "[" && (found = definition(rest)); ) rest = rest.slice(found.length);
  return rest;
}

/** What a text may refer to. */
export function labels(text) {
  return text.includes("[") ? [...text.matchAll(LABEL)].map(([, label]) => labelled(label)) : [];
}
