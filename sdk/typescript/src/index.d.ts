// The types of the package. `models.d.ts` and `operations.d.ts` are generated; these are by hand, as the code is.

import type { MintedSession, Revoked, SessionView } from "./models.js";
import type { Operations } from "./operations.js";

export type * from "./models.js";
export type { Operations } from "./operations.js";

/** The most sessions that control mints in one call. */
export const BATCH_MAX: 1000;

/** Where control is, and who asks. */
export interface SortieOptions {
  /** Where control is; `SORTIE_API_URL`, or port 7300 of this machine. */
  url?: string | undefined;
  /** The key; `SORTIE_API_KEY`, or the file that `SORTIE_API_KEY_FILE` names. It is shown nowhere. */
  apiKey?: string | undefined;
  /** By id or name; `SORTIE_TENANT`, or the key's own. */
  tenant?: string | undefined;
  /** Of one try, in milliseconds; 30,000. */
  timeout?: number | undefined;
  /** How often a call is tried at most; 5. */
  attempts?: number | undefined;
  /** Sends the key over plain HTTP to another machine. */
  allowHttp?: boolean | undefined;
  /** The gateway as agents reach it, in place of the one that control is set to. */
  proxyUrl?: string | undefined;
  /** In place of the global `fetch`, for a private certificate authority or a test. */
  fetch?: typeof globalThis.fetch | undefined;
}

/** A session that is wanted. */
export interface SessionOptions {
  /** 1 to 8; `["default"]`. */
  vaults?: string[] | undefined;
  /** Whose it is; leave it out with an agent's own key. */
  agent?: string | undefined;
  /** How long it lasts, in seconds: 60 to 604,800; 3,600. */
  ttl?: number | undefined;
  /** At most 512 bytes, keys and values together. */
  labels?: Record<string, string> | undefined;
  /** Services that must be usable now; otherwise `RequirementUnmet`, and nothing is minted. */
  require?: string[] | undefined;
  /** Narrows the session to these services. */
  services?: string[] | undefined;
  /** The person that it is for; needs an agent that is a delegate. */
  user?: string | undefined;
  /** The network that it may be used from. */
  sourceCidr?: string | undefined;
}

/** What its agent's side needs. */
export interface EnvironmentOptions {
  /** `false` asks for the token alone: the session has no `proxyEnv` then. */
  environment?: boolean | undefined;
  /** The gateway as the agent reaches it. */
  proxyUrl?: string | undefined;
  /** Hosts that the agent reaches without the gateway. */
  noProxy?: string[] | undefined;
  /** Adds the roots as a JVM reads them. */
  trustStore?: boolean | undefined;
}

/** A tenant of a cluster, seen with a key. */
export class Sortie {
  constructor(options?: SortieOptions);
  /** Every call of the API, as it is. */
  readonly api: Operations;
  /**
   * Mints a session. If the answer is lost the call is repeated: a session that was minted twice does no harm, since a
   * token that nobody was given is used by nobody, and ends by itself.
   */
  mintSession(options?: SessionOptions & EnvironmentOptions): Promise<Session>;
  /**
   * Mints many sessions: so many alike, or one for each description, in its order; what a description leaves out comes
   * from the options. A call mints 1,000 sessions of the same vaults at most, all of them or none; more take several
   * calls. If a later one fails it throws, and the tokens of those before are given to nobody and end by themselves.
   */
  mintSessions(sessions: number | SessionOptions[], options?: SessionOptions & EnvironmentOptions): Promise<Session[]>;
  /** A new token of a session, that ends later. `Session.renew` keeps it. */
  renew(session: string | Session, ttl?: number): Promise<MintedSession>;
  /** Ends a session on all gateways. */
  /** `wait`: so many seconds, at most 20, until gateways enforce it. */
  revoke(session: string | Session, options?: { wait?: number }): Promise<Revoked>;
  /** The sessions, newest first, over all pages. */
  listSessions(options?: { agent?: string | undefined; includeEnded?: boolean | undefined }): AsyncGenerator<SessionView, void, void>;
}

/** A session. With `await using`, where the runtime has it, it is revoked at the end. */
export class Session {
  private constructor();
  readonly id: string;
  /** When its token ends. */
  readonly expiresAt: Date;
  /** The token. It is a secret of this session: it belongs into the sandbox and nowhere else. */
  readonly token: string;
  /** The gateway with the token in it, as `HTTPS_PROXY` has it; a secret like the token. */
  readonly proxyUrl: string;
  /**
   * Writes the files into a folder, as `writeFiles` does, and answers with the variables for the agent. `inside` is where
   * the agent sees the folder, if that is somewhere else, as a volume of a container is.
   */
  proxyEnv(folder: string, options?: { inside?: string | undefined }): Promise<Record<string, string>>;
  /**
   * The whole environment of a child process: that of this process, or `base`, with `proxyEnv` over it. What is named
   * `SORTIE_…` is left out: this process may have its API key there.
   */
  childEnv(folder: string, options?: { base?: Record<string, string | undefined> | undefined }): Promise<Record<string, string>>;
  /**
   * Writes the certificates, and the files of known tools with placeholders in them, into a folder; answers with its whole
   * path. The folder is made if it is not there, for this user alone. One that others may write to is refused: who can
   * change the bundle decides whom the agent trusts. `variables` says what leads the agent there.
   */
  writeFiles(folder: string): Promise<string>;
  /**
   * The files by their path below the folder, for whoever writes them otherwise: into an image, a volume, a secret. A path
   * may have folders in it, with slashes.
   */
  files(): Record<string, Buffer>;
  /** The variables for an agent that sees the files in this folder. Writes nothing. */
  variables(inside: string): Record<string, string>;
  /** Gives the session a new token that ends later. Processes that run keep the token that they were given. */
  renew(ttl?: number): Promise<void>;
  /** Ends the session on all gateways. Once is as good as twice. */
  revoke(): Promise<void>;
  /** What may be shown of it: no token. */
  toJSON(): { id: string; expiresAt: Date };
}

/** A field of the request that cannot be accepted. */
export interface FieldError {
  /** Its path, such as `sessions[3].ttl_seconds`. */
  field: string;
  /** What it must be, or what to do. */
  message: string;
}

/** A call was refused, or failed. Nothing in it is a key, a token or a value. */
export class SortieError extends Error {
  /** What happened and what to do next, for people. */
  readonly detail: string;
  /** The HTTP status; 0 if there was no answer. */
  readonly status: number;
  /** Why, for programs (docs/errors.md). Empty if it was not control that answered. */
  readonly code: string;
  /** The fields that cannot be accepted. */
  readonly errors: FieldError[];
  /** The id of the answer, to quote in a report; empty if there was none. */
  readonly requestId: string;
  /** How long the server asked to wait, in seconds. */
  readonly retryAfter?: number;
}
/** No answer came: the server is not there, or the connection broke, or it took too long. */
export class ConnectionFailed extends SortieError {}
/** 400: `errors` names each field. */
export class InvalidArgument extends SortieError {}
/** 401: no key, or not a valid one. */
export class Unauthenticated extends SortieError {}
/** 403: this key's role, the agent's role, or something is switched off. */
export class PermissionDenied extends SortieError {}
/** 404: no such object, or not for this caller. */
export class NotFound extends SortieError {}
/** 409: the name is taken, or two services claim the same requests. */
export class Conflict extends SortieError {}
/** 412: the state of things does not allow it. */
export class PreconditionFailed extends SortieError {}
/** 412: a service that a session requires cannot be used; `errors` says what mends it. Nothing was minted. */
export class RequirementUnmet extends PreconditionFailed {}
/** 429: a quota or a limit. */
export class LimitReached extends SortieError {}
/** 5xx: the other side failed. */
export class ServerError extends SortieError {}
/** 502, 503, 504: it was tried again already. */
export class Unavailable extends ServerError {}
