// One call over HTTP, tried again where that can help and cannot harm.
//
// A call is tried again after 429, and, if it may be repeated, after 502, 503, 504 and a broken connection. Between
// tries there is a random part of a bound that doubles (full jitter), or what `Retry-After` asks for.

import { setTimeout as wait } from "node:timers/promises";

import { ConnectionFailed, fromAnswer } from "./errors.js";

/** The bound of the first pause, in milliseconds; it doubles with every try. */
const PAUSE = 200;
/** The longest pause, in milliseconds. */
const PAUSE_MAX = 10_000;
/** A server that asks for a longer wait than this, in seconds, is told to the caller instead. */
const RETRY_AFTER_MAX = 60;

const TRY_AGAIN = [502, 503, 504];
/** What fetch reports when no byte was sent. */
const NOT_SENT = ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "UND_ERR_CONNECT_TIMEOUT"];

/** The way to control. The key is in a private field: nothing prints it. */
export class Transport {
  #url;
  #key;
  #timeout;
  #attempts;
  #fetch;
  #sleep;

  constructor({ url, key, timeout, attempts, allowHttp, fetch, sleep = wait }) {
    const parsed = URL.canParse(url) ? new URL(url) : undefined;
    if (!parsed || !["http:", "https:"].includes(parsed.protocol) || parsed.username || parsed.search) {
      throw new TypeError("the URL of control is http://HOST:PORT or https://HOST:PORT");
    }
    if (parsed.protocol === "http:" && !allowHttp && !isLocal(parsed.hostname)) {
      const why = "is another machine, and http:// would show it the key: use https://, or allowHttp";
      throw new TypeError(`${parsed.hostname} ${why}`);
    }
    // fetch would print the whole of a header that it cannot send.
    if (!/^[\x21-\x7e]+$/.test(key)) {
      throw new TypeError("the API key is empty, or has characters that no key has");
    }
    if (!(attempts >= 1)) {
      throw new TypeError("attempts is 1 or more");
    }
    this.#url = parsed.href.replace(/\/+$/, "");
    this.#key = key;
    this.#timeout = timeout;
    this.#attempts = attempts;
    this.#fetch = fetch;
    this.#sleep = sleep;
  }

  /** Makes a call and answers with its JSON. `repeatable`: doing it twice is as good as once. */
  async call(method, path, { query = {}, body = undefined, repeatable }) {
    const pairs = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
    const search = new URLSearchParams(pairs.map(([name, value]) => [name, String(value)])).toString();
    const target = this.#url + path + (search ? `?${search}` : "");
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#once(method, target, body);
      } catch (error) {
        if (attempt >= this.#attempts || !mayHelp(error, repeatable)) {
          throw error;
        }
        const pause = Math.random() * Math.min(PAUSE_MAX, PAUSE * 2 ** (attempt - 1));
        await this.#sleep(pause + (error.retryAfter ?? 0) * 1000);
      }
    }
  }

  async #once(method, target, body) {
    const { status, headers, text } = await this.#send(method, target, body);
    let answer;
    try {
      answer = JSON.parse(text);
    } catch {
      answer = undefined;
    }
    if (status >= 200 && status < 300 && typeof answer === "object" && answer !== null) {
      return answer;
    }
    throw fromAnswer(status, answer, headers.get("x-request-id") ?? "", retryAfter(headers.get("retry-after")));
  }

  async #send(method, target, body) {
    const headers = { authorization: `Bearer ${this.#key}`, accept: "application/json", "user-agent": "sortie-js" };
    if (body !== undefined) {
      headers["content-type"] = "application/json";
    }
    try {
      const answer = await this.#fetch(target, {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        // Another place must not get the key.
        redirect: "manual",
        signal: AbortSignal.timeout(this.#timeout),
      });
      return { status: answer.status, headers: answer.headers, text: await answer.text() };
    } catch (error) {
      // The cause is left out: it could hold the request.
      const reason = error?.cause?.code ?? error?.name ?? "unknown";
      const failed = new ConnectionFailed(`No answer from control at ${new URL(target).host}: ${reason}`);
      failed.notSent = NOT_SENT.includes(reason);
      Object.defineProperty(failed, "notSent", { enumerable: false });
      throw failed;
    }
  }
}

function mayHelp(error, repeatable) {
  if (error.retryAfter > RETRY_AFTER_MAX) {
    return false;
  }
  // 429 and a connection that was not made: nothing was done yet.
  if (error.status === 429 || error.notSent) {
    return true;
  }
  return repeatable && (TRY_AGAIN.includes(error.status) || error instanceof ConnectionFailed);
}

function isLocal(host) {
  return host === "localhost" || host === "[::1]" || host.startsWith("127.");
}

/** Seconds, or a date (RFC 9110, 10.2.3). */
function retryAfter(text) {
  if (!text) {
    return undefined;
  }
  if (/^\s*\d+\s*$/.test(text)) {
    return Number(text);
  }
  const moment = Date.parse(text);
  return Number.isNaN(moment) ? undefined : Math.max(0, (moment - Date.now()) / 1000);
}
