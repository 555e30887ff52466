// Sortie, a credential broker for AI agents: sessions for sandboxes, which hold no credential themselves.

export { BATCH_MAX, Sortie } from "./client.js";
export {
  Conflict,
  ConnectionFailed,
  InvalidArgument,
  LimitReached,
  NotFound,
  PermissionDenied,
  PreconditionFailed,
  RequirementUnmet,
  ServerError,
  SortieError,
  Unauthenticated,
  Unavailable,
} from "./errors.js";
export { Session } from "./session.js";
