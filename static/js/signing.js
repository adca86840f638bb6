// The dialog in which one signs in, and who is signed in, below the list of chats.

import { identity } from "./identity.js";
import { reachAs, refusal } from "./http.js";

// What a header can carry; the server judges the rest.
const TOKEN = /^[\x21-\x7e]+$/;

const $ = (id) => document.getElementById(id);

export class Signing {
  #dialog = $("sign-in");
  #token = $("token");
  #problem = $("sign-in-problem");
  #enter = $("sign-in-enter");
  #done = () => {};

  /** `onEnter()` is told that somebody signed in of their own accord. */
  constructor(onEnter) {
    $("sign").addEventListener("click", async () => {
      if (identity.token !== null) identity.token = null;
      else if (await this.ask("")) onEnter();
    });
    $("sign-in-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#try(this.#token.value.trim().replace(/^Bearer\s+/i, ""));
    });
    $("sign-in-cancel").addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("close", () => {
      this.#token.value = "";
      this.#done(false);
    });
    identity.addEventListener("change", () => this.draw());
    this.draw();
  }

  draw() {
    const { name } = identity;
    $("who").textContent = name === null ? "The list is kept in this browser." : `Signed in as ${name}`;
    $("sign").textContent = name === null ? "Sign in" : "Sign out";
  }

  /** True once the server took a token; false if the person would rather not. */
  ask(sentence) {
    $("sign-in-why").textContent = sentence || "Paste the token that you were given. It is kept until this tab is closed.";
    this.#tell("");
    // It also puts the focus back where it was.
    this.#dialog.showModal();
    return new Promise((resolve) => { this.#done = resolve; });
  }

  async #try(token) {
    if (!TOKEN.test(token)) {
      this.#tell(token ? "This is no token: a token is one long word." : "Paste a token first.");
      return;
    }
    this.#enter.disabled = true;
    const problem = await problemWith(token);
    this.#enter.disabled = false;
    if (!this.#dialog.open) return;
    if (problem) {
      this.#tell(problem);
      return;
    }
    identity.token = token;
    this.#done(true);
    this.#dialog.close();
  }

  #tell(problem) {
    this.#problem.textContent = problem;
    this.#problem.hidden = !problem;
    this.#token.toggleAttribute("aria-invalid", Boolean(problem));
    this.#token.focus();
    this.#token.select();
  }
}

/** Why the server does not take it; empty if it does. */
async function problemWith(token) {
  try {
    const response = await reachAs(token, "/api/chat/sessions?limit=1");
    return response.ok ? "" : (await refusal(response)).error;
  } catch {
    return "The server cannot be reached; try again.";
  }
}
