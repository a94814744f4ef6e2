"""Opens a socket to a broker: destination and source address, reset on close, TLS.

The kernel keeps bytes written to a TCP socket until they are acknowledged, even after a plain
``close``: an order that we gave up at T+5 s is retransmitted until the network is back and arrives
at T+14 s, beside the one that was sent again. So these sockets are *reset* when they are closed, by
us or by the death of the process, and the kernel drops unacknowledged bytes by itself before a
broker's book is believed (docs/adr/0030).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import aiohappyeyeballs

from brokers import tls
from brokers.dial import NEXT_ADDRESS, family_of

CONNECT_TIMEOUT: Final = 5.0
#: Default seconds for which written bytes may stay unacknowledged.
KERNEL_TIMEOUT: Final = 5.0
_RESET: Final = struct.pack("ii", 1, 0)
#: TCP_RXT_CONNDROPTIME of macOS (netinet/tcp.h), in whole seconds; Python has no name for it.
_DARWIN_DROP_TIME: Final = 0x80


class NotConnected(Exception):
    """No byte was written: the request provably never left.

    A proof in the sense of I3 (no second send without proof).
    """


@dataclass(frozen=True, slots=True)
class Target:
    """Where a broker's API listens, and the source address to connect from."""

    host: str
    port: int
    tls: bool
    base_path: str = ""
    source: str = ""

    @classmethod
    def of(cls, base_url: str, source: str = "") -> Target:
        """The target of a base URL such as ``https://api.kite.trade``."""
        parts = urlsplit(base_url)
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        return cls(parts.hostname or "", port, secure, parts.path.rstrip("/"), source)


def kernel_timeout(answer_timeout: float, visibility_delay: float) -> float:
    """Seconds after which the kernel drops unacknowledged bytes: no later than we stop waiting for
    the answer, and before the order's absence from the book may count as proof."""
    return max(1.0, min(answer_timeout, visibility_delay / 2))


async def open_socket(
    target: Target, loop: asyncio.AbstractEventLoop, *, drop_after: float = KERNEL_TIMEOUT
) -> socket.socket:
    """A connected socket (with the TLS handshake done), within :data:`CONNECT_TIMEOUT`.

    Tries all addresses of the host, of the source address's family if there is one. Raises
    NotConnected with the reason as text.
    """
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            raw = await _connected(target, loop, drop_after)
            return await _secured(raw, target, loop) if target.tls else raw
    except TimeoutError as error:
        raise NotConnected(f"no connection within {CONNECT_TIMEOUT:g} s") from error
    except (OSError, ValueError, RuntimeError) as error:  # uvloop raises RuntimeError as well
        raise NotConnected(tls.fault(error) or _words(error, target)) from error


def _words(error: Exception, target: Target) -> str:
    """The reason as text, without the account's egress address, which is sealed but appears in
    asyncio's messages."""
    if target.source and getattr(error, "errno", None) == errno.EADDRNOTAVAIL:
        return "the account's egress address is none of this machine's"
    if isinstance(error, OSError) and not isinstance(error, socket.gaierror) and error.errno:
        return os.strerror(error.errno)
    return getattr(error, "strerror", "") or str(error) or type(error).__name__


async def _connected(
    target: Target, loop: asyncio.AbstractEventLoop, drop_after: float
) -> socket.socket:
    family = family_of(target.source)
    infos = await loop.getaddrinfo(target.host, target.port, family=family, type=socket.SOCK_STREAM)

    def make(
        info: tuple[int | socket.AddressFamily, int, int, str, tuple[object, ...]],
    ) -> socket.socket:
        raw = socket.socket(info[0], info[1], info[2])
        _set_options(raw, drop_after)
        return raw

    local = (family, socket.SOCK_STREAM, 0, "", (target.source, 0))
    return await aiohappyeyeballs.start_connection(
        infos,
        local_addr_infos=[local] if target.source else None,
        happy_eyeballs_delay=NEXT_ADDRESS,
        loop=loop,
        socket_factory=make,
    )


def _set_options(raw: socket.socket, drop_after: float) -> None:
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Set now, not before closing: then a killed process resets its sockets as well.
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(drop_after * 1000))
    elif sys.platform == "darwin":
        with contextlib.suppress(OSError):  # the reset above does not depend on it
            raw.setsockopt(socket.IPPROTO_TCP, _DARWIN_DROP_TIME, max(1, int(drop_after)))


# -- TLS -------------------------------------------------------------------------------------------
async def _secured(
    raw: socket.socket, target: Target, loop: asyncio.AbstractEventLoop
) -> ssl.SSLSocket:
    context = tls.context()
    try:
        wrapped = context.wrap_socket(
            raw,
            server_hostname=target.host,
            do_handshake_on_connect=False,
            session=tls.SESSIONS.of(target.host, target.port, context),
        )
    except BaseException:
        raw.close()
        raise
    try:
        await _handshake(wrapped, loop)
    except BaseException:
        wrapped.close()
        raise
    return wrapped


async def _handshake(wrapped: ssl.SSLSocket, loop: asyncio.AbstractEventLoop) -> None:
    while True:
        try:
            wrapped.do_handshake()
        except ssl.SSLWantReadError:
            await _until(wrapped, loop, loop.add_reader, loop.remove_reader)
        except ssl.SSLWantWriteError:
            await _until(wrapped, loop, loop.add_writer, loop.remove_writer)
        else:
            return


async def _until(
    wrapped: ssl.SSLSocket,
    loop: asyncio.AbstractEventLoop,
    add: Callable[..., None],
    remove: Callable[[int], object],
) -> None:
    ready: asyncio.Future[None] = loop.create_future()
    add(wrapped.fileno(), lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        remove(wrapped.fileno())
