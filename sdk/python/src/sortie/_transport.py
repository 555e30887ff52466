"""One call over HTTP, tried again where that can help and cannot harm.

A call is tried again after 429, and, if it may be repeated, after 502, 503, 504 and a broken connection. Between tries
there is a random part of a bound that doubles (full jitter), or what `Retry-After` asks for. The proxy variables of the
environment are not read: this process talks to control, not to the world through a gateway.
"""

from __future__ import annotations

import http.client
import json
import random
import re
import socket
import ssl
import time
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Callable, Mapping, Optional, Tuple
from urllib.parse import urlencode, urlsplit

from .errors import ConnectionFailed, SortieError, from_answer

#: The bound of the first pause, in seconds; it doubles with every try.
PAUSE = 0.2
#: The longest pause, in seconds.
PAUSE_MAX = 10.0
#: A server that asks for a longer wait than this, in seconds, is told to the caller instead.
RETRY_AFTER_MAX = 60.0
#: The largest answer that is read, in bytes.
ANSWER_MAX = 64 * 1024 * 1024

_TRY_AGAIN = (502, 503, 504)


class _NotSent(ConnectionFailed):
    """The connection was not even made."""


class Transport:
    """The way to control. It may be used by several threads: every call has a connection of its own."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout: float,
        attempts: int,
        ca_file: Optional[str],
        allow_http: bool,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise ValueError("the URL of control is http://HOST:PORT or https://HOST:PORT")
        if parts.scheme == "http" and not allow_http and not _is_local(parts.hostname):
            raise ValueError(f"{parts.hostname} is another machine, and http:// would show it the key: use https://, or allow_http=True")
        # http.client would print the whole of a header that it cannot send.
        if not re.fullmatch(r"[\x21-\x7e]+", key):
            raise ValueError("the API key is empty, or has characters that no key has")
        if attempts < 1:
            raise ValueError("attempts is 1 or more")
        self._host, self._port, self._base = parts.hostname, parts.port, parts.path.rstrip("/")
        self._tls = ssl.create_default_context(cafile=ca_file) if parts.scheme == "https" else None
        self._authorization = f"Bearer {key}"
        self._timeout, self._attempts, self._sleep = timeout, attempts, sleep

    def __repr__(self) -> str:
        return f"Transport({self._host!r})"

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Optional[Mapping[str, Any]] = None,
        body: Optional[Mapping[str, Any]] = None,
        repeatable: bool,
    ) -> Any:
        """Makes a call and answers with its JSON. `repeatable`: doing it twice is as good as once."""
        pairs = {name: _text(value) for name, value in (query or {}).items() if value is not None}
        target = self._base + path + ("?" + urlencode(pairs) if pairs else "")
        data = None if body is None else json.dumps(body).encode()
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._once(method, target, data)
            except SortieError as error:
                if attempt >= self._attempts or not _may_help(error, repeatable):
                    raise
                pause = random.uniform(0, min(PAUSE_MAX, PAUSE * 2 ** (attempt - 1)))
                self._sleep(pause + (error.retry_after or 0.0))

    def _once(self, method: str, target: str, data: Optional[bytes]) -> Any:
        status, headers, text = self._send(method, target, data)
        try:
            answer = json.loads(text) if text else None
        except ValueError:
            answer = None
        request_id = headers.get("x-request-id") or ""
        if 200 <= status < 300 and isinstance(answer, dict):
            return answer
        raise from_answer(status, answer, request_id, _retry_after(headers.get("retry-after")))

    def _send(self, method: str, target: str, data: Optional[bytes]) -> Tuple[int, http.client.HTTPMessage, bytes]:
        if self._tls is None:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        else:
            connection = http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._tls)
        where = f"control at {self._host}"
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as error:
            raise SortieError(f"The certificate of {where} is not trusted: {error.verify_message}. Is ca_file right?") from None
        except OSError as error:
            raise _NotSent(f"Cannot reach {where}: {_reason(error)}") from None
        headers = {"Authorization": self._authorization, "Accept": "application/json", "User-Agent": "sortie-python"}
        if data is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, target, body=data, headers=headers)
            answer = connection.getresponse()
            text = answer.read(ANSWER_MAX + 1)
        except (OSError, http.client.HTTPException) as error:
            # Without `from None` a traceback would go through frames that hold the key.
            raise ConnectionFailed(f"The connection to {where} broke: {_reason(error)}") from None
        finally:
            connection.close()
        if len(text) > ANSWER_MAX:
            raise SortieError(f"The answer of {where} is larger than {ANSWER_MAX} bytes")
        return answer.status, answer.headers, text


def _may_help(error: SortieError, repeatable: bool) -> bool:
    if error.retry_after is not None and error.retry_after > RETRY_AFTER_MAX:
        return False
    # 429 and a connection that was not made: nothing was done yet.
    if error.status == 429 or isinstance(error, _NotSent):
        return True
    return repeatable and (error.status in _TRY_AGAIN or isinstance(error, ConnectionFailed))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_local(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _reason(error: BaseException) -> str:
    if isinstance(error, socket.timeout):
        return "it took too long"
    return getattr(error, "strerror", None) or type(error).__name__


def _retry_after(text: Optional[str]) -> Optional[float]:
    """Seconds, or a date (RFC 9110, 10.2.3)."""
    if not text:
        return None
    if text.strip().isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())
