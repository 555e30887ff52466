// What can go wrong. Every error is a `SortieError`; nothing in one is a key, a token or a value.

/** A call was refused, or failed. */
export class SortieError extends Error {
  constructor(detail, { status = 0, code = "", errors = [], requestId = "", retryAfter = undefined } = {}) {
    const fields = errors.map((error) => `\n  ${error.field}: ${error.message}`).join("");
    super((code ? `${code}: ` : "") + detail + fields + (requestId ? `\n  request ${requestId}` : ""));
    this.name = this.constructor.name;
    this.detail = detail;
    this.status = status;
    this.code = code;
    this.errors = errors;
    this.requestId = requestId;
    this.retryAfter = retryAfter;
  }
}

/** No answer came: the server is not there, or the connection broke, or it took too long. */
export class ConnectionFailed extends SortieError {}
/** Fields that cannot be accepted. */
export class InvalidArgument extends SortieError {}
/** No key, or not a valid one. */
export class Unauthenticated extends SortieError {}
/** The caller, or the agent, may not do this. */
export class PermissionDenied extends SortieError {}
/** No such object, or not for this caller. */
export class NotFound extends SortieError {}
/** Something else is in the way. */
export class Conflict extends SortieError {}
/** The state of things does not allow it. */
export class PreconditionFailed extends SortieError {}
/** A service that a session requires cannot be used. Nothing was minted. */
export class RequirementUnmet extends PreconditionFailed {}
/** A quota or a limit. */
export class LimitReached extends SortieError {}
/** The other side failed. */
export class ServerError extends SortieError {}
/** The other side cannot answer now. */
export class Unavailable extends ServerError {}

const BY_CODE = new Map([["requirement_unmet", RequirementUnmet]]);
const BY_STATUS = new Map([
  [400, InvalidArgument],
  [401, Unauthenticated],
  [403, PermissionDenied],
  [404, NotFound],
  [409, Conflict],
  [412, PreconditionFailed],
  [413, InvalidArgument],
  [429, LimitReached],
  [502, Unavailable],
  [503, Unavailable],
  [504, Unavailable],
]);

/** The error of an answer (RFC 9457), or of something that is not control's answer. Not exported by the package. */
export function fromAnswer(status, problem, requestId, retryAfter) {
  const byStatus = BY_STATUS.get(status) ?? (status >= 500 ? ServerError : SortieError);
  if (typeof problem?.code !== "string") {
    const detail = `The answer has status ${status} and is not one of control. Is the URL that of its API?`;
    return new byStatus(detail, { status, requestId, retryAfter });
  }
  const errors = (Array.isArray(problem.errors) ? problem.errors : []).map((error) => ({
    field: String(error?.field ?? ""),
    message: String(error?.message ?? ""),
  }));
  const Kind = BY_CODE.get(problem.code) ?? byStatus;
  return new Kind(String(problem.detail ?? ""), { status, code: problem.code, errors, requestId, retryAfter });
}
