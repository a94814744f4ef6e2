"""The asynchronous transport: an adapter's request over aiohttp (books, cancels, quotes).

It keeps the promises of :mod:`brokers.transport_sync`: no redirects, limits on time and bytes, and
a failure says whether anything can have arrived. Orders at the entry second have their own sender
(docs/adr/0010).
"""

from __future__ import annotations

from typing import Final

import aiohttp
from yarl import URL

from brokers import tls
from brokers.base import HttpRequest, HttpResponse, Outcome
from brokers.routes import Route
from brokers.transport_sync import Limits, TransportError

_CHUNK: Final = 64 * 1024
#: Asynchronous callers poll: a late answer is worth less than the next one.
POLL_LIMITS: Final = Limits(connect=2.0, read=4.0)
_DNS_SECONDS: Final = 60


async def send(
    client: aiohttp.ClientSession,
    request: HttpRequest,
    *,
    base_url: str,
    proxy: str = "",
    limits: Limits = POLL_LIMITS,
) -> HttpResponse:
    """The broker's answer to ``request``, whatever its status; TransportError if there is none.

    Reads the whole answer, however many pieces it comes in. ``client`` should have been created
    with ``trust_env=False`` and no cookie jar (:func:`client`).
    """
    timeout = aiohttp.ClientTimeout(total=limits.connect + limits.read, connect=limits.connect)
    try:
        async with client.request(
            request.method,
            URL(base_url + request.path, encoded=True),
            data=request.body or None,
            headers=dict(request.headers),
            allow_redirects=False,
            proxy=proxy or None,
            ssl=tls.context(),  # the current one, however old the client is
            timeout=timeout,
        ) as answer:
            body = await _read(answer, limits.max_bytes)
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return HttpResponse(answer.status, headers, body)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise TransportError(Outcome.NOT_SENT, _words(error)) from error
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise TransportError(Outcome.UNKNOWN, _words(error)) from error


def _words(error: Exception) -> str:
    """What TLS found wrong, otherwise the class name only: aiohttp's messages contain addresses."""
    return tls.fault(error) or type(error).__name__


def client(*, connections: int = 100, source: str = "") -> aiohttp.ClientSession:
    """A client for broker calls that leaves from ``source`` (an IP address, '' for the machine's),
    over at most ``connections`` connections at once (0: unlimited).

    It uses nothing from the environment, and no cookies. The caller closes it.
    """
    return aiohttp.ClientSession(
        trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        connector=aiohttp.TCPConnector(
            limit=connections,
            ttl_dns_cache=_DNS_SECONDS,
            ssl=tls.context(),
            local_addr=(source, 0) if source else None,
        ),
    )


class Clients:
    """One client for each source address; connections are never shared between addresses."""

    def __init__(self, *, connections: int) -> None:
        self._connections = connections
        self._clients: dict[str, aiohttp.ClientSession] = {}

    async def send(
        self, request: HttpRequest, route: Route, *, limits: Limits = POLL_LIMITS
    ) -> HttpResponse:
        """Like :func:`send`, by the account's route."""
        session = self.of(route.source)
        return await send(
            session, request, base_url=route.base_url, proxy=route.proxy, limits=limits
        )

    def of(self, source: str) -> aiohttp.ClientSession:
        """The client that leaves from ``source``."""
        session = self._clients.get(source)
        if session is None:
            session = self._clients[source] = client(connections=self._connections, source=source)
        return session

    async def close(self) -> None:
        """Close the connections of all clients."""
        clients, self._clients = self._clients, {}
        for session in clients.values():
            await session.close()


async def _read(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in answer.content.iter_chunked(_CHUNK):
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            raise TransportError(Outcome.UNKNOWN, f"answer larger than {limit} bytes")
    return b"".join(chunks)
