// What is shown to the server: a team's key or an administrator's token, kept by this tab alone.

import { reachAs, refusal, Refused } from "../http.js";

const KEPT = "parley.usage.key";
const PAGE = 200;

export class Session {
  constructor() {
    try {
      this.key = sessionStorage.getItem(KEPT);
    } catch {
      this.key = null; // private windows may refuse to store
    }
  }

  set(key) {
    this.key = key;
    try {
      if (key === null) sessionStorage.removeItem(KEPT);
      else sessionStorage.setItem(KEPT, key);
    } catch {
      // Then a reload asks again.
    }
  }

  get isTeam() {
    return this.key.startsWith("sk-");
  }

  /** JSON. Throws Refused, or fetch's error when the line is down. */
  async get(path, signal) {
    const response = await reachAs(this.key, path, { signal });
    if (!response.ok) throw new Refused(await refusal(response));
    return response.json();
  }

  /** All of what a paged list has under `name`. */
  async all(path, name, signal) {
    const found = [];
    for (;;) {
      const query = `${path.includes("?") ? "&" : "?"}limit=${PAGE}&offset=${found.length}`;
      const rows = (await this.get(path + query, signal))[name];
      found.push(...rows);
      if (rows.length < PAGE) return found;
    }
  }

  /** The ids of the teams that may be looked at. */
  async teams() {
    if (this.isTeam) return [(await this.get("/api/team")).team_id];
    return (await this.all("/api/admin/teams", "teams")).map(({ team_id }) => team_id);
  }
}
