// Copying: a text, and what the buttons of code blocks stand at.

import { announce } from "./notices.js";

const SHOWN_MS = 2_000;

export function copyOnClick(place) {
  place.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    const code = button.closest(".code").querySelector("code");
    const copied = await copyText(code.textContent);
    if (!copied) getSelection().selectAllChildren(code);
    button.textContent = copied ? "Copied" : "Press Ctrl+C";
    setTimeout(() => { button.textContent = "Copy"; }, SHOWN_MS);
  });
}

/** Whether that was possible. */
export async function copyText(text) {
  const copied = await write(text);
  announce(copied ? "Copied" : "This browser does not let the page copy");
  return copied;
}

async function write(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without a secure context there is no such clipboard, but there is the older way.
    return writeSelected(text);
  }
}

function writeSelected(text) {
  const focused = document.activeElement;
  const box = document.createElement("textarea");
  box.value = text;
  box.className = "visually-hidden";
  document.body.append(box);
  box.select();
  const copied = document.execCommand("copy");
  box.remove();
  focused?.focus();
  return copied;
}
