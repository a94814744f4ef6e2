"""The only code that connects to an address that somebody else entered.

https only (http for loopback on a developer's machine). Every address of the name must be public,
and a socket is opened to a public address only, whatever the libraries in between made of the URL:
a name that resolves differently a moment later gains nothing. TLS and the Host header use the name.
Redirects are not followed, proxy settings of the environment are ignored; 15 seconds in all; at
most 64 KB of the answer are read.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from django.conf import settings
from yarl import URL

from quantleap.core.ip_addresses import parse_address
from quantleap.core.outbound_targets import (
    Target,
    UnsafeTarget,
    dialled_socket,
    is_public,
    parse_url,
)
from quantleap.core.production_checks import is_production

TOTAL_SECONDS: Final = 15.0
MAX_ANSWER_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one attempt. ``status`` is None if there was no answer."""

    status: int | None
    error: str = ""

    @property
    def accepted(self) -> bool:
        """Only 2xx is success."""
        return self.status is not None and 200 <= self.status < 300


def loopback_allowed() -> bool:
    """Whether this installation may call its own machine (developers, tests)."""
    return not is_production(settings)


def check_target(url: str) -> Target:
    """``url`` as it will be called, if its text allows that; otherwise UnsafeTarget.

    Names are resolved and checked again at every call.
    """
    own_machine = loopback_allowed()
    target = parse_url(url, schemes=("https", "http") if own_machine else ("https",))
    if target.is_loopback and not own_machine:
        raise UnsafeTarget("The address is not public.")
    if target.is_private_name and not target.is_loopback:
        raise UnsafeTarget("Write the whole public name of the server.")
    if target.scheme != "https" and not target.is_loopback:
        raise UnsafeTarget("Only https is called.")
    if target.address is not None and not is_public(target.address, loopback=own_machine):
        raise UnsafeTarget("The address is not public.")
    return target


def _dialled_socket(address_info: tuple[Any, ...]) -> socket.socket:
    return dialled_socket(address_info, loopback=loopback_allowed())


class _PublicResolver(AbstractResolver):
    """Resolves a name to public addresses, or fails."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Every address must be public: a name that also resolves to an internal address is a
        trick."""
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        results: list[ResolveResult] = []
        for kind, _, protocol, _, where in infos:
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
        """Nothing to close."""


class Sender:
    """Posts bodies concurrently on its own event loop; a context manager.

    The caller stays ordinary blocking code, which may use the database while posts are in progress.
    ``concurrency`` posts run at once.
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
        """Start posting ``body``; the result is never an exception."""
        return asyncio.run_coroutine_threadsafe(self._post(url, body, headers), self._loop)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _open(self) -> None:
        # A thread for each post: names whose servers do not answer must not keep other names from
        # being resolved (asyncio's own executor has only a few threads).
        self._loop.set_default_executor(
            ThreadPoolExecutor(self._concurrency, thread_name_prefix="webhook-names")
        )
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=_PublicResolver(),
                use_dns_cache=False,
                limit=self._concurrency,
                socket_factory=_dialled_socket,
            ),
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=TOTAL_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    async def _close(self) -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:  # only after an error: nobody will record these
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._session.close()
        await self._loop.shutdown_default_executor()

    async def _post(self, url: str, body: str, headers: Mapping[str, str]) -> Outcome:
        try:
            target = check_target(url)
            # exactly as checked: not quoted, mapped or normalised again
            called = URL(target.url, encoded=True)
            async with self._session.post(
                called, data=body.encode(), headers=headers, allow_redirects=False
            ) as response:
                # Read a little, so that the connection can be reused; the content is not ours to
                # keep.
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
