// What JavaScript programs do with OpenAI's official client: `node openai.mjs <url> <upstream> <spent>`, where
// the server and its fake upstream are, and the token of a caller whose budget is spent. Prints one JSON
// object: what each scenario saw, or threw.

import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { failure, heard, now, play } from "./scenarios.mjs";

const [url, upstream, spent] = process.argv.slice(2);
const model = "for-openai";
const asking = (options) => new OpenAI({
  baseURL: `${url}/v1`, apiKey: "anonymous", maxRetries: 0, timeout: 20_000, ...options,
});
const client = asking({});
const chat = client.chat.completions;
const ask = (question, more = {}) => ({ model, messages: [{ role: "user", content: question }], ...more });
const streaming = (question, more = {}) => ask(question, { stream: true, ...more });

const Person = z.object({ name: z.string(), born: z.number(), fields: z.array(z.string()) });
const shaped = { response_format: zodResponseFormat(Person, "person") };
const none = () => ({ weather: [], clock: [] });
const tools = (calls = none()) => [
  zodFunction({
    name: "weather", parameters: z.object({ city: z.string(), days: z.number() }),
    function: (said) => { calls.weather.push(said); return `21 degrees in ${said.city}`; },
  }),
  zodFunction({
    name: "clock", parameters: z.object({}), function: (said) => { calls.clock.push(said); return "noon"; },
  }),
];
const told = (error) => error instanceof OpenAI.OpenAIError ? {
  error: error.constructor.name, status: error.status, type: error.type, code: error.code, param: error.param,
  message: error.message, request_id: error.requestID,
} : { unexpected: error.stack };

// A client that counts how often it asks.
function counting(options) {
  const counted = { asked: 0 };
  const count = (...request) => { counted.asked += 1; return fetch(...request); };
  counted.chat = asking({ ...options, fetch: count }).chat.completions;
  return counted;
}

async function all(stream, into = []) {
  for await (const item of stream) into.push(item);
  return into;
}

function outline(chunks, index = 0) {
  const choices = chunks.flatMap((chunk) => chunk.choices).filter((choice) => choice.index === index);
  const deltas = choices.map((choice) => choice.delta);
  return {
    identities: new Set(chunks.map(({ id, object, created, model }) => `${id} ${object} ${created} ${model}`)).size,
    role: deltas[0].role, roles: deltas.filter((delta) => "role" in delta).length,
    texts: deltas.map((delta) => delta.content).filter(Boolean),
    ends: choices.map((choice) => choice.finish_reason).filter(Boolean),
    last: choices.at(-1).finish_reason,
    usages: chunks.filter((chunk) => "usage" in chunk).map((chunk) => chunk.usage).filter(Boolean),
  };
}

function events(stream, ...names) {
  const seen = Object.fromEntries(names.map((name) => [name, []]));
  for (const name of names) stream.on(name, (...said) => seen[name].push(said.length > 1 ? said : said[0]));
  return seen;
}

async function broken(question, more = {}) {
  const chunks = [];
  const error = await failure(chat.create(streaming(question, more)).then((stream) => all(stream, chunks)), told);
  const { texts, ends } = outline(chunks);
  const helper = chat.stream(ask(question, more));
  const seen = events(helper, "finalChatCompletion", "content.done", "error", "end");
  const promised = await failure(helper.finalChatCompletion(), told);
  const whole = await failure(chat.create(ask(question, more)), told);
  return {
    texts, ends, error, whole, promised,
    completed: seen.finalChatCompletion.length + seen["content.done"].length,
    errors: seen.error.length, end: seen.end.length,
  };
}

await play(told, {
  "models are listed": async () => {
    const models = await all(client.models.list());
    return { ids: models.map(({ id }) => id), first: models[0] };
  },
  "a model is described": () => client.models.retrieve(model),
  "a model that is not there is not described": () => client.models.retrieve("gpt-0"),

  "an answer is whole": async () => {
    const said = await chat.create(ask("words"));
    return { ...said, request_id: said._request_id };
  },
  "an answer comes with its response": async () => {
    const headers = { "X-Request-Id": "js-1" };
    const { data, response, request_id } = await chat.create(ask("words"), { headers }).withResponse();
    return {
      id: data.id, stream_id: response.headers.get("x-stream-id"), request_id, status: response.status,
      kind: response.headers.get("content-type"), limit: response.headers.get("x-ratelimit-limit"),
    };
  },
  "a stream comes with its response": async () => {
    const { data, response, request_id } = await chat.create(streaming("words")).withResponse();
    const [first] = await all(data);
    return {
      id: first.id, stream_id: response.headers.get("x-stream-id"), request_id, status: response.status,
      kind: response.headers.get("content-type"), limit: response.headers.get("x-ratelimit-limit"),
    };
  },
  "a stream is an answer in pieces": async () => outline(await all(await chat.create(streaming("words")))),
  "a stream tells its usage when asked": async () => {
    const chunks = await all(await chat.create(streaming("words", { stream_options: { include_usage: true } })));
    return {
      ...outline(chunks), nulls: chunks.filter((chunk) => chunk.usage === null).length,
      told: chunks.length, choices: chunks.at(-1).choices,
    };
  },
  "a stream is two streams": async () => {
    const [left, right] = (await chat.create(streaming("words"))).tee();
    return (await Promise.all([all(left), all(right)])).map((chunks) => outline(chunks).texts);
  },
  "a helper tells of the content": async () => {
    const stream = chat.stream(ask("words", { stream_options: { include_usage: true } }));
    const seen = events(stream, "connect", "content", "content.delta", "content.done", "finalContent", "end");
    const completion = await stream.finalChatCompletion();
    return {
      deltas: seen.content.map(([delta]) => delta), snapshots: seen.content.map(([, snapshot]) => snapshot),
      named: seen["content.delta"].map(({ delta }) => delta), done: seen["content.done"],
      final: seen.finalContent, usage: await stream.totalUsage(), completion,
      connected: seen.connect.length, ended: seen.end.length,
    };
  },
  "a helper is passed on to a browser": async () => {
    const { ChatCompletionStream } = await import("openai/lib/ChatCompletionStream");
    const passed = ChatCompletionStream.fromReadableStream(chat.stream(ask("words")).toReadableStream());
    return { content: await passed.finalContent() };
  },
  "a prompt's model echoes": async () => {
    const question = ask("[[demo echo tps=0]] The quick brown fox", { model: "demo" });
    const said = await chat.create(question);
    const chunks = await all(await chat.create({ ...question, stream: true }));
    return { content: said.choices[0].message.content, texts: outline(chunks).texts.join(""), model: said.model };
  },

  "odd characters arrive": async () => {
    const { choices: [{ message }] } = await chat.create(ask("odd"));
    return [message.content, outline(await all(await chat.create(streaming("odd")))).texts.join("")];
  },
  "an empty answer is one": async () => {
    const helper = chat.stream(ask("nothing"));
    return {
      ...outline(await all(await chat.create(streaming("nothing")))),
      whole: (await chat.create(ask("nothing"))).choices[0],
      helped: (await helper.finalChatCompletion()).choices[0].message,
    };
  },
  "an answer is read again": async () => {
    const { id } = await chat.create(ask("words"));
    const again = await chat.retrieve(id);
    return {
      same: again.id === id, content: again.choices[0].message.content, usage: again.usage,
      missing: await failure(chat.retrieve("chatcmpl-none"), told),
    };
  },
  "answers are not listed or changed": async () => {
    const { id } = await chat.create(ask("words"));
    const errors = [chat.list(), chat.delete(id), chat.update(id, { metadata: {} }), chat.messages.list(id)];
    return Promise.all(errors.map((promise) => failure(promise, ({ status, code }) => [status, code])));
  },

  "tool calls come in pieces": async () => {
    const chunks = await all(await chat.create(streaming("tools", { tools: tools() })));
    const calls = chunks.flatMap((chunk) => chunk.choices[0]?.delta.tool_calls ?? []);
    return {
      ...outline(chunks), heads: calls.filter((call) => call.id),
      pieces: [0, 1].map((index) => calls.filter((call) => call.index === index && !call.id)
        .map((call) => call.function.arguments)),
    };
  },
  "tool calls come whole": async () => {
    const { choices: [{ message, finish_reason }] } = await chat.create(ask("tools", { tools: tools() }));
    return { message, finish_reason };
  },
  "tool calls are parsed": async () => {
    const { choices: [{ message }] } = await chat.parse(ask("tools", { tools: tools() }));
    return message.tool_calls.map((call) => [call.id, call.function.name, call.function.parsed_arguments]);
  },
  "a helper tells of tool calls": async () => {
    const stream = chat.stream(ask("tools", { tools: tools() }));
    const [delta, done] = ["delta", "done"].map((end) => `tool_calls.function.arguments.${end}`);
    const seen = events(stream, delta, done, "functionToolCall", "finalFunctionToolCall");
    const { choices: [{ message, finish_reason }] } = await stream.finalChatCompletion();
    return {
      deltas: seen[delta].length, arguments: seen[delta].map((event) => event.arguments_delta).join(""),
      done: seen[done].map(({ name, index, parsed_arguments }) => [name, index, parsed_arguments]),
      final: seen.finalFunctionToolCall, finish_reason,
      calls: message.tool_calls.map((call) => [call.id, call.type, call.function.name, call.function.arguments]),
    };
  },
  "tools are run": async () => {
    const calls = none();
    const runner = chat.runTools(ask("tools", { tools: tools(calls) }));
    const seen = events(runner, "functionToolCallResult", "message");
    const content = await runner.finalContent();
    return {
      content, calls, results: seen.functionToolCallResult, roles: seen.message.map(({ role }) => role),
      usage: await runner.totalUsage(),
    };
  },
  "tools are run in a stream": async () => {
    const calls = none();
    const runner = chat.runTools(streaming("tools", { tools: tools(calls) }));
    const seen = events(runner, "functionToolCallResult", "content");
    const content = await runner.finalContent();
    return { content, calls, results: seen.functionToolCallResult, pieces: seen.content.map(([delta]) => delta) };
  },
  "an upstream that does not stream is streamed": async () => {
    const stream = chat.stream(ask("one piece", { tools: tools() }));
    const { choices: [{ message, finish_reason }] } = await stream.finalChatCompletion();
    return {
      content: message.content, finish_reason,
      calls: message.tool_calls.map((call) => [call.id, call.function.name, call.function.parsed_arguments]),
    };
  },

  "a shape is parsed": async () => {
    const { choices: [{ message }] } = await chat.parse(ask("shape", shaped));
    return { parsed: message.parsed, refusal: message.refusal };
  },
  "a shape is parsed in a stream": async () => {
    const stream = chat.stream(ask("shape", shaped));
    const seen = events(stream, "content.delta", "content.done");
    const { choices: [{ message }] } = await stream.finalChatCompletion();
    const names = seen["content.delta"].map(({ parsed }) => parsed?.name).filter(Boolean);
    return { parsed: message.parsed, done: seen["content.done"][0].parsed, growing: new Set(names).size > 1 };
  },
  "a shape that was cut is an error": () => chat.parse(ask("cut", shaped)),
  "a shape that was cut in a stream is an error": () => chat.stream(ask("cut", shaped)).finalChatCompletion(),
  "a shape that was filtered is an error": () => chat.parse(ask("filtered", shaped)),
  "a refusal is no content": async () => {
    const { choices: [{ message, finish_reason }] } = await chat.parse(ask("refused", shaped));
    return { message, finish_reason };
  },
  "a helper tells of a refusal": async () => {
    const stream = chat.stream(ask("refused", shaped));
    const seen = events(stream, "refusal.delta", "refusal.done", "content.delta");
    const { choices: [{ message }] } = await stream.finalChatCompletion();
    return {
      deltas: seen["refusal.delta"].map(({ delta }) => delta), done: seen["refusal.done"],
      contents: seen["content.delta"].length, refusal: message.refusal,
      content: message.content, parsed: message.parsed,
    };
  },

  "reasoning comes apart from the content": async () => {
    const { choices: [{ message }] } = await chat.create(ask("reasons"));
    const chunks = await all(await chat.create(streaming("reasons")));
    const pieces = chunks.map((chunk) => chunk.choices[0].delta.reasoning_content).filter(Boolean);
    return { message, pieces, texts: outline(chunks).texts };
  },
  "two choices are whole": async () => (await chat.create(ask("two", { n: 2 }))).choices,
  "two choices are streamed": async () => {
    const chunks = await all(await chat.create(streaming("two", { n: 2 })));
    return [0, 1].map((index) => outline(chunks, index));
  },
  "a helper puts two choices together": async () => {
    const { choices } = await chat.stream(ask("two", { n: 2 })).finalChatCompletion();
    return choices.map(({ index, message, finish_reason }) => [index, message.content, finish_reason]);
  },
  "probabilities are whole": async () => (await chat.create(ask("likely", { logprobs: true }))).choices[0].logprobs,
  "a helper tells of probabilities": async () => {
    const stream = chat.stream(ask("likely", { logprobs: true }));
    const seen = events(stream, "logprobs.content.delta", "logprobs.content.done");
    const { choices: [{ logprobs }] } = await stream.finalChatCompletion();
    return {
      deltas: seen["logprobs.content.delta"].flatMap(({ content }) => content),
      done: seen["logprobs.content.done"][0].content, final: logprobs.content,
    };
  },
  "an answer that was cut says so": async () => {
    const chunks = await all(await chat.create(streaming("cut")));
    return { whole: (await chat.create(ask("cut"))).choices[0].finish_reason, ends: outline(chunks).ends };
  },
  "everything is passed on": async () => {
    const said = await chat.create({
      model, temperature: 0.25, top_p: 0.5, max_completion_tokens: 77, stop: ["END"], n: 1, seed: 7,
      presence_penalty: 0.5, frequency_penalty: -0.5, logprobs: true, top_logprobs: 2, logit_bias: { 50256: -100 },
      parallel_tool_calls: false, tool_choice: { type: "function", function: { name: "weather" } },
      tools: tools(), ...shaped, user: "u-1", metadata: { run: "7" }, reasoning_effort: "low",
      service_tier: "auto", store: false, modalities: ["text"], prediction: { type: "content", content: "x" },
      not_yet_invented: { deep: [1, null] },
      messages: [
        { role: "developer", content: "Be brief" },
        { role: "user", name: "ada", content: [
          { type: "text", text: "picture" },
          { type: "image_url", image_url: { url: "data:image/png;base64,iVBORw0KGgo=", detail: "low" } },
        ] },
        { role: "assistant", content: null, refusal: null, tool_calls: [
          { id: "call_1", type: "function", function: { name: "weather", arguments: '{"city":"Rome"}' } },
        ] },
        { role: "tool", tool_call_id: "call_1", content: [{ type: "text", text: "sunny" }] },
      ],
    });
    return said.choices[0].message.content;
  },

  "a wrong field is refused": () => chat.create(ask("words", { temperature: 9 })),
  "a wrong field is refused in a stream": () => chat.create(streaming("words", { max_tokens: 0 })),
  "no messages are refused": () => chat.create({ model, messages: [] }),
  "an address is refused": () => chat.create(ask("words", { base_url: "https://example.org" })),
  "too much is refused": () => chat.create(ask("x".repeat(1_100_000))),
  "a bad key is refused": () => asking({ apiKey: "sk-bad" }).chat.completions.create(ask("words")),
  "a bad key is refused in a stream": () => asking({ apiKey: "sk-bad" }).chat.completions.create(streaming("words")),
  "a bad key lists no models": () => all(asking({ apiKey: "sk-bad" }).models.list()),
  "an unknown model is refused": () => chat.create(ask("words", { model: "gpt-0" })),
  "an unknown model is refused in a stream": () => chat.stream(ask("words", { model: "gpt-0" })).done(),
  "another site is refused": () => chat.create(ask("words"), { headers: { Origin: "https://evil.example" } }),
  "another interface is not there": () => client.responses.create({ model, input: "words" }),
  "a spent budget is not asked again": async () => {
    const patient = counting({ apiKey: spent, maxRetries: 2 });
    const error = await patient.chat.create(ask("words")).catch((error) => error);
    return {
      ...told(error), asked: patient.asked, again: error.headers.get("x-should-retry"),
      later: Number(error.headers.get("retry-after")) > 60, left: error.headers.get("x-ratelimit-remaining"),
    };
  },

  "an upstream refuses the request": () => chat.create(ask("bad")),
  "an upstream refuses the request for a stream": () => chat.create(streaming("bad")),
  "an upstream refuses our key": () => chat.create(streaming("our key")),
  "an upstream does not know the model": () => chat.create(ask("elsewhere")),
  "an upstream has a conflict": () => chat.create(streaming("conflict")),
  "an upstream is too busy": async () => {
    const error = await chat.create(streaming("too busy")).catch((error) => error);
    return { ...told(error), later: error.headers.get("retry-after"), again: error.headers.get("x-should-retry") };
  },
  "an upstream is busy for an hour": async () => {
    const patient = counting({ maxRetries: 2 });
    const error = await patient.chat.create(ask("busy for an hour")).catch((error) => error);
    return {
      ...told(error), asked: patient.asked, later: error.headers.get("retry-after"),
      again: error.headers.get("x-should-retry"),
    };
  },
  "an upstream fails": () => chat.create(streaming("fails")),
  "an upstream says nonsense": () => chat.create(ask("nonsense")),
  "a conflict is asked about again": async () => {
    const patient = counting({ maxRetries: 1 });
    const { choices: [{ message }] } = await patient.chat.create(ask("conflict once"));
    return { content: message.content, asked: patient.asked };
  },
  "a key makes one answer of two requests": async () => {
    const once = { headers: { "Idempotency-Key": "js-once" } };
    const body = ask("words", { seed: 41 });
    const [first, second] = [await chat.create(body, once), await chat.create(body, once)];
    const other = await failure(chat.create(ask("words", { seed: 42 }), once), told);
    return { same: first.id === second.id, content: second.choices[0].message.content, other };
  },

  "an answer breaks off": () => broken("breaks off"),
  "an answer just ends": () => broken("just ends"),
  "an upstream complains in mid-answer": () => broken("complains"),
  "a call breaks off": () => broken("breaks a call", { tools: tools() }),

}, {
  "a stream is aborted": async () => {
    const stream = await chat.create(streaming("stalls", { user: "aborted" }));
    const texts = [];
    let aborted_s;
    for await (const chunk of stream) {
      texts.push(chunk.choices[0].delta.content);
      aborted_s = now();
      stream.controller.abort();
    }
    return { texts, aborted_s };
  },
  "a stream is left": async () => {
    for await (const chunk of await chat.create(streaming("stalls", { user: "left" }))) {
      if (chunk.choices[0].delta.content) break;
    }
    return { aborted_s: now() };
  },
  "a helper is aborted": async () => {
    const stream = chat.stream(ask("stalls", { user: "helper" }));
    let aborted_s;
    stream.on("content", () => { aborted_s = now(); stream.abort(); });
    const error = await failure(stream.done(), told);
    return { error: error.error, aborted: stream.aborted, aborted_s };
  },
  "a silent stream is aborted": async () => {
    const control = new AbortController();
    const error = failure(chat.create(streaming("silent", { user: "silent" }), { signal: control.signal }), told);
    await heard(upstream, model, "silent");
    const aborted_s = now();
    control.abort();
    return { error: (await error).error, aborted_s };
  },
  "a whole answer is aborted": async () => {
    const control = new AbortController();
    const error = failure(chat.create(ask("stalls", { user: "whole" }), { signal: control.signal }), told);
    await heard(upstream, model, "whole");
    const aborted_s = now();
    control.abort();
    return { error: (await error).error, aborted_s };
  },
  "a wait comes to its end": async () => {
    const error = await failure(chat.create(ask("silent", { user: "waits" }), { timeout: 1_500 }), told);
    return { error: error.error, aborted_s: now() };
  },

  "a stopped answer ends well": async () => {
    const { data, response } = await chat.create(streaming("stalls", { user: "stopped" })).withResponse();
    const path = `/api/chat/streams/${response.headers.get("x-stream-id")}/stop`;
    const stopped = fetch(`${url}${path}`, { method: "POST" });
    const seen = outline(await all(data));
    return { ...seen, stopped: (await (await stopped).json()).state };
  },

  "a stream that is to be resumed is numbered": async () => {
    const headers = { "X-Stream-Resume": "1" };
    const response = await chat.create(streaming("words"), { headers }).asResponse();
    return { stream_id: response.headers.get("x-stream-id"), events: await response.text() };
  },
  "a stream is not numbered otherwise": async () => {
    const response = await chat.create(streaming("words")).asResponse();
    return { events: await response.text() };
  },
  "numbers are nothing to a reader": async () => {
    const headers = { "X-Stream-Resume": "1" };
    return outline(await all(await chat.create(streaming("words"), { headers })));
  },
  "a stream is resumed": async () => {
    const headers = { "X-Stream-Resume": "1" };
    const { data, response } = await chat.create(streaming("slow"), { headers }).withResponse();
    const texts = [];
    for await (const chunk of data) {
      texts.push(chunk.choices[0].delta.content);
      if (texts.length === 1) break;
    }
    const id = response.headers.get("x-stream-id");
    const path = `/chat/completions/${id}`;
    const more = await all(await client.get(path, { headers: { "Last-Event-ID": `${id}:1` }, stream: true }));
    const whole = await client.get(`/chat/completions/chatcmpl-${id}`, { headers: { Accept: "application/json" } });
    return { before: texts, after: outline(more), content: whole.choices[0].message.content };
  },

  "the built-in model fills a shape": async () => {
    const { choices: [{ message }] } = await chat.parse(ask("Who was Ada?", { model: "demo", ...shaped }));
    return Object.fromEntries(Object.entries(message.parsed).map(([name, value]) => [name, typeof value]));
  },
  "the built-in model calls a tool": async () => {
    const asked = ask("Which weather?", { model: "demo", tools: tools(), tool_choice: "required" });
    const { choices: [{ message, finish_reason }] } = await chat.stream(asked).finalChatCompletion();
    const calls = message.tool_calls.map((call) => [call.function.name, typeof call.function.parsed_arguments]);
    return { finish_reason, calls };
  },
});
