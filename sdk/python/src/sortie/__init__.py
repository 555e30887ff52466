"""Sortie, a credential broker for AI agents: sessions for sandboxes, which hold no credential themselves.

from sortie import Sortie

sortie = Sortie()  # SORTIE_API_URL, SORTIE_API_KEY
with sortie.mint_session(vaults=["default"], require=["github"]) as session:
    subprocess.run(["agent"], env=session.child_env("/tmp/agent-1"))
"""

from . import models
from .client import BATCH_MAX, Sortie, session_spec
from .errors import (
    Conflict,
    ConnectionFailed,
    FieldError,
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
)
from .session import Session

__version__ = "0.1.0"

__all__ = [
    "BATCH_MAX",
    "Conflict",
    "ConnectionFailed",
    "FieldError",
    "InvalidArgument",
    "LimitReached",
    "NotFound",
    "PermissionDenied",
    "PreconditionFailed",
    "RequirementUnmet",
    "ServerError",
    "Session",
    "Sortie",
    "SortieError",
    "Unauthenticated",
    "Unavailable",
    "models",
    "session_spec",
]
