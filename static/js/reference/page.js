// The reference: what /openapi.json and /asyncapi.json say, for people.

import { copyOnClick } from "../copying.js";
import { make, paragraphs, sentence } from "./elements.js";
import { badge, section } from "./operation.js";
import { Schemas } from "./schema.js";
import * as sockets from "./sockets.js";

const $ = (id) => document.getElementById(id);

// Kept by this page alone, and gone with it.
const token = () => $("token").value.trim();
const forms = new Map();

async function read(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path} answered with status ${response.status}`);
  return response.json();
}

function operations({ paths }) {
  return Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ ...operation, path, method })));
}

/** Go to an operation's form with these values in it. */
function goOn(operationId, values) {
  forms.get(operationId).fill(values);
  location.hash = `#${operationId}`;
  arrive();
}

function drawHttp(document) {
  const schemas = new Schemas(document);
  return document.tags.map(({ name, description }) => {
    const own = operations(document).filter(({ tags }) => tags.includes(name));
    const drawn = own.map((operation) => {
      const { element, trying } = section(operation, schemas, token, goOn);
      forms.set(operation.operationId, trying);
      return element;
    });
    return {
      heading: name,
      links: own.map(({ operationId, summary, method }) => [operationId, summary, method]),
      element: make("section", { class: "group" }, make("h2", {}, name), make("p", { class: "soft" }, sentence(description)), drawn),
    };
  });
}

function drawSockets(document) {
  const links = Object.entries(document.operations).map(([name, { action }]) => [`event-${name}`, name, action === "send" ? "on" : "emit"]);
  return {
    heading: "Socket.IO",
    links,
    element: make("section", { class: "group" }, make("h2", {}, "Socket.IO"), sockets.about(document), sockets.sections(document)),
  };
}

function contents(groups) {
  return groups.map(({ heading, links }) => [
    make("h2", {}, heading),
    make("ul", {}, links.map(([id, text, word]) => make("li", {}, make("a", { href: `#${id}` }, text, badge(word))))),
  ]).flat();
}

function draw(http, socket) {
  const groups = [...drawHttp(http), drawSockets(socket)];
  const { title, version, description } = http.info;
  $("reference").replaceChildren(
    make("h1", {}, `${title} API `, make("span", { class: "version" }, version)),
    make("div", { class: "intro" }, paragraphs(description)),
    make("p", { class: "files" }, "For programs: ",
      make("a", { href: "/openapi.json" }, "openapi.json"), " · ", make("a", { href: "/asyncapi.json" }, "asyncapi.json")),
    ...groups.map(({ element }) => element),
  );
  $("contents").replaceChildren(...contents(groups));
  document.querySelector(".contents-phone").append(make("div", { class: "contents-list" }, contents(groups)));
}

/** The document came after the address: only now there is something to go to. */
function arrive() {
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

copyOnClick($("reference"));
$("token").addEventListener("input", () => forms.forEach((form) => form.update()));
document.querySelector(".contents-phone").addEventListener("click", (event) => {
  if (event.target.closest("a")) event.currentTarget.open = false;
});
try {
  draw(await read("/openapi.json"), await read("/asyncapi.json"));
  arrive();
} catch (error) {
  $("waiting").textContent = `The reference cannot be drawn: ${error.message}. Reload to try again.`;
}
