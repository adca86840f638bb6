// The usage page: who signs in, which team and month, and what is shown of them. The address has both:
// #team=acme&month=2026-11.

import { make } from "../reference/elements.js";
import { charts } from "./charts.js";
import { count, dollars, isMonth, millis, monthAfter, monthName, thisMonth } from "./figures.js";
import { Ledger } from "./ledger.js";
import { Session } from "./session.js";

const KEY = /^[\x21-\x7e]+$/; // what a header can carry; the server judges the rest
const EXPIRED = 401;

const $ = (id) => document.getElementById(id);
const session = new Session();
const ledger = new Ledger(session, failed);
let teams = [];
let loading = new AbortController();

function tell(id, sentence) {
  $(id).textContent = sentence;
  $(id).hidden = !sentence;
}

const inWords = (error) => (error.status ? error.message : "The server cannot be reached; try again.");

// Signing in and out

function askForKey(problem = "") {
  loading.abort();
  session.set(null);
  $("report").hidden = $("who").hidden = true;
  $("sign-in").hidden = false;
  tell("problem", problem);
  $("key").value = "";
  $("key").focus();
}

async function enter() {
  $("enter").disabled = true;
  try {
    teams = await session.teams();
  } catch (error) {
    return askForKey(inWords(error));
  } finally {
    $("enter").disabled = false;
  }
  if (!teams.length) return askForKey("There is no team yet: python -m backend team create makes one.");
  $("sign-in").hidden = true;
  $("report").hidden = $("who").hidden = false;
  $("role").textContent = session.isTeam ? teams[0] : "Administrator";
  $("teams").replaceChildren(...teams.map((id) => make("option", { value: id }, id)));
  $("chooser").hidden = session.isTeam;
  await show();
}

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  const key = $("key").value.trim().replace(/^Bearer\s+/i, "");
  if (!KEY.test(key)) return tell("problem", key ? "This is no key: a key is one long word." : "Paste a key first.");
  tell("problem", "");
  session.set(key);
  enter();
});
$("sign-out").addEventListener("click", () => askForKey());

// Team and month

function place() {
  const named = new URLSearchParams(location.hash.slice(1));
  const team = named.get("team");
  return { team: teams.includes(team) ? team : teams[0], month: named.get("month") || thisMonth() };
}

function go(team, month) {
  location.hash = new URLSearchParams({ team, month });
}

addEventListener("hashchange", () => { if (session.key !== null && teams.length) show(); });
$("teams").addEventListener("change", () => go($("teams").value, place().month));
$("month").addEventListener("change", () => { if ($("month").value) go(place().team, $("month").value); });
$("months").addEventListener("submit", (event) => event.preventDefault());
for (const [id, by] of [["before", -1], ["after", 1]]) {
  $(id).addEventListener("click", () => {
    const { team, month } = place();
    go(team, monthAfter(isMonth(month) ? month : thisMonth(), by));
  });
}

// What is shown

async function show() {
  const { team, month } = place();
  loading.abort();
  loading = new AbortController();
  const { signal } = loading;
  $("team").textContent = $("teams").value = team;
  tell("notice", "");
  if (!isMonth(month)) {
    $("figures").hidden = true;
    return tell("notice", `${month} is no month: a month is such as ${thisMonth()}.`);
  }
  $("month").value = month;
  $("after").disabled = month >= thisMonth();
  $("report").setAttribute("aria-busy", "true");
  const path = `/api/teams/${encodeURIComponent(team)}/usage`;
  try {
    const [usage, rows] = await Promise.all([
      session.get(`${path}?period=${month}`, signal),
      session.all(`${path}/daily?period=${month}`, "usage", signal),
      ledger.load(team, signal),
    ]);
    draw(month, usage, rows);
  } catch (error) {
    if (!signal.aborted) failed(error);
  } finally {
    if (!signal.aborted) $("report").removeAttribute("aria-busy");
  }
}

function failed(error) {
  if (error.status === EXPIRED) return askForKey("This key is no longer valid; show another.");
  $("figures").hidden = true;
  tell("notice", inWords(error));
}

function draw(month, usage, rows) {
  const { summary } = usage;
  const broken = rows.reduce((sum, row) => sum + row.failed_calls, 0);
  $("tiles").replaceChildren(
    tile("Spend", dollars(summary.total_cost_usd), "cost of the models"),
    tile("Credits spent", count(summary.credits_spent), "charged to the team"),
    tile("Tokens", count(summary.total_tokens), "prompts and answers"),
    tile("Calls", count(summary.total_calls), broken ? `${count(broken)} failed` : "none failed"),
    tile("Time to first token", millis(summary.avg_ttft_ms), "mean"),
    tile("Jobs", count(summary.total_jobs), summary.failed_jobs ? `${count(summary.failed_jobs)} failed` : "none failed"),
  );
  const empty = summary.total_calls === 0;
  tell("nothing", empty ? `No calls in ${monthName(month)}.` : "");
  $("charts").replaceChildren(...(empty ? [] : charts(month, usage, rows)));
  $("figures").hidden = false;
  $("status").textContent = `Usage of ${usage.team_id} in ${monthName(month)}`;
  document.title = `${usage.team_id}, ${monthName(month)} · Usage · Parley`;
}

function tile(name, value, more) {
  return make("div", { class: "tile" }, make("dt", {}, name), make("dd", {}, value), make("dd", { class: "more" }, more));
}

if (session.key === null) askForKey();
else enter();
