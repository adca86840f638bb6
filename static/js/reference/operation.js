// One operation: what it takes, how it answers, and a form to try it.

import { make, paragraphs, sentence } from "./elements.js";
import { Trying } from "./trying.js";

/** The section of an operation, and its form. */
export function section(operation, schemas, token, onLink) {
  const { operationId, method, path, summary, description, parameters, requestBody, responses } = operation;
  const entries = Object.entries(responses);
  const trying = new Trying(operation, schemas, token, onLink);
  const element = make(
    "section",
    { class: "operation", id: operationId, "aria-labelledby": `${operationId}-title` },
    make("h3", { id: `${operationId}-title` }, make("a", { href: `#${operationId}` }, summary)),
    make("p", { class: "route" }, badge(method), make("code", {}, path)),
    description ? paragraphs(description) : null,
    parameters ? part("Parameters", parameterTable(parameters, schemas)) : null,
    requestBody ? part(requestBody.required ? "Body" : "Body, which may be left out", body(bodySchema(requestBody), schemas)) : null,
    part("Answers", answers(entries.filter(([status]) => status < "400"), schemas)),
    part("Refusals", refusals(entries.filter(([status]) => status >= "400"), schemas)),
    trying.curl,
    trying.element,
  );
  return { element, trying };
}

export const badge = (word) => make("span", { class: `badge ${word}` }, word.toUpperCase());

const part = (heading, ...content) => make("div", { class: "part" }, make("h4", {}, heading), content);

const bodySchema = ({ content }) => content["application/json"].schema;

/** A body's fields; of one of several kinds, each folded under its name. */
function body(schema, schemas) {
  return schema.anyOf ? schema.anyOf.map((each) => schemas.fold(each)) : schemas.table(schema);
}

function parameterTable(parameters, schemas) {
  const rows = parameters.map(({ name, in: place, required, description, schema }) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, make("code", {}, name), required ? make("span", { class: "must" }, "required") : null),
      make(
        "td",
        {},
        make("span", { class: "kind" }, `in the ${place}: ${schemas.kind(schema)}`),
        make("span", { class: "about" }, sentence(description)),
      ),
    ));
  return make("table", { class: "fields" }, make("tbody", {}, rows));
}

/** A row for each status, with what it says and then `more` of it. */
function table(responses, more) {
  const rows = responses.map(([status, response]) => {
    const names = Object.keys(response.headers ?? {}).filter((name) => name !== "X-Request-Id");
    return make(
      "tr",
      {},
      make("th", { scope: "row" }, make("code", { class: status < "400" ? "good" : "bad" }, status)),
      make(
        "td",
        {},
        make("span", { class: "about" }, sentence(response.description)),
        names.length ? make("span", { class: "kind" }, `with ${names.join(", ")}`) : null,
        more(response),
      ),
    );
  });
  return make("table", { class: "fields answers" }, make("tbody", {}, rows));
}

const answers = (responses, schemas) =>
  table(responses, ({ content = {} }) => Object.entries(content).map(([type, { schema }]) => shape(type, schema, schemas)));

/** The types that come with each status, and below, once, the shapes they come in. */
function refusals(responses, schemas) {
  const shapes = new Map();
  for (const [, { content }] of responses) {
    for (const [type, { schema }] of Object.entries(content)) shapes.set(type, shape(type, schema.allOf?.[0] ?? schema, schemas));
  }
  const several = shapes.size > 1;
  return [
    table(responses, ({ content }) => (several ? make("span", { class: "kind" }, `as ${Object.keys(content).join(" or ")}`) : null)),
    ...shapes.values(),
  ];
}

function shape(type, schema, schemas) {
  if (type === "text/event-stream") return make("div", { class: "shape" }, `${type}, whose data is one of`, events(schema, schemas));
  return make("div", { class: "shape" }, type, schema.$ref ? schemas.fold(schema) : null);
}

function events(schema, schemas) {
  const { data } = schema.properties;
  return (data.anyOf ?? [data]).map((kind) =>
    "const" in kind
      ? make("p", { class: "kind" }, make("code", {}, kind.const))
      : kind.contentSchema.anyOf.map((each) => schemas.fold(each)));
}
