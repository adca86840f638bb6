// Colours in code. The highlighter is fetched with the first code there is that says its language.

import { colours, plain } from "../markdown.js";

// Colouring is linear but slow; longer text stays plain.
const MOST_CHARS = 10_000;

let highlighter = null;
let loading = null;

/** Whether it is known by now if a language can be coloured; if not, `then` is called once it is. */
export function isSettled(language, then) {
  if (!language || highlighter) return true;
  // Without a line code stays plain.
  loading ??= import("../../vendor/highlight/highlight.min.js").then(({ default: loaded }) => loaded, () => ({ getLanguage: () => null }));
  loading.then((loaded) => {
    highlighter = loaded;
    then();
  });
  return false;
}

export const canColour = (language) => Boolean(language && highlighter?.getLanguage(language));

/** `{nodes, isWhole}`: whether what comes next begins anew, outside of any string, comment or block. */
export function coloured(code, language) {
  if (!canColour(language) || code.length > MOST_CHARS) return { nodes: plain(code), isWhole: true };
  const { value, _top: mode } = highlighter.highlight(code, { language, ignoreIllegals: true });
  return { nodes: colours(value), isWhole: !mode?.parent };
}
