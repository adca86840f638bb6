// A column for each day, drawn as wide as there is room. A pointer or the arrow keys pick a day.

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 168;
const TOP = 18;
const BOTTOM = 20;
const LEFT = 52;

export class Bars {
  #days;
  #parts;
  #axis;
  #picked = -1;

  /** `days` are `{ label, told, split, parts: [{ series, value }] }`; `axis(value)` names a line, `onPick(day)` is told
      the day that is looked at, or null. */
  constructor(title, days, axis, onPick) {
    this.#days = days;
    this.#axis = axis;
    this.onPick = onPick;
    this.element = shape("svg", { class: "bars", role: "img", tabindex: "0", height: HEIGHT, "aria-label": title });
    this.element.addEventListener("pointermove", (event) => this.#pick(this.#at(event)));
    this.element.addEventListener("pointerleave", () => this.#pick(-1));
    this.element.addEventListener("blur", () => this.#pick(-1));
    this.element.addEventListener("keydown", (event) => this.#step(event));
    new ResizeObserver(() => this.#draw()).observe(this.element);
  }

  #draw() {
    const width = this.element.clientWidth;
    if (!width) return;
    this.element.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const most = Math.max(...this.#days.map(total));
    const top = niceTop(most);
    const scale = (HEIGHT - TOP - BOTTOM) / top;
    const base = HEIGHT - BOTTOM;
    const slot = (width - LEFT) / this.#days.length;
    const lines = [0, top / 2, top].map((value) => [
      shape("line", { class: value ? "rule" : "base", x1: LEFT, x2: width, y1: base - value * scale, y2: base - value * scale }),
      shape("text", { class: "axis", x: LEFT - 8, y: base - value * scale + 4, "text-anchor": "end" }, this.#axis(value)),
    ]);
    this.#parts = this.#days.map((day, at) => {
      const column = shape("g", { class: "column" });
      column.append(shape("title", {}, `${day.label}: ${day.told}${day.split ?? ""}`));
      column.append(shape("rect", { class: "slot", x: LEFT + at * slot, y: TOP, width: slot, height: base - TOP }));
      let y = base;
      for (const { series, value } of day.parts.filter((part) => part.value > 0)) {
        const height = Math.max(value * scale, 1);
        y -= height;
        column.append(shape("rect", { class: `bar series-${series}`, x: LEFT + at * slot + slot * 0.16, y, width: slot * 0.68, height, rx: Math.min(2, slot / 6) }));
      }
      if (at % 7 === 0) column.append(shape("text", { class: "axis", x: LEFT + (at + 0.5) * slot, y: HEIGHT - 4, "text-anchor": "middle" }, String(at + 1)));
      return column;
    });
    this.element.replaceChildren(...lines.flat(), ...this.#parts);
  }

  #at({ clientX }) {
    const { left, width } = this.element.getBoundingClientRect();
    const at = Math.floor(((clientX - left - LEFT) / (width - LEFT)) * this.#days.length);
    return at >= 0 && at < this.#days.length ? at : -1;
  }

  #step(event) {
    const last = this.#days.length - 1;
    const to = { ArrowLeft: Math.max(this.#picked - 1, 0), ArrowRight: Math.min(this.#picked + 1, last), Home: 0, End: last, Escape: -1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.#pick(to);
  }

  #pick(at) {
    if (at === this.#picked) return;
    this.#parts[this.#picked]?.classList.remove("picked");
    this.#parts[at]?.classList.add("picked");
    this.#picked = at;
    this.onPick(this.#days[at] ?? null);
  }
}

const total = ({ parts }) => parts.reduce((sum, { value }) => sum + value, 0);

/** The next round number that is no less, which has a round half. */
function niceTop(value) {
  if (value <= 0) return 1;
  const ten = 10 ** Math.floor(Math.log10(value));
  return ten * [1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10].find((step) => step * ten >= value * 0.999);
}

function shape(tag, attributes, text = null) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== null) made.textContent = text;
  return made;
}

/** A bar of this share of the whole width. */
export function share(series, part) {
  const svg = shape("svg", { class: "share", "aria-hidden": "true", viewBox: "0 0 100 6", preserveAspectRatio: "none" });
  svg.append(shape("rect", { class: "track", width: 100, height: 6 }), shape("rect", { class: `bar series-${series}`, width: Math.max(part * 100, part > 0 ? 0.6 : 0), height: 6 }));
  return svg;
}
