"""The client: mint, renew, revoke and list sessions; every other call is at `Sortie.api`."""

from __future__ import annotations

import os
import secrets
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from . import models
from ._transport import Transport
from .operations import Operations
from .session import Session, Surroundings, Ttl

#: The most sessions that control mints in one call.
BATCH_MAX = 1000
_PAGE = 1000


class Sortie:
    """A tenant of a cluster, seen with a key.

    `url`      where control is; `SORTIE_API_URL`, or port 7300 of this machine
    `api_key`  the key; `SORTIE_API_KEY`, or the file that `SORTIE_API_KEY_FILE` names. It is shown nowhere
    `tenant`   by id or name; `SORTIE_TENANT`, or the key's own
    `timeout`  how long a try waits for a sign of control, in seconds
    `attempts` how often a call is tried at most
    `ca_file`  PEM certificates that control's certificate is verified against, in place of the system's
    `proxy_url` the gateway as agents reach it, in place of the one that control is set to

    It may be used by several threads.
    """

    def __init__(
        self,
        url: Optional[str] = None,
        api_key: Optional[str] = None,
        tenant: Optional[str] = None,
        *,
        timeout: float = 30.0,
        attempts: int = 5,
        ca_file: Optional[str] = None,
        allow_http: bool = False,
        proxy_url: str = "",
    ) -> None:
        transport = Transport(
            url or os.environ.get("SORTIE_API_URL") or "http://127.0.0.1:7300",
            api_key or _key_of_environment(),
            timeout=timeout,
            attempts=attempts,
            ca_file=ca_file,
            allow_http=allow_http,
        )
        self._proxy_url = proxy_url
        #: Every call of the API, as it is.
        self.api = Operations(transport, tenant or os.environ.get("SORTIE_TENANT") or "-")

    def __repr__(self) -> str:
        return "Sortie(…)"

    def mint_session(
        self,
        *,
        vaults: Sequence[str] = ("default",),
        agent: str = "",
        ttl: Optional[Ttl] = None,
        labels: Optional[Mapping[str, str]] = None,
        require: Sequence[str] = (),
        services: Sequence[str] = (),
        user: str = "",
        source_cidr: str = "",
        environment: bool = True,
        proxy_url: str = "",
        no_proxy: Sequence[str] = (),
        trust_store: bool = False,
    ) -> Session:
        """Mints a session.

        `agent`     whose it is; leave it out with an agent's own key
        `ttl`       seconds or a timedelta, 1 minute to 7 days; an hour if it is not given
        `require`   services that must be usable now; otherwise `RequirementUnmet`, and nothing is minted
        `services`  narrows the session to these
        `environment=False` asks for the token alone: the session has no `proxy_env` then
        `no_proxy`  hosts that the agent reaches without the gateway
        `trust_store` adds the roots as a JVM reads them

        If the answer is lost the call is repeated. A session that was minted twice does no harm: a token that nobody
        was given is used by nobody, and ends by itself.
        """
        spec = session_spec(vaults, agent, ttl, labels, require, services, user, source_cidr)
        asked = self._environment(proxy_url, no_proxy, trust_store) if environment else None
        body = models.MintSession(**vars(spec), environment=asked)
        minted = self.api.mint_session(body)
        return Session(self, minted, None if asked is None else _of_one(asked.folder, minted))

    def mint_sessions(
        self,
        sessions: Union[int, Sequence[models.SessionSpec]],
        *,
        vaults: Sequence[str] = ("default",),
        agent: str = "",
        ttl: Optional[Ttl] = None,
        labels: Optional[Mapping[str, str]] = None,
        require: Sequence[str] = (),
        services: Sequence[str] = (),
        user: str = "",
        source_cidr: str = "",
        environment: bool = True,
        proxy_url: str = "",
        no_proxy: Sequence[str] = (),
        trust_store: bool = False,
    ) -> List[Session]:
        """Mints many sessions: so many alike, or one for each `SessionSpec`, in its order.

        A call mints 1,000 sessions of the same vaults at most, all of them or none; more take several calls. If a later
        one fails, the error is raised, and the tokens of those before are given to nobody and end by themselves.
        """
        if isinstance(sessions, int):
            spec = session_spec(vaults, agent, ttl, labels, require, services, user, source_cidr)
            sessions = [spec] * sessions
        made: Dict[int, Session] = {}
        files: Optional[List[models.EnvironmentFile]] = None
        for places in _batches(sessions):
            asked = self._environment(proxy_url, no_proxy, trust_store) if environment else None
            if asked is not None and files is not None:
                asked = replace(asked, without_files=True)
            batch = models.MintSessions([sessions[place] for place in places], environment=asked)
            answer = self.api.mint_sessions(batch)
            around = None
            if asked is not None:
                files = files if files is not None else answer.files
                around = Surroundings(asked.folder, answer.environment, answer.proxy_variables, files)
            made.update((place, Session(self, minted, around)) for place, minted in zip(places, answer.sessions))
        return [made[place] for place in range(len(sessions))]

    def renew(self, session: Union[str, Session], ttl: Optional[Ttl] = None) -> models.MintedSession:
        """A new token of a session, that ends later. `Session.renew` keeps it."""
        return self.api.renew_session(_id(session), models.RenewSession(ttl_seconds=_seconds(ttl)))

    def revoke(self, session: Union[str, Session], *, wait: Optional[Ttl] = None) -> models.Revoked:
        """Ends a session on all gateways. With `wait`, at most 20 seconds, the answer's `enforcement` says how many of
        them enforce it, and names those that have not said so."""
        body = None if wait is None else models.Revoke(wait_seconds=_seconds(wait))
        return self.api.revoke_session(_id(session), body)

    def list_sessions(self, *, agent: Optional[str] = None, include_ended: bool = False) -> Iterator[models.SessionView]:
        """The sessions, newest first, over all pages."""
        token: Optional[str] = None
        while True:
            page = self.api.list_sessions(
                page_size=_PAGE, page_token=token, agent=agent, include_ended=include_ended or None
            )
            yield from page.sessions
            token = page.next_page_token
            if not token:
                return

    def _environment(self, proxy_url: str, no_proxy: Sequence[str], trust_store: bool) -> models.EnvironmentSpec:
        return models.EnvironmentSpec(
            # Where the files will be is known later. What stands for it is replaced then, and is found nowhere else.
            folder=f"/sortie-{secrets.token_hex(16)}",
            proxy_url=proxy_url or self._proxy_url,
            no_proxy=list(no_proxy),
            trust_store=trust_store,
        )


def session_spec(
    vaults: Sequence[str] = ("default",),
    agent: str = "",
    ttl: Optional[Ttl] = None,
    labels: Optional[Mapping[str, str]] = None,
    require: Sequence[str] = (),
    services: Sequence[str] = (),
    user: str = "",
    source_cidr: str = "",
) -> models.SessionSpec:
    """What `mint_sessions` takes for each session; the arguments are those of `mint_session`."""
    if isinstance(vaults, str) or isinstance(require, str) or isinstance(services, str):
        raise TypeError("vaults, require and services are lists of names")
    return models.SessionSpec(
        agent=agent,
        vaults=list(vaults),
        ttl_seconds=_seconds(ttl),
        user=user,
        labels=dict(labels or {}),
        source_cidr=source_cidr,
        services=list(services),
        require=list(require),
    )


def _of_one(folder: str, minted: models.MintedSession) -> Surroundings:
    """A single answer has all variables in one table; those of the proxy change with every renewal."""
    is_proxy = {name: value == minted.proxy_url for name, value in minted.environment.items()}
    rest = {name: value for name, value in minted.environment.items() if not is_proxy[name]}
    return Surroundings(folder, rest, [name for name in is_proxy if is_proxy[name]], minted.files)


def _batches(sessions: Sequence[models.SessionSpec]) -> Iterator[List[int]]:
    """The places of sessions with the same vaults, 1,000 at most."""
    groups: Dict[Tuple[str, ...], List[int]] = {}
    for place, spec in enumerate(sessions):
        groups.setdefault(tuple(spec.vaults), []).append(place)
    for group in groups.values():
        for start in range(0, len(group), BATCH_MAX):
            yield group[start : start + BATCH_MAX]


def _seconds(ttl: Optional[Ttl]) -> int:
    if isinstance(ttl, timedelta):
        return int(ttl.total_seconds())
    return ttl or 0


def _id(session: Union[str, Session]) -> str:
    return session.id if isinstance(session, Session) else session


def _key_of_environment() -> str:
    key = os.environ.get("SORTIE_API_KEY")
    file = os.environ.get("SORTIE_API_KEY_FILE")
    if not key and file:
        key = Path(file).read_text(encoding="utf-8").strip()
    if not key:
        raise ValueError("no API key: pass api_key, or set SORTIE_API_KEY or SORTIE_API_KEY_FILE")
    return key
