"""The only way out to an address that somebody else typed in.

https only (http for loopback on a developer's machine); the resolved address must be public and is
the very one connected to, so a name that resolves differently a moment later gains nothing;
redirects are not followed; 15 seconds in all; at most 64 KB of the answer are read.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from django.conf import settings
from requests_hardened.ip_filter import EXTRA_BLOCKED_NET_RANGES

from quantleap.core.addresses import Address, parse_address

TOTAL_SECONDS: Final = 15.0
MAX_ANSWER_BYTES: Final = 64 * 1024
_LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class UnsafeTarget(ValueError):
    """The URL may not be called; the text says why in words for its owner."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt. ``status`` is None when there was no answer."""

    status: int | None
    error: str = ""

    @property
    def accepted(self) -> bool:
        """Only 2xx is success."""
        return self.status is not None and 200 <= self.status < 300


def loopback_allowed() -> bool:
    """Whether this installation may call its own machine (developers, tests)."""
    return settings.QUANTLEAP_PROFILE in ("local", "test")


def is_public(address: Address, *, loopback: bool) -> bool:
    """Whether an address may be called; ``loopback`` admits this machine."""
    if loopback and address.is_loopback:
        return True
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not any(address in network for network in EXTRA_BLOCKED_NET_RANGES)
    )


def check_target(url: str) -> str:
    """``url`` itself when it may be called as far as its text tells; UnsafeTarget otherwise.

    Names are resolved and judged again at every call.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise UnsafeTarget("This is not a URL.") from error
    local = loopback_allowed() and host in _LOOPBACK_HOSTS
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise UnsafeTarget("Only https is called.")
    if not host or port == 0:
        raise UnsafeTarget("The URL names no host.")
    if "@" in parts.netloc or parts.fragment:
        raise UnsafeTarget("The URL may hold neither a user name nor a fragment.")
    address = parse_address(host)
    if address is not None and not is_public(address, loopback=local):
        raise UnsafeTarget("The address is not public.")
    return url


class _PublicResolver(AbstractResolver):
    """Resolves a name to addresses that may be called, or fails."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Every address must be fit: a name with one inner address among them is a trick."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        results: list[ResolveResult] = []
        for kind, _, protocol, _, where in found:
            text = str(where[0])
            address = parse_address(text)
            if address is None or not is_public(address, loopback=loopback_allowed()):
                raise OSError(errno.EACCES, f"{host} does not resolve to public addresses only")
            results.append(
                ResolveResult(
                    hostname=host,
                    host=text,
                    port=int(where[1]),
                    family=kind,
                    proto=protocol,
                    flags=socket.AI_NUMERICHOST,
                )
            )
        return results

    async def close(self) -> None:
        """Nothing is held."""


class Sender:
    """Posts bodies concurrently on an event loop of its own; a context manager.

    Its user stays ordinary blocking code, which may talk to the database while posts are under
    way. ``concurrency`` posts run at once.
    """

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="webhook-sender", daemon=True)
        self._session: aiohttp.ClientSession

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def post(self, url: str, body: str, headers: Mapping[str, str]) -> Future[Outcome]:
        """Begin to post ``body``; the result never is an exception."""
        return asyncio.run_coroutine_threadsafe(self._post(url, body, headers), self._loop)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _open(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=_PublicResolver(), use_dns_cache=False, limit=self._concurrency
            ),
            timeout=aiohttp.ClientTimeout(total=TOTAL_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    async def _close(self) -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:  # only after an error: whoever claimed these will not record them
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._session.close()
        await self._loop.shutdown_default_executor()

    async def _post(self, url: str, body: str, headers: Mapping[str, str]) -> Outcome:
        try:
            check_target(url)
            async with self._session.post(
                url, data=body.encode(), headers=headers, allow_redirects=False
            ) as response:
                # Read a little, so that the connection can be used again; the words are not ours.
                await response.content.read(MAX_ANSWER_BYTES)
                return _outcome(response.status)
        except TimeoutError:
            return Outcome(None, f"no answer within {TOTAL_SECONDS:.0f} seconds")
        except UnsafeTarget as error:
            return Outcome(None, str(error))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Outcome(None, f"{type(error).__name__}: {error}"[:200])


def _outcome(status: int) -> Outcome:
    if 200 <= status < 300:
        return Outcome(status)
    if 300 <= status < 400:
        return Outcome(status, "redirects are not followed")
    return Outcome(status, f"answered {status}")
