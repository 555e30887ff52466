"""A session, as an orchestrator holds it: its token, and what the agent's side needs."""

from __future__ import annotations

import base64
import os
import re
import stat
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Union

from . import models

if TYPE_CHECKING:
    from .client import Sortie

#: Seconds, or a span of time.
Ttl = Union[int, timedelta]


class Surroundings:
    """What the sessions of one call have in common: variables, which of them hold the proxy, and files."""

    def __init__(
        self,
        folder: str,
        environment: Mapping[str, str],
        proxy_variables: List[str],
        files: List[models.EnvironmentFile],
    ) -> None:
        self._folder = folder
        self._environment = dict(environment)
        self._proxy_variables = proxy_variables
        self.files = files

    def variables(self, proxy_url: str, folder: str) -> Dict[str, str]:
        """All variables, with the files in a folder."""
        if re.search(r"[\s\"']", folder) and self._folder in self._environment.get("JAVA_TOOL_OPTIONS", ""):
            raise ValueError("a JVM splits its options at spaces: choose a folder without spaces and quotes")
        found = {name: value.replace(self._folder, folder) for name, value in self._environment.items()}
        found.update((name, proxy_url) for name in self._proxy_variables)
        return found


class Session:
    """A session. As a context manager it is revoked at the end:

    with sortie.mint_session(vaults=["default"]) as session:
        subprocess.run(["agent"], env=session.child_env("/tmp/agent-1"))
    """

    #: Its id.
    id: str
    #: When its token ends.
    expires_at: datetime

    def __init__(self, client: Sortie, minted: models.MintedSession, around: Optional[Surroundings]) -> None:
        self._client = client
        self._around = around
        self.id = minted.id
        self._token = minted.token
        self._proxy_url = minted.proxy_url
        self.expires_at = _instant(minted.expires_at)

    def __repr__(self) -> str:
        return f"Session(id={self.id!r}, expires_at={self.expires_at.isoformat()})"

    def __getstate__(self) -> Any:
        raise TypeError("a session holds a token and is not pickled: hand over what proxy_env() answers")

    @property
    def token(self) -> str:
        """The token. It is a secret of this session: it belongs into the sandbox and nowhere else."""
        return self._token

    @property
    def proxy_url(self) -> str:
        """The gateway with the token in it, as `HTTPS_PROXY` has it; a secret like the token."""
        return self._proxy_url

    def proxy_env(self, folder: Union[str, "os.PathLike[str]"], *, inside: Optional[str] = None) -> Dict[str, str]:
        """Writes the files into a folder, as `write_files` does, and answers with the variables for the agent.

        `inside` is where the agent sees the folder, if that is somewhere else, as a volume of a container is.

        These are variables to add. `child_env` has those of this process as well.
        """
        path = self.write_files(folder)
        return self.variables(inside or str(path))

    def write_files(self, folder: Union[str, "os.PathLike[str]"]) -> Path:
        """Writes the certificates, and the files of known tools with placeholders in them, into a folder; answers with its
        whole path.

        The folder is made if it is not there, for this user alone. One that others may write to is refused: who can
        change the bundle decides whom the agent trusts. `variables` says what leads the agent there.
        """
        path = Path(os.path.abspath(os.fspath(folder)))
        around = self._must_have_environment()
        _make_private(path)
        for file in around.files:
            _write(path, file)
        return path

    def child_env(
        self,
        folder: Union[str, "os.PathLike[str]"],
        *,
        base: Optional[Mapping[str, str]] = None,
    ) -> Dict[str, str]:
        """The whole environment of a child process: that of this process, or `base`, with `proxy_env` over it.

        What is named `SORTIE_…` is left out: this process may have its API key there.
        """
        variables = self.proxy_env(folder)
        kept = os.environ if base is None else base
        kept = {name: value for name, value in kept.items() if not name.upper().startswith("SORTIE_")}
        return {**kept, **variables}

    def files(self) -> Dict[str, bytes]:
        """The files by their path below the folder, for whoever writes them otherwise: into an image, a volume, a secret.
        A path may have folders in it, with slashes. The variables for them are those of `variables`."""
        return {file.path: _content(file) for file in self._must_have_environment().files}

    def variables(self, inside: str) -> Dict[str, str]:
        """The variables for an agent that sees the files in this folder. Writes nothing."""
        return self._must_have_environment().variables(self._proxy_url, inside.rstrip("/"))

    def renew(self, ttl: Optional[Ttl] = None) -> None:
        """Gives the session a new token that ends later. Processes that run keep the token that they were given."""
        minted = self._client.renew(self.id, ttl)
        # The token is percent-encoded in the URL, and has no character that this changes.
        self._proxy_url = self._proxy_url.replace(self._token, minted.token)
        self._token = minted.token
        self.expires_at = _instant(minted.expires_at)

    def revoke(self) -> None:
        """Ends the session on all gateways. Once is as good as twice."""
        self._client.revoke(self.id)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.revoke()

    def _must_have_environment(self) -> Surroundings:
        if self._around is None:
            raise ValueError("the session was minted with environment=False")
        return self._around


def _instant(text: str) -> datetime:
    # Before Python 3.11 `fromisoformat` knows neither Z nor nanoseconds.
    head, _, rest = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{head}.{(rest + '000000')[:6]}+00:00")


def _content(file: models.EnvironmentFile) -> bytes:
    return base64.b64decode(file.content) if file.encoding == "base64" else file.content.encode()


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.name != "posix":
        return
    _check_private(folder, folder.stat())


def _make_inner(folder: Path) -> None:
    """A folder inside of one that is private: who may enter that one may enter this."""
    folder.mkdir(mode=0o755, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise ValueError(f"{folder} is a link")
    if os.name == "posix":
        _check_private(folder, found)


def _check_private(folder: Path, found: os.stat_result) -> None:
    if found.st_uid not in (os.geteuid(), 0) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ValueError(f"{folder} belongs to another user, or others may write to it")


def _write(folder: Path, file: models.EnvironmentFile) -> None:
    parts = file.path.split("/")
    # The answer is control's, and still: no file of it stands outside the folder.
    if any(part in ("", ".", "..") or Path(part).name != part for part in parts):
        raise ValueError("control named a file that does not stand in the folder")
    for part in parts[:-1]:
        folder = folder / part
        _make_inner(folder)
    target = folder / parts[-1]
    handle, name = tempfile.mkstemp(dir=folder)
    try:
        with os.fdopen(handle, "wb") as open_file:
            open_file.write(_content(file))
        os.chmod(name, int(file.mode, 8) & 0o755)
        # Whoever reads it meanwhile has the old one or the new one, never a half.
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise
