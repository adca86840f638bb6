// When things are drawn: at most once a frame, all of them together in a slice of it.

const SLICE_MS = 8;
// Drawing, with the layout and paint that follow it, may take at most this share of the time.
const SHARE = 0.4;

const waiting = new Set();
let due = 0;
let isDue = false;

/** Calls `draw(until)` in one of the next frames, and again until it says that it is done. */
export function drawSoon(draw) {
  waiting.add(draw);
  if (isDue) return;
  isDue = true;
  setTimeout(() => {
    // Out of sight there are no frames.
    if (document.hidden) frame();
    else requestAnimationFrame(frame);
  }, due - performance.now());
}

export function sliceFrom(now) {
  return now + SLICE_MS;
}

function frame() {
  const from = performance.now();
  // Begun here, it runs when the frame is shown, and also if something cannot be drawn.
  setTimeout(() => {
    isDue = false;
    due = from + (performance.now() - from) / SHARE;
    const [first] = waiting;
    if (first) drawSoon(first);
  });
  const until = sliceFrom(from);
  for (const draw of [...waiting]) {
    waiting.delete(draw);
    if (!draw(until)) waiting.add(draw);
    if (performance.now() >= until) break;
  }
}
