// JSON schemas as tables and as examples.

import { make, sentence } from "./elements.js";

const EXAMPLES = {
  message: "Say hello",
  messages: [{ role: "user", content: "Say hello" }],
  prompt: "Explain streaming APIs",
  title: "A title",
};

export class Schemas {
  #document;

  constructor(document) {
    this.#document = document;
  }

  /** What a reference stands for; anything else as it is. */
  open(schema) {
    const pointer = schema?.$ref;
    if (!pointer) return schema ?? {};
    return pointer.slice(2).split("/").reduce((node, part) => node[part], this.#document);
  }

  name(schema) {
    return schema?.$ref ? schema.$ref.split("/").at(-1) : "";
  }

  /** A table of an object's fields, those that must be there first. */
  table(schema, above = []) {
    const { properties = {}, required = [] } = this.open(schema);
    const names = Object.keys(properties);
    const rows = [...names.filter((name) => required.includes(name)), ...names.filter((name) => !required.includes(name))];
    if (!rows.length) return make("p", { class: "soft" }, "No fields.");
    return make(
      "table",
      { class: "fields" },
      make("tbody", {}, rows.map((name) => this.#row(name, properties[name], required.includes(name), above))),
    );
  }

  #row(name, schema, required, above) {
    const opened = this.open(schema);
    const about = schema.description ?? (schema.$ref ? "" : opened.description) ?? "";
    const inner = this.#within(schema).filter((each) => !above.includes(this.name(each)));
    return make(
      "tr",
      {},
      make("th", { scope: "row" }, make("code", {}, name), required ? make("span", { class: "must" }, "required") : null),
      make(
        "td",
        {},
        make("span", { class: "kind" }, this.kind(schema)),
        about ? make("span", { class: "about" }, sentence(about)) : null,
        inner.map((each) => this.fold(each, above)),
      ),
    );
  }

  /** An object's table, folded under its name. */
  fold(schema, above = []) {
    const name = this.name(schema);
    return make("details", {}, make("summary", {}, name), this.table(schema, [...above, name]));
  }

  /** The named objects that a field can hold. */
  #within(schema) {
    if (schema.$ref) return this.open(schema).properties ? [schema] : [];
    return [...(schema.anyOf ?? []), ...(schema.items ? [schema.items] : [])].flatMap((each) => this.#within(each));
  }

  /** A schema in a few words. */
  kind(schema) {
    if (schema.$ref) return this.open(schema).properties ? this.name(schema) : this.kind(this.open(schema));
    if (schema.anyOf) return schema.anyOf.map((each) => this.kind(each)).join(", or ");
    if ("const" in schema) return JSON.stringify(schema.const);
    if (schema.enum) return schema.enum.map((each) => JSON.stringify(each)).join(", ");
    if (schema.type === "array") return `list of ${this.kind(schema.items)}`;
    const types = [schema.type ?? "anything"].flat().filter((type) => type !== "null");
    const words = [types.join(", "), ...bounds(schema)].filter(Boolean).join(", ");
    return [schema.type].flat().includes("null") ? (types.length ? `${words}, or null` : "null") : words;
  }

  /** A body to begin with: what must be there, and what is told by name. */
  example(schema) {
    const { properties = {}, required = [] } = this.open(schema.anyOf?.[0] ?? schema);
    const fields = Object.entries(properties).filter(([name]) => required.includes(name) || name === "partial");
    return Object.fromEntries(fields.map(([name, field]) => [name, this.#value(name, this.open(field))]));
  }

  #value(name, field) {
    if (name in EXAMPLES) return EXAMPLES[name];
    if ("const" in field) return field.const;
    return field.type === "boolean" ? false : "";
  }
}

function bounds({ minLength, maxLength, minimum, maximum, pattern, format }) {
  return [
    range(minLength, maxLength, "characters"),
    range(minimum, maximum, ""),
    format ? `as ${format}` : "",
    // A pattern that is about invisible characters tells a reader nothing.
    pattern && !pattern.includes("\\x") ? `matching ${pattern}` : "",
  ];
}

function range(least, most, unit) {
  const bare = [least, most].every((bound) => bound === undefined || bound === null);
  if (bare) return "";
  const [from, to] = [least, most].map((bound) => (bound === undefined ? "" : Number(bound).toLocaleString("en")));
  const words = from && to ? `${from} to ${to}` : from ? `at least ${from}` : `at most ${to}`;
  return unit ? `${words} ${unit}` : words;
}
