"""The asynchronous transport: an adapter's request over aiohttp (book polling, quotes).

Same promises as :mod:`brokers.http`: no redirects, bounded time and bytes, and a failure says
whether anything can have arrived. Orders at the entry second have their own sender (execution.md
section 2).
"""

from __future__ import annotations

import aiohttp
from yarl import URL

from brokers.base import HttpRequest, HttpResponse, Outcome
from brokers.http import Limits, TransportError

_CHUNK = 64 * 1024
#: Asynchronous callers poll: an answer that takes longer is worth less than the next one.
POLL_LIMITS = Limits(connect=2.0, read=4.0)


async def send(
    client: aiohttp.ClientSession,
    request: HttpRequest,
    *,
    base_url: str,
    proxy: str = "",
    limits: Limits = POLL_LIMITS,
) -> HttpResponse:
    """The broker's answer to ``request``, whatever its status; TransportError without one.

    ``client`` should have been made with ``trust_env=False`` and no cookie jar (:func:`client`).
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
            timeout=timeout,
        ) as answer:
            body = await _read(answer, limits.max_bytes)
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return HttpResponse(answer.status, headers, body)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise TransportError(Outcome.NOT_SENT, type(error).__name__) from error
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise TransportError(Outcome.UNKNOWN, type(error).__name__) from error


def client(*, connections: int = 100) -> aiohttp.ClientSession:
    """A client for broker calls: nothing from the environment, no cookies. Close it when done."""
    return aiohttp.ClientSession(
        trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        connector=aiohttp.TCPConnector(limit=connections),
    )


async def _read(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in answer.content.iter_chunked(_CHUNK):
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            raise TransportError(Outcome.UNKNOWN, f"answer larger than {limit} bytes")
    return b"".join(chunks)
