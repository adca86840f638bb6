// What JavaScript programs do with the AI SDK: `node ai.mjs <url> <upstream> <token> <spent>`, where the server
// and its fake upstream are, and the tokens of two callers, the second of whom has spent the budget. Prints one
// JSON object: what each scenario saw, or threw.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import {
  APICallError, NoObjectGeneratedError, Output, generateObject, generateText, stepCountIs, streamObject,
  streamText, tool,
} from "ai";
import { z } from "zod";
import { failure, heard, now, play } from "./scenarios.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;

const [url, upstream, token, spent] = process.argv.slice(2);
const provider = (options) => createOpenAICompatible({
  name: "parley", baseURL: `${url}/v1`, apiKey: token, includeUsage: true, supportsStructuredOutputs: true, ...options,
});
const parley = provider({});
const model = parley("for-ai");
const quiet = () => {};
const ask = (prompt, more = {}) => ({ model, prompt, maxRetries: 0, ...more });
const streaming = (prompt, more = {}) => ask(prompt, { onError: quiet, ...more });
const as = (user, more = {}) => streaming("stalls", { providerOptions: { parley: { user } }, ...more });

const schema = z.object({ name: z.string(), born: z.number(), fields: z.array(z.string()) });
const person = { schema, schemaName: "person" };
const tools = (calls = []) => ({
  weather: tool({
    inputSchema: z.object({ city: z.string(), days: z.number() }),
    execute: (said) => { calls.push(["weather", said]); return { degrees: 21 }; },
  }),
  clock: tool({
    inputSchema: z.object({}), execute: (said) => { calls.push(["clock", said]); return "noon"; },
  }),
});

function told(error) {
  if (APICallError.isInstance(error)) {
    return {
      error: error.name, status: error.statusCode, again: error.isRetryable, message: error.message,
      said: error.data?.error, request_id: error.responseHeaders["x-request-id"],
    };
  }
  if (NoObjectGeneratedError.isInstance(error)) {
    return { error: error.name, text: error.text, reason: error.finishReason };
  }
  return error instanceof Error ? { error: error.name, message: error.message } : { said: error };
}

async function all(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}

const counted = ({ inputTokens, inputTokenDetails, outputTokens, outputTokenDetails, totalTokens }) => [
  inputTokens, inputTokenDetails.cacheReadTokens, outputTokens, outputTokenDetails.reasoningTokens, totalTokens,
];
const called = (calls) => calls.map(({ toolCallId, toolName, input }) => [toolCallId, toolName, input]);

async function broken(prompt, more = {}) {
  const parts = await all(streamText(streaming(prompt, more)).stream);
  return {
    text: parts.filter(({ type }) => type === "text-delta").map(({ text }) => text).join(""),
    errors: parts.filter(({ type }) => type === "error").map(({ error }) => told(error)),
    reasons: parts.filter(({ type }) => type.startsWith("finish")).map(({ finishReason }) => finishReason),
    invalid: parts.filter(({ type }) => type === "tool-call").map(({ invalid }) => invalid),
    results: parts.filter(({ type }) => type === "tool-result").length,
    whole: await failure(generateText(ask(prompt, more)), told),
  };
}

await play(told, {
  "an answer is whole": async () => {
    const { text, finishReason, usage, response, warnings } = await generateText(ask("words"));
    return {
      text, finishReason, usage: counted(usage), id: response.id, model: response.modelId,
      request_id: response.headers["x-request-id"], stream_id: response.headers["x-stream-id"], warnings,
    };
  },
  "a stream is an answer in pieces": async () => {
    const result = streamText(streaming("words", { headers: { "X-Request-Id": "js-2" } }));
    const pieces = await all(result.textStream);
    const response = await result.response;
    return {
      pieces, text: await result.text, finishReason: await result.finishReason, usage: counted(await result.usage),
      id: response.id, model: response.modelId, request_id: response.headers["x-request-id"],
      stream_id: response.headers["x-stream-id"],
    };
  },
  "a stream has its parts in order": async () => {
    const parts = await all(streamText(streaming("reasons")).stream);
    return parts.map(({ type, text }) => text ? [type, text] : type);
  },
  "a stream tells no usage unasked": async () => {
    const model = provider({ includeUsage: false })("for-ai");
    const result = streamText(streaming("words", { model }));
    return { text: await result.text, total: (await result.usage).totalTokens ?? null };
  },
  "odd characters arrive": async () => [
    (await generateText(ask("odd"))).text, await streamText(streaming("odd")).text,
  ],
  "a prompt's model echoes": async () => {
    const question = "[[demo echo tps=0]] The quick brown fox";
    const model = parley("demo");
    return [(await generateText(ask(question, { model }))).text, await streamText(streaming(question, { model })).text];
  },
  "an answer that was cut says so": async () => (await generateText(ask("cut"))).finishReason,
  "an answer that was filtered says so": async () => streamText(streaming("filtered")).finishReason,
  "reasoning comes apart from the content": async () => {
    const { text, reasoningText } = await generateText(ask("reasons"));
    return { text, reasoningText };
  },
  "a refusal is told": async () => {
    const streamed = streamText(streaming("refused"));
    const { text, finishReason } = await generateText(ask("refused"));
    return [[text, finishReason], [await streamed.text, await streamed.finishReason]];
  },

  "tool calls come in pieces": async () => {
    const parts = await all(streamText(streaming("tools", { tools: tools() })).stream);
    const of = (type) => parts.filter((part) => part.type === type);
    return {
      starts: of("tool-input-start").map(({ id, toolName }) => [id, toolName]),
      pieces: of("tool-input-delta").length, input: of("tool-input-delta").map(({ delta }) => delta).join(""),
      calls: called(of("tool-call")), results: of("tool-result").map(({ output }) => output),
      reason: of("finish")[0].finishReason,
    };
  },
  "tools are run": async () => {
    const calls = [];
    const { text, steps, usage } = await generateText(ask("tools", { tools: tools(calls), stopWhen: stepCountIs(3) }));
    return {
      text, calls, usage: counted(usage), reasons: steps.map(({ finishReason }) => finishReason),
      called: called(steps[0].toolCalls), results: steps[0].toolResults.map(({ output }) => output),
    };
  },
  "tools are run in a stream": async () => {
    const calls = [];
    const result = streamText(streaming("tools", { tools: tools(calls), stopWhen: stepCountIs(3) }));
    const pieces = await all(result.textStream);
    return { pieces, calls, usage: counted(await result.usage), steps: (await result.steps).length };
  },
  "an upstream that does not stream is streamed": async () => {
    const result = streamText(streaming("one piece", { tools: tools() }));
    return { text: await result.text, calls: called(await result.toolCalls), reason: await result.finishReason };
  },

  "a shape is parsed": async () => {
    const { object, finishReason, usage } = await generateObject(ask("shape", person));
    return { object, finishReason, usage: counted(usage) };
  },
  "a shape is parsed in a stream": async () => {
    const result = streamObject(streaming("shape", person));
    const partial = await all(result.partialObjectStream);
    return { object: await result.object, last: partial.at(-1), growing: partial.length > 3 };
  },
  "a shape is an output": async () => {
    const output = Output.object({ schema, name: "person" });
    const streamed = streamText(streaming("shape", { output }));
    const partial = await all(streamed.partialOutputStream);
    return {
      whole: (await generateText(ask("shape", { output }))).output, streamed: await streamed.output,
      last: partial.at(-1), growing: partial.length > 3,
    };
  },
  "a list is an output": async () => {
    const output = Output.array({ element: z.string() });
    return { elements: await all(streamText(streaming("list", { output })).elementStream) };
  },
  "a wrong shape is an error": () => generateObject(ask("wrong shape", person)),
  "a shape that was cut is an error": () => generateObject(ask("cut", person)),

  "everything is passed on": async () => {
    const { text } = await generateText({
      model, maxRetries: 0, instructions: "Be brief", temperature: 0.25, topP: 0.5, maxOutputTokens: 77,
      stopSequences: ["END"], seed: 7, presencePenalty: 0.5, frequencyPenalty: -0.5, toolChoice: "auto",
      tools: { weather: tool({ inputSchema: z.object({ city: z.string() }) }) },
      providerOptions: { parley: { user: "u-1", reasoningEffort: "low", not_yet_invented: { deep: [1, null] } } },
      messages: [
        { role: "user", content: [
          { type: "text", text: "picture" }, { type: "image", image: "iVBORw0KGgo=", mediaType: "image/png" },
        ] },
        { role: "assistant", content: [
          { type: "tool-call", toolCallId: "call_1", toolName: "weather", input: { city: "Rome" } },
        ] },
        { role: "tool", content: [
          { type: "tool-result", toolCallId: "call_1", toolName: "weather", output: { type: "text", value: "sunny" } },
        ] },
      ],
    });
    return text;
  },

  "a wrong field is refused": () => generateText(ask("words", { temperature: 9 })),
  "a bad key is refused": () => generateText(ask("words", { model: provider({ apiKey: "sk-bad" })("for-ai") })),
  "an unknown model is refused": () => generateText(ask("words", { model: parley("gpt-0") })),
  "an unknown model is refused in a stream": () => broken("words", { model: parley("gpt-0") }),
  "a spent budget is refused": () => generateText(ask("words", { model: provider({ apiKey: spent })("for-ai") })),
  "embeddings are not there": () => parley.embeddingModel("for-ai").doEmbed({ values: ["x"] }),
  "an upstream refuses the request": () => generateText(ask("bad")),
  "an upstream refuses the request for a stream": () => broken("bad"),
  "an upstream refuses our key": () => generateText(ask("our key")),
  "an upstream does not know the model": () => generateText(ask("elsewhere")),
  "an upstream has a conflict": () => generateText(ask("conflict")),
  "an upstream is too busy": () => generateText(ask("too busy")),
  "an upstream fails": () => generateText(ask("fails")),

  "an answer breaks off": () => broken("breaks off"),
  "an answer just ends": () => broken("just ends"),
  "an upstream complains in mid-answer": () => broken("complains"),
  "a call breaks off": () => broken("breaks a call", { tools: tools() }),
  "a shape breaks off": () => streamObject(streaming("breaks off", person)).object,

}, {
  "a stream is aborted": async () => {
    const control = new AbortController();
    const result = streamText(as("aborted", { abortSignal: control.signal }));
    const types = [];
    let aborted_s;
    for await (const part of result.stream) {
      types.push(part.type);
      if (part.type === "text-delta") {
        aborted_s = now();
        control.abort();
      }
    }
    return { types, aborted_s };
  },
  "a whole answer is aborted": async () => {
    const control = new AbortController();
    const error = failure(generateText(as("whole", { abortSignal: control.signal })), told);
    await heard(upstream, model.modelId, "whole");
    const aborted_s = now();
    control.abort();
    return { error: (await error).error, aborted_s };
  },
});
