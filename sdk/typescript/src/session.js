// A session, as an orchestrator holds it: its token, and what the agent's side needs.

import { randomBytes } from "node:crypto";
import { chmod, lstat, mkdir, rename, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { inspect } from "node:util";

/** What the sessions of one call have in common: variables, which of them hold the proxy, and files. */
export class Surroundings {
  #folder;
  #environment;
  #proxyVariables;

  constructor({ folder, environment, proxyVariables, files }) {
    this.#folder = folder;
    this.#environment = environment;
    this.#proxyVariables = proxyVariables;
    this.files = files;
  }

  /** All variables, with the files in a folder. */
  variables(proxyUrl, folder) {
    if (/[\s"']/.test(folder) && this.#environment.JAVA_TOOL_OPTIONS?.includes(this.#folder)) {
      throw new TypeError("a JVM splits its options at spaces: choose a folder without spaces and quotes");
    }
    const plain = Object.entries(this.#environment).map(([name, value]) => [name, value.replaceAll(this.#folder, () => folder)]);
    return Object.fromEntries([...plain, ...this.#proxyVariables.map((name) => [name, proxyUrl])]);
  }
}

/** A session. With `await using` (where the runtime has it) it is revoked at the end. */
export class Session {
  #client;
  #around;
  #token;
  #proxyUrl;

  constructor(client, minted, around) {
    this.#client = client;
    this.#around = around;
    this.#token = minted.token;
    this.#proxyUrl = minted.proxy_url ?? "";
    this.id = minted.id;
    this.expiresAt = new Date(minted.expires_at);
  }

  /** The token. It is a secret of this session: it belongs into the sandbox and nowhere else. */
  get token() {
    return this.#token;
  }

  /** The gateway with the token in it, as `HTTPS_PROXY` has it; a secret like the token. */
  get proxyUrl() {
    return this.#proxyUrl;
  }

  /** Writes the files into a folder, as `writeFiles` does, and answers with the variables for the agent. */
  async proxyEnv(folder, { inside = undefined } = {}) {
    const absolute = await this.writeFiles(folder);
    return this.variables(inside ?? absolute);
  }

  /** Writes the certificates, and the files of known tools, into a folder; answers with its whole path. */
  async writeFiles(folder) {
    const around = this.#mustHaveEnvironment();
    const absolute = path.resolve(folder);
    await makePrivate(absolute);
    for (const file of around.files) {
      await write(absolute, file);
    }
    return absolute;
  }

  /** The whole environment of a child process: that of this process, or `base`, with `proxyEnv` over it. */
  async childEnv(folder, { base = process.env } = {}) {
    const variables = await this.proxyEnv(folder);
    // This process may have its API key in such a variable.
    const kept = Object.entries(base).filter(([name]) => !name.toUpperCase().startsWith("SORTIE_"));
    return { ...Object.fromEntries(kept), ...variables };
  }

  /** The files by their path below the folder, for whoever writes them otherwise. */
  files() {
    return Object.fromEntries(this.#mustHaveEnvironment().files.map((file) => [file.path, content(file)]));
  }

  /** The variables for an agent that sees the files in this folder. Writes nothing. */
  variables(inside) {
    return this.#mustHaveEnvironment().variables(this.#proxyUrl, withoutSlash(inside));
  }

  /** Gives the session a new token that ends later. Processes that run keep the token that they were given. */
  async renew(ttl) {
    const minted = await this.#client.renew(this.id, ttl);
    // The token has no character that is encoded in a URL.
    this.#proxyUrl = this.#proxyUrl.replace(this.#token, () => minted.token);
    this.#token = minted.token;
    this.expiresAt = new Date(minted.expires_at);
  }

  /** Ends the session on all gateways. Once is as good as twice. */
  async revoke() {
    await this.#client.revoke(this.id);
  }

  async [Symbol.asyncDispose ?? Symbol.for("Symbol.asyncDispose")]() {
    await this.revoke();
  }

  toJSON() {
    return { id: this.id, expiresAt: this.expiresAt };
  }

  [inspect.custom]() {
    return `Session { id: '${this.id}', expiresAt: ${this.expiresAt.toISOString()} }`;
  }

  #mustHaveEnvironment() {
    if (!this.#around) {
      throw new TypeError("the session was minted with environment: false");
    }
    return this.#around;
  }
}

function withoutSlash(folder) {
  return folder.replace(/\/+$/, "");
}

function content(file) {
  return Buffer.from(file.content, file.encoding === "base64" ? "base64" : "utf8");
}

async function makePrivate(folder) {
  await mkdir(folder, { mode: 0o700, recursive: true });
  if (process.platform === "win32") {
    return;
  }
  checkPrivate(folder, await stat(folder));
}

/** A folder inside of one that is private: who may enter that one may enter this. */
async function makeInner(folder) {
  await mkdir(folder, { mode: 0o755, recursive: true });
  const found = await lstat(folder);
  if (!found.isDirectory()) {
    throw new Error(`${folder} is a link`);
  }
  if (process.platform !== "win32") {
    checkPrivate(folder, found);
  }
}

function checkPrivate(folder, found) {
  if (![process.geteuid(), 0].includes(found.uid) || found.mode & 0o022) {
    throw new Error(`${folder} belongs to another user, or others may write to it`);
  }
}

async function write(folder, file) {
  const parts = file.path.split("/");
  // The answer is control's, and still: no file of it stands outside the folder.
  if (parts.some((part) => ["", ".", ".."].includes(part) || path.basename(part) !== part)) {
    throw new Error("control named a file that does not stand in the folder");
  }
  const name = parts.pop();
  for (const part of parts) {
    folder = path.join(folder, part);
    await makeInner(folder);
  }
  const target = path.join(folder, name);
  const fresh = path.join(folder, `.${randomBytes(8).toString("hex")}`);
  try {
    await writeFile(fresh, content(file), { flag: "wx", mode: 0o600 });
    await chmod(fresh, Number.parseInt(file.mode, 8) & 0o755);
    // Whoever reads it meanwhile has the old one or the new one, never a half.
    await rename(fresh, target);
  } catch (error) {
    await rm(fresh, { force: true });
    throw error;
  }
}
