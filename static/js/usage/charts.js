// The four charts: what was used, by day and by model, each with its table.

import { make } from "../reference/elements.js";
import { Bars, share } from "./bars.js";
import { count, dayName, daysOf, dollars, millis, short, usd } from "./figures.js";

const SERIES = 5;
const OTHERS = SERIES;
const MEAN = "mean";
const METRICS = [
  { id: "spend", title: "Spend", of: (row) => row.cost_usd, told: dollars, exact: usd, axis: (value) => `$${value < 0.01 && value > 0 ? value.toExponential(0).replace("e-", "e−") : short(value)}` },
  { id: "tokens", title: "Tokens", of: (row) => row.prompt_tokens + row.completion_tokens, told: count, exact: count, axis: short },
  { id: "calls", title: "Calls", of: (row) => row.calls, told: count, exact: count, axis: (value) => (Number.isInteger(value) ? short(value) : "") },
];

/** `usage` is the month's sums, `rows` are those of each day and model. */
export function charts(month, usage, rows) {
  const models = Object.keys(usage.models);
  const series = ranked(models, rows);
  return [...METRICS.map((metric) => summed(metric, month, models, series, rows)), timed(month, usage, models, series)];
}

/** Which colour each model has: the busiest have one of their own. */
function ranked(models, rows) {
  const calls = new Map(models.map((model) => [model, 0]));
  for (const row of rows) calls.set(row.model, (calls.get(row.model) ?? 0) + row.calls);
  const order = [...calls].sort(([, a], [, b]) => b - a).map(([model]) => model);
  return new Map(order.map((model, at) => [model, Math.min(at, OTHERS)]));
}

function summed({ id, title, of, told, exact, axis }, month, models, series, rows) {
  const days = daysOf(month).map((day) => {
    const own = rows.filter((row) => row.day === day);
    const parts = own.map((row) => ({ series: series.get(row.model), value: of(row), model: row.model }))
      .sort((a, b) => a.series - b.series);
    const sum = parts.reduce((all, { value }) => all + value, 0);
    const split = parts.length > 1 ? ` (${parts.map(({ model, value }) => `${model} ${told(value)}`).join(", ")})` : "";
    return { day, label: dayName(day), told: told(sum), split, parts, value: sum };
  });
  const whole = days.reduce((sum, { value }) => sum + value, 0);
  const byModel = models.map((model) => {
    const value = rows.filter((row) => row.model === model).reduce((sum, row) => sum + of(row), 0);
    return { model, value, part: whole ? value / whole : 0 };
  });
  const head = ["Day", ...models, "Together"];
  const body = days.filter(({ parts }) => parts.length).map(({ day, parts, value }) => [
    day, ...models.map((model) => exact(parts.find((part) => part.model === model)?.value ?? 0)), exact(value),
  ]);
  const foot = ["Month", ...models.map((model) => exact(byModel.find((row) => row.model === model).value)), exact(whole)];
  return card({ id, title, figure: told(whole), days, axis, byModel, told, series, table: table(`${title} by day and model`, head, body, foot) });
}

function timed(month, usage, models, series) {
  const title = "Time to first token";
  const days = daysOf(month).map((day) => {
    const ms = usage.days[day]?.avg_ttft_ms ?? null;
    return { day, label: dayName(day), told: millis(ms), parts: ms === null ? [] : [{ series: MEAN, value: ms }], value: ms };
  });
  const slowest = Math.max(1, ...models.map((model) => usage.models[model].avg_ttft_ms ?? 0));
  const byModel = models.map((model) => {
    const ms = usage.models[model].avg_ttft_ms;
    return { model, value: ms, part: (ms ?? 0) / slowest };
  });
  const body = days.filter(({ value }) => value !== null).map(({ day, value }) => [day, millis(value)]);
  const foot = byModel.map(({ model, value }) => [model, millis(value)]);
  return card({
    id: "ttft", title, figure: `mean ${millis(usage.summary.avg_ttft_ms)}`, days, axis: (value) => (value ? millis(value) : "0"), byModel, told: millis, series,
    table: table(`${title}, by day and by model`, ["Day or model", "Mean"], [...body, ...foot], null),
  });
}

function card({ id, title, figure, days, axis, byModel, told, series, table: shown }) {
  const readout = make("p", { class: "figure", id: `${id}-figure` }, figure);
  const bars = new Bars(`${title} by day; the table has the numbers`, days, axis, (day) => {
    readout.textContent = day === null ? figure : `${day.label} · ${day.told}`;
  });
  const models = byModel.sort((a, b) => (b.value ?? -1) - (a.value ?? -1)).map(({ model, value, part }) =>
    make("li", {},
      make("span", { class: "model" }, make("i", { class: `dot series-${series.get(model)}` }), model),
      make("span", { class: "value" }, told(value)),
      share(series.get(model), part)));
  return make("section", { class: "card", id, "aria-labelledby": `${id}-title` },
    make("div", { class: "card-head" }, make("h2", { id: `${id}-title` }, title), readout),
    bars.element,
    make("ul", { class: "models", "aria-label": `${title} by model` }, models),
    make("details", {}, make("summary", {}, "Table"), make("div", { class: "scroll" }, shown)));
}

function table(caption, head, body, foot) {
  const cells = (row) => row.map((cell, at) => make(at ? "td" : "th", at ? { class: "number" } : { scope: "row" }, cell));
  return make("table", {},
    make("caption", { class: "visually-hidden" }, caption),
    make("thead", {}, make("tr", {}, head.map((cell, at) => make("th", { scope: "col", class: at ? "number" : null }, cell)))),
    make("tbody", {}, body.map((row) => make("tr", {}, cells(row)))),
    foot && make("tfoot", {}, make("tr", {}, cells(foot))));
}
