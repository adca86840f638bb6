// The events of the Socket.IO door.

import { badge } from "./operation.js";
import { make, paragraphs } from "./elements.js";
import { Schemas } from "./schema.js";

const WAYS = { receive: "emit", send: "on" };

/** A section for each event: those a client sends, then those it hears. */
export function sections(document) {
  const schemas = new Schemas(document);
  return Object.entries(document.operations).map(([name, { action, summary, messages, reply }]) => {
    const payload = (reference) => schemas.open(reference).payload;
    return make(
      "section",
      { class: "operation", id: `event-${name}` },
      make("h3", {}, make("a", { href: `#event-${name}` }, summary)),
      make("p", { class: "route" }, badge(WAYS[action]), make("code", {}, name)),
      make("div", { class: "part" }, make("h4", {}, "Payload"), messages.map((each) => schemas.table(schemas.open(each).payload))),
      reply
        ? make("div", { class: "part" }, make("h4", {}, "Acknowledged with"), reply.messages.map((each) => schemas.fold(payload(each))))
        : null,
    );
  });
}

export const about = (document) => paragraphs(document.info.description);
