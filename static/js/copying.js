// The copy buttons of code blocks.

import { announce } from "./notices.js";

const SHOWN_MS = 2_000;

export function copyOnClick(place) {
  place.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    const copied = await copy(button.closest(".code").querySelector("code"));
    button.textContent = copied ? "Copied" : "Press Ctrl+C";
    announce(button.textContent);
    setTimeout(() => { button.textContent = "Copy"; }, SHOWN_MS);
  });
}

// Without a secure context there is no clipboard; then the code is at least selected.
async function copy(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(code);
    return false;
  }
}
