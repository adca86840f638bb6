// How a team's credits moved, the newest first, a page at a time.

import { make } from "../reference/elements.js";
import { count, momentName } from "./figures.js";

const PAGE = 20;
const KINDS = {
  grant: { what: "Granted", takenBack: "Taken back" },
  hold: { what: "Held for a job", sign: "−" },
  release: { what: "Released by a job", sign: "+" },
  charge: { what: "Charged for a job", sign: "" },
};

const $ = (id) => document.getElementById(id);

export class Ledger {
  #session;
  #teamId = null;
  #offset = 0;

  /** `onProblem(error)` is told what goes wrong when a page is turned. */
  constructor(session, onProblem) {
    this.#session = session;
    const turn = (by) => this.#show(Math.max(0, this.#offset + by)).catch(onProblem);
    $("newer").addEventListener("click", () => turn(-PAGE));
    $("older").addEventListener("click", () => turn(PAGE));
  }

  async load(teamId, signal) {
    this.#teamId = teamId;
    await this.#show(0, signal);
  }

  async #show(offset, signal) {
    const teamId = this.#teamId;
    const path = `/api/teams/${encodeURIComponent(teamId)}/credits?limit=${PAGE + 1}&offset=${offset}`;
    const { credits, entries } = await this.#session.get(path, signal);
    if (teamId !== this.#teamId) return; // another was chosen meanwhile
    this.#offset = offset;
    const shown = entries.slice(0, PAGE);
    $("balance").textContent = `${count(credits.free)} free · ${count(credits.held)} held · ${count(credits.spent)} spent · ${count(credits.granted)} granted`;
    $("entries").replaceChildren(...(shown.length ? shown.map(row) : [empty()]));
    $("newer").disabled = offset === 0;
    $("older").disabled = entries.length <= PAGE;
    $("place").textContent = shown.length ? `${offset + 1}–${offset + shown.length}` : "";
  }
}

function row({ at, kind, amount, job_id, reason, balance }) {
  const { what, takenBack, sign } = KINDS[kind];
  const said = kind === "grant" && amount < 0 ? takenBack : what;
  const signed = sign === undefined ? (amount < 0 ? `−${count(-amount)}` : `+${count(amount)}`) : sign + count(amount);
  return make("tr", { class: kind },
    make("td", { class: "when" }, make("time", { datetime: at }, momentName(at))),
    make("td", { class: "what" }, said, " ", (reason || job_id) && make("span", { class: "detail", title: reason || job_id }, reason || job_id)),
    make("td", { class: "number amount" }, signed),
    make("td", { class: "number free" }, count(balance.free)),
    make("td", { class: "number held" }, count(balance.held)));
}

const empty = () => make("tr", {}, make("td", { colspan: "5", class: "soft" }, "No credits have been granted yet."));
