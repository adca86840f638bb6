// What is chosen for this chat, and for this browser.

import { local } from "./storage.js";
import { choice, choose } from "./transport.js";

const TEMPERATURE = "parley.temperature";
const THEME = "parley.theme";

const $ = (id) => document.getElementById(id);

export class Settings {
  #dialog = $("settings");
  #instructions = $("instructions");
  #problem = $("instructions-problem");
  #temperature = $("temperature");
  #kept = "";

  /** `onInstructions(text)` is told what was written for this chat, and promises why it was refused. */
  constructor({ onInstructions }) {
    $("settings-open").addEventListener("click", () => this.open());
    this.#instructions.addEventListener("change", () => this.#change(onInstructions));
    this.#temperature.value = local.get(TEMPERATURE);
    this.#temperature.addEventListener("change", () => {
      if (this.#temperature.validity.valid) local.set(TEMPERATURE, this.#temperature.value);
    });
    $("theme").value = local.get(THEME);
    $("theme").addEventListener("change", () => {
      local.set(THEME, $("theme").value);
      dispatchEvent(new Event("parley:theme"));
    });
    $("transport").value = choice();
    $("transport").addEventListener("change", () => choose($("transport").value));
  }

  open() {
    this.#dialog.showModal();
  }

  /** What every answer of this chat is to heed; undefined if nothing. */
  get instructions() {
    return this.#kept || undefined;
  }

  /** Undefined leaves it to the model. */
  get temperature() {
    return local.get(TEMPERATURE) ? Number(local.get(TEMPERATURE)) : undefined;
  }

  /** Changes to another chat, with what is to be heeded there. */
  enter(instructions) {
    this.#kept = instructions ?? "";
    this.#instructions.value = this.#kept;
    this.#tell("");
  }

  async #change(onInstructions) {
    const text = this.#instructions.value.trim();
    const problem = await onInstructions(text);
    if (!problem) this.#kept = text;
    this.#tell(problem);
  }

  #tell(problem) {
    this.#problem.textContent = problem;
    this.#problem.hidden = !problem;
    this.#instructions.toggleAttribute("aria-invalid", Boolean(problem));
  }
}
