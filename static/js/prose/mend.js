// The end of a paragraph that is still being written, as if what it has begun were complete: else marks would be seen
// that are gone a moment later, and words would change their look twice.

// A single mark that has not found its other half by then is just a mark.
const PATIENCE_CHARS = 240;

/** The text with what is open at its end closed; a link without its address is its text. */
export function mend(text) {
  const open = [];
  for (let at = 0; at < text.length; ) {
    const mark = text[at];
    let width = 1;
    if (mark === "\\") width = 2;
    else if (mark === "`") {
      width = runLength(text, at);
      const end = closingTicks(text, at + width, width);
      if (end < 0) return closeCode(text, at, width, open);
      width = end - at;
    } else if (mark === "[") {
      const link = halfLink(text, at);
      if (link) return close(text.slice(0, at - (text[at - 1] === "!" ? 1 : 0)) + link, open);
    } else if ("*_~".includes(mark)) {
      width = runLength(text, at);
      // They open nothing yet, or are the first half of what closes.
      if (at + width === text.length) return close(text.slice(0, at), open);
      pair(open, { mark, width, at }, text[at - 1], text[at + width]);
    }
    at += width;
  }
  return close(text, open.filter(({ width, at }) => width > 1 || text.length - at < PATIENCE_CHARS));
}

function runLength(text, at) {
  let end = at + 1;
  while (text[end] === text[at]) end++;
  return end - at;
}

function closingTicks(text, from, width) {
  for (let at = text.indexOf("`", from); at >= 0; ) {
    const found = runLength(text, at);
    if (found === width) return at + found;
    at = text.indexOf("`", at + found);
  }
  return -1;
}

function closeCode(text, at, width, open) {
  const code = text.slice(at + width).replace(/`+$/, "");
  if (!code.trim()) return close(text.slice(0, at), open);
  return close(`${text.slice(0, at + width)}${code}${"`".repeat(width)}`, open);
}

/** The text of a link whose address has begun, and has not ended. */
function halfLink(text, at) {
  const found = /^\[((?:\\.|[^[\]\\])*)\](?:\([^()\s]*)$/s.exec(text.slice(at));
  return found && found[1];
}

function pair(open, run, before, after) {
  const isWord = run.mark === "_" && /\w/.test(before ?? "") && /\w/.test(after);
  if (isWord || (run.mark === "~" && run.width !== 2)) return;
  const last = open.findLastIndex(({ mark, width }) => mark === run.mark && width === run.width);
  if (last >= 0 && /\S/.test(before ?? "")) open.splice(last);
  else if (/\S/.test(after)) open.push(run);
}

function close(text, open) {
  if (!open.length) return text;
  return text.trimEnd() + open.map(({ mark, width }) => mark.repeat(width)).reverse().join("");
}
