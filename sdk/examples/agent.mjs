// An agent of one's own, small but whole: a loop around OpenAI's Responses API with one tool, a shell.
//
// It holds no key. Behind `sortie run` its OPENAI_API_KEY is a placeholder, and the gateway puts the key in:
//
//     sortie service add openai
//     sortie run -- node agent.mjs 'Which files are here?'
//
// Needs `npm install undici`: Node.js before 22.21 has no proxy for its own fetch. MODEL names another model.

import { spawnSync } from "node:child_process";
import { EnvHttpProxyAgent, fetch } from "undici";

const SHELL = {
  type: "function",
  name: "bash",
  description: "Runs a command in bash, and answers with what it prints and its exit code.",
  parameters: {
    type: "object",
    properties: { command: { type: "string" } },
    required: ["command"],
    additionalProperties: false,
  },
  strict: true,
};
const TURNS_MAX = 20;
const dispatcher = new EnvHttpProxyAgent();

/** Asks the model, prints its words as they come, and answers with all that it said. */
async function ask(input) {
  const answer = await fetch("https://api.openai.com/v1/responses", {
    dispatcher,
    method: "POST",
    headers: { authorization: `Bearer ${process.env.OPENAI_API_KEY}`, "content-type": "application/json" },
    body: JSON.stringify({
      model: process.env.MODEL ?? "gpt-6.1-sol",
      input,
      tools: [SHELL],
      stream: true,
      // Nothing is kept at the vendor, so what the model thought is sent back with the rest.
      store: false,
      include: ["reasoning.encrypted_content"],
    }),
  });
  // A refusal of the gateway says what to do about it.
  if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
  let rest = "";
  for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
    const events = (rest + piece).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const line = event.split("\n").find((line) => line.startsWith("data: "));
      const data = line ? JSON.parse(line.slice(6)) : {};
      if (data.type === "response.output_text.delta") process.stdout.write(data.delta);
      if (data.type === "response.completed") return data.response.output;
      if (data.type === "response.failed" || data.type === "error") throw new Error(JSON.stringify(data));
    }
  }
  throw new Error("the answer broke off");
}

function run(command) {
  console.error(`$ ${command}`);
  const done = spawnSync("bash", ["-c", command], { encoding: "utf8", timeout: 120_000 });
  return `${done.stdout}${done.stderr}${done.status === 0 ? "" : `(exit ${done.status ?? done.signal})`}`;
}

async function main() {
  const input = [{ role: "user", content: process.argv.slice(2).join(" ") }];
  for (let turn = 0; turn < TURNS_MAX; turn++) {
    const output = await ask(input);
    const calls = output.filter((item) => item.type === "function_call");
    if (calls.length === 0) {
      process.stdout.write("\n");
      return;
    }
    input.push(...output);
    for (const call of calls) {
      const result = run(JSON.parse(call.arguments).command);
      input.push({ type: "function_call_output", call_id: call.call_id, output: result });
    }
  }
  throw new Error(`no answer after ${TURNS_MAX} turns`);
}

try {
  await main();
} catch (error) {
  console.error(error.cause ? `${error.message}: ${error.cause.message}` : error.message);
  process.exitCode = 1;
}
