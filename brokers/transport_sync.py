"""The synchronous transport: an adapter's request over ``requests`` to a broker.

For everything off the critical path (logins, instrument files, console quotes); the entry second
has its own sender. No redirects, no proxies or credentials from the environment, no retries, limits
on bytes and time. A failure says whether anything can have arrived: I3 (no second send without
proof).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter

from brokers import dial, tls
from brokers.base import HttpRequest, HttpResponse, Outcome
from brokers.routes import Route
from brokers.wire_values import MAX_BODY_BYTES
from quantleap.core import clock

CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 10.0
_CHUNK: Final = 64 * 1024


class TransportError(Exception):
    """No answer. ``outcome`` is NOT_SENT if no byte can have reached the broker, otherwise
    UNKNOWN."""

    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.message = message


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one call: seconds to connect, seconds for the whole answer, bytes of it."""

    connect: float = CONNECT_SECONDS
    read: float = READ_SECONDS
    max_bytes: int = MAX_BODY_BYTES


class _Wire(HTTPAdapter):
    """Our TLS setting, no retries, and the source address by which brokers identify a customer."""

    def __init__(self, source: str = "") -> None:
        self._source = source
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Like requests, bound to the source address."""
        if self._source:
            kwargs["source_address"] = (self._source, 0)
        super().init_poolmanager(*args, ssl_context=tls.context(), **kwargs)
        self.poolmanager.pool_classes_by_scheme = dial.POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Like requests, with our context for the broker's certificate at the end of a proxy's
        tunnel."""
        manager = super().proxy_manager_for(proxy, ssl_context=tls.context(), **kwargs)
        manager.pool_classes_by_scheme = dial.POOLS
        return manager

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """The context knows which certificates to trust; requests would add its own bundle."""
        conn.cert_reqs = "CERT_REQUIRED"


def send(
    request: HttpRequest, *, base_url: str, egress: str = "", limits: Limits | None = None
) -> HttpResponse:
    """The broker's answer to ``request``, whatever its status; TransportError if there is none.

    ``egress`` is the account's proxy address (``http://...``) or source IP address, or empty.
    """
    with _session(egress) as session:
        return _exchange(session, request, base_url, limits or Limits())


class Line:
    """Kept connections for repeated *reads* (quotes). One thread at a time.

    A connection that the broker closed while idle is reopened once: a read may be sent twice, a
    write never goes through here.
    """

    def __init__(self) -> None:
        self._session = _plain_session()
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def send(
        self, request: HttpRequest, *, base_url: str, limits: Limits | None = None
    ) -> HttpResponse:
        """Like :func:`send`, over a kept connection."""
        try:
            return _exchange(self._session, request, base_url, limits or Limits())
        except TransportError as error:
            if not isinstance(error.__cause__, requests.exceptions.ConnectionError):
                raise
            return _exchange(self._session, request, base_url, limits or Limits())

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


def _exchange(
    session: requests.Session, request: HttpRequest, base_url: str, limits: Limits
) -> HttpResponse:
    deadline = clock.monotonic() + limits.connect + limits.read
    with (
        _mapped_errors(),
        session.request(
            request.method,
            base_url + request.path,
            data=request.body or None,
            headers=dict(request.headers),
            timeout=(limits.connect, limits.read),
            allow_redirects=False,
            stream=True,
        ) as answer,
    ):
        body = _read(answer, limits.max_bytes, deadline)
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return HttpResponse(answer.status_code, headers, body)


def _read(answer: requests.Response, limit: int, deadline: float) -> bytes:
    chunks: list[bytes] = []
    size = 0
    # read1 returns what has arrived: iter_content would wait for a whole chunk of dripping bytes
    while chunk := answer.raw.read1(_CHUNK, decode_content=True):
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            raise TransportError(Outcome.UNKNOWN, f"answer larger than {limit} bytes")
        if clock.monotonic() > deadline:  # an occasional byte never triggers a read timeout
            raise TransportError(Outcome.UNKNOWN, "answer took too long")
    return b"".join(chunks)


@contextmanager
def _session(egress: str) -> Iterator[requests.Session]:
    route = Route.of("", egress)
    with _plain_session(route.source) as session:
        if route.proxy:
            session.proxies = {"http": route.proxy, "https": route.proxy}
        yield session


def _plain_session(source: str = "") -> requests.Session:
    session = requests.Session()
    # the environment's proxies and .netrc must neither redirect nor re-authorise a broker call
    session.trust_env = False
    wire = _Wire(source)
    session.mount("https://", wire)
    session.mount("http://", wire)
    return session


@contextmanager
def _mapped_errors() -> Iterator[None]:
    try:
        yield
    except requests.exceptions.RequestException as error:
        outcome = Outcome.NOT_SENT if _never_connected(error) else Outcome.UNKNOWN
        raise TransportError(outcome, _words(error)) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise TransportError(Outcome.UNKNOWN, _words(error)) from error


def _words(error: Exception) -> str:
    """What TLS found wrong, otherwise the class name only: requests' messages contain addresses
    and, with proxies, passwords."""
    return tls.fault(error) or type(error).__name__


def _never_connected(error: requests.exceptions.RequestException) -> bool:
    """Whether no byte left: name not found, refused, unreachable, connect timeout, failed handshake
    or bad address."""
    never = (
        requests.exceptions.ConnectTimeout,
        requests.exceptions.InvalidURL,
        requests.exceptions.MissingSchema,
        requests.exceptions.InvalidSchema,
        requests.exceptions.InvalidProxyURL,
    )
    if isinstance(error, never):
        return True
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", None)
    if isinstance(reason, urllib3.exceptions.ProxyError):
        reason = reason.original_error
    if isinstance(reason, urllib3.exceptions.SSLError):
        # requests raises SSLError from urlopen; urllib3 wraps only handshake failures this way
        return True
    return isinstance(
        reason,
        (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError),
    )
