// The rows of tables.

const DELIMITER = /^\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;

export const isDelimiterRow = (line) => line.includes("|") && DELIMITER.test(line);

/** The sources of a row's cells. */
export function cells(line) {
  const found = [];
  let cell = "";
  for (let at = line.trimStart()[0] === "|" ? line.indexOf("|") + 1 : 0; at < line.length; at++) {
    const mark = line[at];
    if (mark === "\\" && line[at + 1] === "|") cell += line[++at];
    else if (mark === "\\") cell += mark + (line[++at] ?? "");
    else if (mark !== "|") cell += mark;
    else {
      found.push(cell.trim());
      cell = "";
    }
  }
  if (cell.trim()) found.push(cell.trim());
  return found;
}

/** How each column is aligned, by the delimiter row. */
export function aligns(line) {
  return cells(line).map((cell) => {
    const [left, right] = [cell.startsWith(":"), cell.endsWith(":")];
    return left && right ? "center" : right ? "right" : left ? "left" : null;
  });
}
