// Plays scenarios and prints what came of each as one JSON object.

// Those of an act all at once, for most of them wait most of the time; act after act.
export async function play(told, ...acts) {
  const outcomes = {};
  for (const act of acts) {
    await Promise.all(Object.entries(act).map(async ([name, scenario]) => {
      outcomes[name] = await scenario().catch((error) => ({ threw: told(error) }));
    }));
  }
  console.log(JSON.stringify(outcomes));
}

// What comes of waiting for something that must fail.
export const failure = (promise, told) => promise.then(() => "nothing was thrown", told);

// The monotonic clock of the whole machine, in seconds.
export const now = () => Number(process.hrtime.bigint()) / 1e9;

// Waits until the fake upstream has been asked for this model by this user.
export async function heard(upstream, model, user) {
  const body = JSON.stringify({ heard: [model, user] });
  for (const deadline = now() + 10; now() < deadline;) {
    const response = await fetch(upstream, { method: "POST", body });
    if ((await response.json()).heard) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`the upstream was not asked for ${model} by ${user}`);
}
