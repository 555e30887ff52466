"""What can go wrong. Every error is a `SortieError`; nothing in one is a key, a token or a value.

    SortieError
      ConnectionFailed        no answer came
      InvalidArgument         400: `errors` names each field
      Unauthenticated         401: no key, or not a valid one
      PermissionDenied        403: this key's role, the agent's role, or something is switched off
      NotFound                404
      Conflict                409: the name is taken, or two services claim the same requests
      PreconditionFailed      412: the state does not allow it
        RequirementUnmet      412: a service that a session requires cannot be used; `errors` says what mends it
      LimitReached            429
      ServerError             5xx
        Unavailable           502, 503, 504: it was tried again already
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Mapping, Optional, Sequence, Type


@dataclass(frozen=True)
class FieldError:
    """A field of the request that cannot be accepted."""

    #: Its path, such as `sessions[3].ttl_seconds`.
    field: str
    #: What it must be, or what to do.
    message: str


class SortieError(Exception):
    """A call was refused, or failed."""

    #: The HTTP status; 0 if there was no answer.
    status: int
    #: Why, for programs (docs/errors.md). Empty if it was not control that answered.
    code: str
    #: What happened and what to do next, for people.
    detail: str
    #: The fields that cannot be accepted.
    errors: List[FieldError]
    #: The id of the answer, to quote in a report; empty if there was none.
    request_id: str
    #: How long the server asked to wait, in seconds.
    retry_after: Optional[float]

    def __init__(
        self,
        detail: str,
        *,
        status: int = 0,
        code: str = "",
        errors: Sequence[FieldError] = (),
        request_id: str = "",
        retry_after: Optional[float] = None,
    ) -> None:
        self.detail = detail
        self.status = status
        self.code = code
        self.errors = list(errors)
        self.request_id = request_id
        self.retry_after = retry_after
        super().__init__(detail)

    def __str__(self) -> str:
        text = f"{self.code}: {self.detail}" if self.code else self.detail
        text += "".join(f"\n  {error.field}: {error.message}" for error in self.errors)
        return f"{text}\n  request {self.request_id}" if self.request_id else text


class ConnectionFailed(SortieError):
    """No answer came: the server is not there, or the connection broke, or it took too long."""


class InvalidArgument(SortieError):
    """Fields that cannot be accepted."""


class Unauthenticated(SortieError):
    """No key, or not a valid one."""


class PermissionDenied(SortieError):
    """The caller, or the agent, may not do this."""


class NotFound(SortieError):
    """No such object, or not for this caller."""


class Conflict(SortieError):
    """Something else is in the way."""


class PreconditionFailed(SortieError):
    """The state of things does not allow it."""


class RequirementUnmet(PreconditionFailed):
    """A service that a session requires cannot be used. Nothing was minted."""


class LimitReached(SortieError):
    """A quota or a limit."""


class ServerError(SortieError):
    """The other side failed."""


class Unavailable(ServerError):
    """The other side cannot answer now."""


_BY_CODE = {"requirement_unmet": RequirementUnmet}
_BY_STATUS = {
    400: InvalidArgument,
    401: Unauthenticated,
    403: PermissionDenied,
    404: NotFound,
    409: Conflict,
    412: PreconditionFailed,
    413: InvalidArgument,
    429: LimitReached,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def from_answer(status: int, problem: Any, request_id: str, retry_after: Optional[float]) -> SortieError:
    """The error of an answer (RFC 9457), or of something that is not control's answer."""
    if not isinstance(problem, Mapping) or not isinstance(problem.get("code"), str):
        kind: Type[SortieError] = _BY_STATUS.get(status, ServerError if status >= 500 else SortieError)
        detail = f"The answer has status {status} and is not one of control. Is the URL that of its API?"
        return kind(detail, status=status, request_id=request_id, retry_after=retry_after)
    code = problem["code"]
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status) or (ServerError if status >= 500 else SortieError)
    errors = [
        FieldError(str(one.get("field", "")), str(one.get("message", "")))
        for one in problem.get("errors") or []
        if isinstance(one, Mapping)
    ]
    return kind(
        str(problem.get("detail", "")),
        status=status,
        code=code,
        errors=errors,
        request_id=request_id,
        retry_after=retry_after,
    )
