// The client: mint, renew, revoke and list sessions; every other call is at `Sortie.api`.

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";

import { Operations } from "./operations.js";
import { Session, Surroundings } from "./session.js";
import { Transport } from "./transport.js";

/** The most sessions that control mints in one call. */
export const BATCH_MAX = 1000;
const PAGE = 1000;

/** A tenant of a cluster, seen with a key. */
export class Sortie {
  #proxyUrl;

  constructor({
    url = process.env.SORTIE_API_URL || "http://127.0.0.1:7300",
    apiKey = undefined,
    tenant = process.env.SORTIE_TENANT || "-",
    timeout = 30_000,
    attempts = 5,
    allowHttp = false,
    proxyUrl = "",
    fetch = globalThis.fetch,
  } = {}) {
    const key = apiKey ?? keyOfEnvironment();
    this.#proxyUrl = proxyUrl;
    this.api = new Operations(new Transport({ url, key, timeout, attempts, allowHttp, fetch }), tenant);
  }

  /** Mints a session. */
  async mintSession({ environment = true, proxyUrl = "", noProxy = [], trustStore = false, ...session } = {}) {
    const asked = environment ? this.#environment(proxyUrl, noProxy, trustStore) : undefined;
    const minted = await this.api.mintSession({ ...spec(session), ...(asked && { environment: asked }) });
    return new Session(this, minted, asked && ofOne(asked.folder, minted));
  }

  /** Mints many sessions: so many alike, or one for each description, in its order. */
  async mintSessions(sessions, { environment = true, proxyUrl = "", noProxy = [], trustStore = false, ...session } = {}) {
    const specs =
      typeof sessions === "number" ? Array(sessions).fill(spec(session)) : sessions.map((one) => spec({ ...session, ...one }));
    const made = Array(specs.length);
    let files;
    for (const places of batches(specs)) {
      const asked = environment ? this.#environment(proxyUrl, noProxy, trustStore) : undefined;
      if (asked && files) {
        asked.without_files = true;
      }
      const body = { sessions: places.map((place) => specs[place]), ...(asked && { environment: asked }) };
      const answer = await this.api.mintSessions(body);
      let around;
      if (asked) {
        files ??= answer.files ?? [];
        around = new Surroundings({
          folder: asked.folder,
          environment: answer.environment ?? {},
          proxyVariables: answer.proxy_variables ?? [],
          files,
        });
      }
      answer.sessions.forEach((minted, index) => {
        made[places[index]] = new Session(this, minted, around);
      });
    }
    return made;
  }

  /** A new token of a session, that ends later. `Session.renew` keeps it. */
  renew(session, ttl) {
    return this.api.renewSession(idOf(session), ttl === undefined ? {} : { ttl_seconds: ttl });
  }

  /**
   * Ends a session on all gateways. With `wait`, at most 20 seconds, the answer's `enforcement` says how many of them
   * enforce it, and names those that have not said so.
   */
  revoke(session, { wait = undefined } = {}) {
    return this.api.revokeSession(idOf(session), wait === undefined ? undefined : { wait_seconds: wait });
  }

  /** The sessions, newest first, over all pages. */
  async *listSessions({ agent = undefined, includeEnded = undefined } = {}) {
    let token;
    do {
      const query = { page_size: PAGE, page_token: token, agent, include_ended: includeEnded };
      const page = await this.api.listSessions(query);
      yield* page.sessions;
      token = page.next_page_token;
    } while (token);
  }

  #environment(proxyUrl, noProxy, trustStore) {
    return {
      // Where the files will be is known later. What stands for it is replaced then, and is found nowhere else.
      folder: `/sortie-${randomBytes(16).toString("hex")}`,
      proxy_url: proxyUrl || this.#proxyUrl,
      no_proxy: noProxy,
      trust_store: trustStore,
    };
  }
}

function spec({ vaults = ["default"], agent, ttl, labels, require, services, user, sourceCidr }) {
  const all = { vaults, agent, ttl_seconds: ttl, labels, require, services, user, source_cidr: sourceCidr };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

/** A single answer has all variables in one table; those of the proxy change with every renewal. */
function ofOne(folder, minted) {
  const pairs = Object.entries(minted.environment ?? {});
  const isProxy = ([, value]) => value === minted.proxy_url;
  return new Surroundings({
    folder,
    environment: Object.fromEntries(pairs.filter((pair) => !isProxy(pair))),
    proxyVariables: pairs.filter(isProxy).map(([name]) => name),
    files: minted.files ?? [],
  });
}

/** The places of sessions with the same vaults, 1,000 at most. */
function* batches(specs) {
  const groups = new Map();
  specs.forEach((one, place) => {
    const vaults = JSON.stringify(one.vaults);
    groups.set(vaults, [...(groups.get(vaults) ?? []), place]);
  });
  for (const group of groups.values()) {
    for (let start = 0; start < group.length; start += BATCH_MAX) {
      yield group.slice(start, start + BATCH_MAX);
    }
  }
}

function idOf(session) {
  return typeof session === "string" ? session : session.id;
}

function keyOfEnvironment() {
  const { SORTIE_API_KEY: key, SORTIE_API_KEY_FILE: file } = process.env;
  const found = key || (file && readFileSync(file, "utf8").trim());
  if (!found) {
    throw new TypeError("no API key: pass apiKey, or set SORTIE_API_KEY or SORTIE_API_KEY_FILE");
  }
  return found;
}
