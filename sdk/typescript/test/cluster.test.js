// The SDK against a running cluster. `SORTIE_API_URL` and `SORTIE_API_KEY_FILE` say where, as for everyone.
//
// The tenant has an agent `runner`, a vault `main` with a grant for it, and in it a service `api` that covers
// `SORTIE_TEST_TARGET` and works with the credential `API_KEY`. cli/tests/cluster/sdks.rs makes all that and runs this.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";

import {
  BATCH_MAX,
  Conflict,
  ConnectionFailed,
  InvalidArgument,
  NotFound,
  RequirementUnmet,
  Sortie,
  Unauthenticated,
  Unavailable,
} from "../src/index.js";
import { Operations } from "../src/operations.js";
import { Transport } from "../src/transport.js";
import { flaky } from "./flaky.js";

const { SORTIE_API_URL: URL, SORTIE_API_KEY_FILE: KEY_FILE, SORTIE_TEST_TARGET: TARGET } = process.env;
const { SORTIE_TEST_REGISTRY: REGISTRY } = process.env;
const KEY = readFileSync(KEY_FILE, "utf8").trim();
const sortie = new Sortie();
const run = promisify(execFile);

// What an agent does: it knows nothing of Sortie.
const AGENT = 'test -z "$(env | grep -i ^sortie_)" && curl -sS -o /dev/null -w "%{http_code}" -H "authorization: Bearer $API_KEY" "$0" 2>&1';

async function agent(environment) {
  const ended = run("sh", ["-c", AGENT, TARGET], { env: environment, timeout: 60_000 });
  const { stdout } = await ended.catch((error) => error);
  return stdout;
}

// What npm does: its token stands in the file that its own variable names.
const NPM =
  'token=$(sed -n "s#^//registry.npmjs.org/:_authToken=##p" "$NPM_CONFIG_USERCONFIG") && test "$token" = "$NPM_TOKEN" && ' +
  'curl -sS -o /dev/null -w "%{http_code}" -H "authorization: Bearer $token" "$0"';

function folder(context) {
  const made = mkdtempSync(path.join(tmpdir(), "sortie-test-"));
  context.after(() => rmSync(made, { recursive: true }));
  return path.join(made, "agent");
}

async function ids(options) {
  const found = [];
  for await (const view of sortie.listSessions(options)) {
    found.push(view.id);
  }
  return found;
}

test("an agent works with what proxyEnv says until its session ends", async (context) => {
  const wanted = { vaults: ["main"], agent: "runner", ttl: 300, labels: { run: "js" }, require: ["api"] };
  const session = await sortie.mintSession(wanted);
  const environment = await session.childEnv(folder(context));
  assert.equal(await agent(environment), "200");
  assert((await ids({ agent: "runner" })).includes(session.id));
  assert(session.expiresAt > new Date());
  await session.revoke();
  await session.revoke();
  assert(!(await ids()).includes(session.id));
  assert((await ids({ includeEnded: true })).includes(session.id));
  // The gateway hears of it a moment later; a new process asks each time.
  let refused = "200";
  for (let tries = 0; refused.includes("200") && tries < 500; tries++) {
    refused = await agent(environment);
  }
  assert.match(refused, /407/);
});

test("a known tool finds its file", async (context) => {
  const session = await sortie.mintSession({ vaults: ["main"], agent: "runner", require: ["npm"] });
  const place = folder(context);
  const environment = await session.childEnv(place);
  assert.equal(environment.NPM_CONFIG_USERCONFIG, path.join(place, "npmrc"));
  assert.equal((await run("sh", ["-c", NPM, REGISTRY], { env: environment, timeout: 60_000 })).stdout, "200");
  await session.revoke();
});

test("a renewed session has another token, and the old one works too", async (context) => {
  const session = await sortie.mintSession({ vaults: ["main"], agent: "runner", ttl: 120 });
  const [old, end, place] = [session.token, session.expiresAt, folder(context)];
  const before = await session.childEnv(place);
  await session.renew(600);
  assert.notEqual(session.token, old);
  assert(session.expiresAt > end);
  const after = await session.childEnv(place);
  assert(after.HTTPS_PROXY.includes(session.token) && !JSON.stringify(after).includes(old));
  for (const environment of [before, after]) {
    assert.equal(await agent(environment), "200");
  }
});

test("a session without an environment is a token", async (context) => {
  const session = await sortie.mintSession({ vaults: ["main"], agent: "runner", environment: false });
  assert.match(session.token, /^sortie_ses_/);
  await assert.rejects(session.proxyEnv(folder(context)), TypeError);
});

test("more sessions than a batch take several calls", async (context) => {
  const sessions = await sortie.mintSessions(BATCH_MAX + 2, { vaults: ["main"], agent: "runner", ttl: 60 });
  assert.equal(new Set(sessions.map((session) => session.id)).size, BATCH_MAX + 2);
  // The files came with the first batch alone.
  assert.deepEqual(sessions[0].files(), sessions.at(-1).files());
  assert.equal(await agent(await sessions.at(-1).childEnv(folder(context))), "200");
  assert.deepEqual(await sortie.mintSessions(0), []);
});

test("sessions of different vaults come in their order", async () => {
  await sortie.api.createVault({ name: "side-js" });
  await sortie.api.putGrant("side-js", "runner", { role: "user" });
  const wanted = [["main"], ["side-js"], ["main"], ["side-js", "main"]];
  const specs = wanted.map((vaults, n) => ({ vaults, labels: { n: String(n) } }));
  const sessions = await sortie.mintSessions(specs, { agent: "runner" });
  const views = new Map();
  for await (const view of sortie.listSessions()) {
    views.set(view.id, view);
  }
  assert.deepEqual(sessions.map((session) => views.get(session.id).labels.n), ["0", "1", "2", "3"]);
  assert.deepEqual(sessions.map((session) => views.get(session.id).vaults.length), [1, 1, 1, 2]);
  const placed = sessions.map((session) => session.variables("/x").API_KEY);
  assert.deepEqual(placed, ["__API_KEY__", undefined, "__API_KEY__", "__API_KEY__"]);
});

test("what is required and missing is told with its command", async () => {
  const asked = sortie.mintSession({ vaults: ["main"], agent: "runner", require: ["api", "none"] });
  const error = await asked.then(assert.fail, (error) => error);
  assert(error instanceof RequirementUnmet);
  assert.deepEqual([error.status, error.code, error.name], [412, "requirement_unmet", "RequirementUnmet"]);
  assert.deepEqual(error.errors.map((one) => one.field), ["require[1]"]);
  assert.match(error.message, /sortie service set none --vault main/);
  assert(error.requestId && error.message.includes(error.requestId));
});

test("errors have types", async () => {
  await assert.rejects(sortie.revoke("ses_01jz0000000000000000000000"), NotFound);
  await assert.rejects(sortie.mintSessions(2, { vaults: ["main"], agent: "runner", ttl: 1 }), (error) => {
    return error instanceof InvalidArgument && error.errors[0].field === "sessions[0].ttl_seconds";
  });
  await assert.rejects(sortie.api.createVault({ name: "main" }), Conflict);
  await assert.rejects(new Sortie({ apiKey: "sortie_key_canary" }).mintSession(), (error) => {
    return error instanceof Unauthenticated && !error.message.includes("canary");
  });
  await assert.rejects(new Sortie({ url: "http://127.0.0.1:1", attempts: 2 }).mintSession(), ConnectionFailed);
});

test("what is read can be put", async () => {
  const { spec } = await sortie.api.getService("main", "api");
  assert.deepEqual((await sortie.api.putService("main", "api", spec)).spec, spec);
});

const mint = (url, options) => new Sortie({ url, ...options }).mintSession({ vaults: ["main"], agent: "runner" });

test("a mint is tried again", async () => {
  for (const fault of [[502, {}], [503, {}], [504, {}], [429, {}], "break"]) {
    const { answer, asked } = await flaky(URL, [fault, fault], mint);
    assert.match(answer.id, /^ses_/);
    assert.equal(asked, 3);
  }
});

/** How long the pauses were, in milliseconds, of a mint that is met with these faults. */
async function pauses(faults) {
  const slept = [];
  const sleep = async (time) => slept.push(time);
  await flaky(URL, faults, (url) => {
    const transport = new Transport({ url, key: KEY, timeout: 30_000, attempts: 4, allowHttp: false, fetch, sleep });
    return new Operations(transport, "-").mintSession({ agent: "runner", vaults: ["main"] });
  });
  return slept;
}

test("the pause is random below a bound that doubles", async () => {
  for (let times = 0; times < 20; times++) {
    const slept = await pauses(Array(3).fill([503, {}]));
    [200, 400, 800].forEach((bound, n) => assert(slept[n] >= 0 && slept[n] <= bound, String(slept)));
  }
});

test("Retry-After is waited for in both forms", async () => {
  const [seconds] = await pauses([[503, { "retry-after": "7" }]]);
  assert(seconds >= 7_000 && seconds <= 7_200, String(seconds));
  const [date] = await pauses([[429, { "retry-after": new Date(Date.now() + 50_000).toUTCString() }]]);
  assert(date > 0 && date <= 50_200, String(date));
});

test("tries have an end", async () => {
  const asked = flaky(URL, Array(9).fill([502, {}]), (url) => mint(url, { attempts: 3 }));
  await assert.rejects(asked, (error) => error instanceof Unavailable && error.code === "" && error.asked === 3);
});

test("who asks for a long wait is not asked again", async () => {
  const asked = flaky(URL, [[503, { "retry-after": "3600" }]], mint);
  await assert.rejects(asked, (error) => error.retryAfter === 3600 && error.asked === 1);
});

test("what shows a key once is not done twice", async () => {
  for (const fault of [[503, {}], "break"]) {
    const create = (url) => new Sortie({ url }).api.createAgent({ name: "once-js" });
    await assert.rejects(flaky(URL, [fault], create), (error) => error.asked === 1);
  }
  // 429 says that nothing was done.
  const { answer } = await flaky(URL, [[429, {}]], (url) => new Sortie({ url }).api.createAgent({ name: "limited-js" }));
  assert.match(answer.key, /^sortie_agt_/);
});

assert.notEqual(KEY, "");
