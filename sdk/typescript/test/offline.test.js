// What needs no cluster: where the key may not show, which folders are refused, what the package holds.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { inspect } from "node:util";

import * as sdk from "../src/index.js";
import { Operations } from "../src/operations.js";
import { Session, Surroundings } from "../src/session.js";

const { ConnectionFailed, Sortie } = sdk;
const KEY = "sortie_key_canary_of_the_tests";
const AWAY = "http://127.0.0.1:1";
const CA = { path: "ca.pem", content: "certificate\n", mode: "0644" };
const root = path.join(import.meta.dirname ?? new URL(".", import.meta.url).pathname, "..");

function session(files = [CA]) {
  const minted = {
    id: "ses_1",
    token: "sortie_ses_canary",
    expires_at: "2030-01-01T00:00:00.123456789Z",
    proxy_url: "http://x:sortie_ses_canary@gw:1",
  };
  const environment = { PIP_CERT: "/marker/bundle.pem", TOKEN: "__TOKEN__" };
  const around = new Surroundings({ folder: "/marker", environment, proxyVariables: ["HTTPS_PROXY"], files });
  return new Session(new Sortie({ url: AWAY, apiKey: KEY }), minted, around);
}

function folder(context) {
  const made = mkdtempSync(path.join(tmpdir(), "sortie-test-"));
  context.after(() => rmSync(made, { recursive: true }));
  return made;
}

test("a key shows nowhere", async () => {
  const sortie = new Sortie({ url: AWAY, apiKey: KEY, attempts: 1 });
  const error = await sortie.mintSession().then(assert.fail, (error) => error);
  assert(error instanceof ConnectionFailed);
  const options = { depth: Infinity, showHidden: true };
  for (const thing of [sortie, sortie.api, error, session()]) {
    assert.doesNotMatch(inspect(thing, options) + JSON.stringify(thing) + String(thing), /canary/);
  }
});

test("a key that cannot be sent is refused without being shown", () => {
  for (const apiKey of ["canary\nX: y", "canary é", " ", ""]) {
    assert.throws(
      () => new Sortie({ url: AWAY, apiKey }),
      (error) => !String(error).includes("canary"),
    );
  }
});

test("a key comes from the environment or a file", (context) => {
  const kept = { ...process.env };
  context.after(() => Object.assign(process.env, kept));
  delete process.env.SORTIE_API_KEY;
  delete process.env.SORTIE_API_KEY_FILE;
  assert.throws(() => new Sortie({ url: AWAY }), /SORTIE_API_KEY/);
  const file = path.join(folder(context), "key");
  writeFileSync(file, `${KEY}\n`);
  process.env.SORTIE_API_KEY_FILE = file;
  assert(new Sortie({ url: AWAY }));
  process.env.SORTIE_API_KEY = KEY;
  assert(new Sortie({ url: AWAY }));
  delete process.env.SORTIE_API_KEY;
});

test("a key is not sent in the clear to another machine", () => {
  assert.throws(() => new Sortie({ url: "http://control.example.com", apiKey: KEY }), /another machine/);
  assert(new Sortie({ url: "http://control.example.com", apiKey: KEY, allowHttp: true }));
  assert(new Sortie({ url: "https://control.example.com", apiKey: KEY }));
  for (const url of ["ftp://127.0.0.1", "127.0.0.1:7300", "http://user:canary@127.0.0.1"]) {
    assert.throws(
      () => new Sortie({ url, apiKey: KEY }),
      (error) => !String(error).includes("canary"),
    );
  }
});

test("files are written for this user, and variables name them", async (context) => {
  const target = path.join(folder(context), "a b", "agent");
  const variables = await session().proxyEnv(target);
  assert.equal(variables.PIP_CERT, `${target}/bundle.pem`);
  assert.equal(variables.HTTPS_PROXY, "http://x:sortie_ses_canary@gw:1");
  assert.equal(readFileSync(path.join(target, "ca.pem"), "utf8"), "certificate\n");
  assert.equal(statSync(target).mode & 0o777, 0o700);
  assert.deepEqual(readdirSync(target), ["ca.pem"]);
});

test("a JVM is not told a folder that it would split", () => {
  const environment = { JAVA_TOOL_OPTIONS: "-Djavax.net.ssl.trustStore=/marker/trust.p12" };
  const around = new Surroundings({ folder: "/marker", environment, proxyVariables: [], files: [] });
  assert.throws(() => around.variables("", "/a b"), TypeError);
  assert.match(around.variables("", "/ab").JAVA_TOOL_OPTIONS, /=\/ab\/trust.p12$/);
});

test("a volume has its own path inside", async (context) => {
  const variables = await session().proxyEnv(folder(context), { inside: "/run/sortie/" });
  assert.equal(variables.PIP_CERT, "/run/sortie/bundle.pem");
  assert.equal(session().variables("/x").PIP_CERT, "/x/bundle.pem");
  assert.equal(session().files()["ca.pem"].toString(), "certificate\n");
});

test("a folder that others may write to is refused", async (context) => {
  const target = folder(context);
  chmodSync(target, 0o777);
  await assert.rejects(session().proxyEnv(target), /others may write/);
  assert.deepEqual(readdirSync(target), []);
});

test("no file leaves the folder", async (context) => {
  for (const name of ["../x", "/etc/x", "a/../../x", "a/..", "a//b", "a/", "..", ""]) {
    const evil = { path: name, content: "x", mode: "0644" };
    await assert.rejects(session([evil]).proxyEnv(path.join(folder(context), "inner")), undefined, name);
  }
});

test("a file may stand in a folder of its own", async (context) => {
  const stub = { path: "gh/hosts.yml", content: "__TOKEN__", mode: "0644" };
  const target = path.join(folder(context), "inner");
  for (const files of [[CA, stub], [CA, stub]]) {
    assert.equal(await session(files).writeFiles(target), target);
  }
  assert.equal(readFileSync(path.join(target, "gh/hosts.yml"), "utf8"), "__TOKEN__");
  assert.equal(statSync(path.join(target, "gh/hosts.yml")).mode & 0o777, 0o644);
  assert.deepEqual(readdirSync(path.join(target, "gh")), ["hosts.yml"]);
  // A link would lead the file elsewhere.
  const [elsewhere, linked] = [folder(context), folder(context)];
  symlinkSync(elsewhere, path.join(linked, "gh"));
  await assert.rejects(session([stub]).writeFiles(linked), /is a link/);
  assert.deepEqual(readdirSync(elsewhere), []);
});

test("a child gets no key", async (context) => {
  const base = { PATH: "/bin", SORTIE_API_KEY: KEY, sortie_x: "y", HTTPS_PROXY: "http://other" };
  const environment = await session().childEnv(folder(context), { base });
  assert(!JSON.stringify(environment).includes(KEY));
  assert.equal(environment.PATH, "/bin");
  assert.match(environment.HTTPS_PROXY, /sortie_ses_canary/);
});

test("a server that says nothing is not waited for forever", async (context) => {
  const server = net.createServer(() => {}).listen(0, "127.0.0.1");
  context.after(() => server.close());
  await new Promise((resolve) => server.once("listening", resolve));
  const url = `http://127.0.0.1:${server.address().port}`;
  const asked = new Sortie({ url, apiKey: KEY, timeout: 200, attempts: 1 }).mintSession();
  await assert.rejects(asked, ConnectionFailed);
});

// The types are by hand, or made by another part of the generator: nothing else keeps them together with the code.
test("what the types name is there, and what is there has a type", () => {
  const read = (name) => readFileSync(path.join(root, "src", name), "utf8");
  const index = read("index.d.ts");
  const exported = [...index.matchAll(/^export (?:class|const) (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual(exported.sort(), Object.keys(sdk).sort());
  const members = (text, name) => {
    const body = text.match(new RegExp(`^export class ${name}[^{]*{\n(.*?)^}`, "ms"))[1];
    const names = [...body.matchAll(/^  (?:readonly )?(\w+)[(?:]/gm)].map(([, member]) => member);
    return new Set(names.filter((member) => !["constructor", "private"].includes(member)));
  };
  const there = (object, prototype) =>
    new Set([...Object.keys(object), ...Object.getOwnPropertyNames(prototype)].filter((name) => name !== "constructor"));
  const sortie = new Sortie({ url: AWAY, apiKey: KEY });
  assert.deepEqual(there(sortie, Sortie.prototype), members(index, "Sortie"));
  assert.deepEqual(there(session(), Session.prototype), members(index, "Session"));
  assert.deepEqual(there(sortie.api, Operations.prototype), members(read("operations.d.ts"), "Operations"));
});

test("the package holds its code and types, and nothing else", () => {
  const [packed] = JSON.parse(execFileSync("npm", ["pack", "--dry-run", "--json"], { cwd: root, encoding: "utf8" }));
  const expected = ["LICENSE", "README.md", "package.json", ...readdirSync(path.join(root, "src")).map((name) => `src/${name}`)];
  assert.deepEqual(packed.files.map((file) => file.path).sort(), expected.sort());
});
