// What the page says besides the messages.

const $ = (id) => document.getElementById(id);

/** A sentence below the box; empty takes it away. */
export function notice(sentence) {
  $("notice").textContent = sentence;
  $("notice").hidden = !sentence;
  if (sentence) announce(sentence);
}

/** A sentence for who listens instead of looking. */
export function announce(sentence) {
  $("status").textContent = sentence;
}

export function entitle(title) {
  $("title").textContent = title || "Parley";
  document.title = title ? `${title} · Parley` : "Parley";
}
