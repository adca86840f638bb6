// What the page says besides the messages.

const $ = (id) => document.getElementById(id);

let toastTimer = null;

/** A sentence below the box; empty takes it away. */
export function notice(sentence) {
  $("notice").textContent = sentence;
  $("notice").hidden = !sentence;
  if (sentence) announce(sentence);
}

/** Takes that sentence away, if it stands there. */
export function withdraw(sentence) {
  if ($("notice").textContent === sentence) notice("");
}

/** What was done, for a while, with a button to `act` on it: `{label, act}`. */
export function toast(sentence, { label, act }, ms) {
  clearTimeout(toastTimer);
  $("toast-text").textContent = sentence;
  $("toast-act").textContent = label;
  $("toast-act").onclick = () => {
    untoast();
    act();
  };
  $("toast").hidden = false;
  announce(`${sentence} ${label} is possible for a moment.`);
  toastTimer = setTimeout(untoast, ms);
}

export function untoast() {
  clearTimeout(toastTimer);
  $("toast").hidden = true;
  $("toast-text").textContent = "";
  $("toast-act").onclick = null;
  announce("");
}

/** A sentence for who listens instead of looking. */
export function announce(sentence) {
  $("status").textContent = sentence;
}

export function entitle(title) {
  $("title").textContent = title || "Parley";
  document.title = title ? `${title} · Parley` : "Parley";
}
