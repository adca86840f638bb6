// What Markdown's blocks begin and end with.

export const ATX = /^#{1,6}(?:[ \t]+|$)/;
export const FENCE = /^(?:`{3,}(?=[^`]*$)|~{3,})/;
export const CLOSING_FENCE = /^(?:`{3,}|~{3,})(?=[ \t]*$)/;
export const SETEXT = /^(?:=+|-+)[ \t]*$/;
export const RULE = /^(?:(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|(?:-[ \t]*){3,})$/;

const NAMES =
  "address|article|aside|base|basefont|blockquote|body|caption|center|col|colgroup|dd|details|dialog|dir|div|dl|dt|" +
  "fieldset|figcaption|figure|footer|form|frame|frameset|h[1-6]|head|header|hr|html|iframe|legend|li|link|main|menu|" +
  "menuitem|meta|nav|noframes|ol|optgroup|option|p|param|search|section|summary|table|tbody|td|tfoot|th|thead|title|tr|" +
  "track|ul";
const ATTRIBUTE = "(?:\\s+[a-zA-Z_:][\\w:.-]*(?:\\s*=\\s*(?:[^\"'=<>`\\x00-\\x20]+|'[^']*'|\"[^\"]*\"))?)";
const TAG = `<[A-Za-z][A-Za-z0-9-]*${ATTRIBUTE}*\\s*/?>|</[A-Za-z][A-Za-z0-9-]*\\s*>`;

// CommonMark's seven kinds; those without an end go on to a blank line, and the last does not interrupt a paragraph.
const HTML = [
  [/^<(?:script|pre|textarea|style)(?:\s|>|$)/i, /<\/(?:script|pre|textarea|style)>/i],
  [/^<!--/, /-->/],
  [/^<[?]/, /[?]>/],
  [/^<![A-Za-z]/, />/],
  [/^<!\[CDATA\[/, /\]\]>/],
  [new RegExp(`^</?(?:${NAMES})(?:\\s|/?>|$)`, "i")],
  [new RegExp(`^(?:${TAG})\\s*$`)],
];

/** Which of the seven kinds of HTML a line starts, or null. */
export function htmlKind(line, isParagraph) {
  const kind = HTML.findIndex(([start]) => start.test(line));
  return kind < 0 || (kind === 6 && isParagraph) ? null : kind;
}

export const htmlEnd = (kind) => HTML[kind][1] ?? null;

const MATH_ENDS = { "$$": /\$\$[ \t]*$/, "\\[": /\\\][ \t]*$/ };

/** The mark that a line starts display math with: it is alone, or the line ends with its counterpart or in the midst. */
export function mathStart(line) {
  const mark = line.slice(0, 2);
  const end = MATH_ENDS[mark];
  if (!end) return null;
  const rest = line.slice(2);
  return end.test(rest) || !rest.includes(mark === "$$" ? "$$" : "\\]") ? mark : null;
}

export const mathEnd = (mark) => MATH_ENDS[mark];

/** `{kind, start, width}` of a list item's mark, or null. Lists of different kinds are different lists. */
export function listMarker(line, isParagraph) {
  const found = /^(?:[*+-]|(\d{1,9})([.)]))(?=[ \t]|$)/.exec(line);
  if (!found) return null;
  const [mark, number, delimiter] = found;
  if (isParagraph && ((number && Number(number) !== 1) || !line.slice(mark.length).trim())) return null;
  return { kind: delimiter ?? mark, start: number ? Number(number) : null, width: mark.length };
}
