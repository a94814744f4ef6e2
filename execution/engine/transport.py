"""The prepared sender's wire: one non-blocking socket per connection, bytes made beforehand.

Written for one moment: at T a loop over a thousand accounts calls :meth:`Connection.send`, and each
call is one ``send(2)``. Event-loop transports queue their writes until the loop comes round again;
with a thousand of them the first byte would wait for the last, so the socket is ours and only its
reading is registered with the loop. No pipelining: one request in flight per connection.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httptools

from brokers.base import HttpRequest, HttpResponse
from quantleap.core import clock

MAX_ANSWER: Final = 256 * 1024
TIMEOUT_GRAIN: Final = 0.05
_READ: Final = 64 * 1024
CONNECT_TIMEOUT: Final = 5.0


class NotConnected(Exception):
    """No byte was written: the request provably never left (execution.md I3)."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a broker's API listens, and from which source address to leave."""

    host: str
    port: int
    tls: bool
    base_path: str = ""
    source: str = ""

    @classmethod
    def of(cls, base_url: str, source: str = "") -> Target:
        """Target of a base URL such as ``https://api.kite.trade``."""
        parts = urlsplit(base_url)
        tls = parts.scheme == "https"
        port = parts.port or (443 if tls else 80)
        return cls(parts.hostname or "", port, tls, parts.path.rstrip("/"), source)


@dataclass(slots=True)
class Answer:
    """What came of one request: a response, or the reason why there is none."""

    response: HttpResponse | None
    error: str
    at: float


def serialise(request: HttpRequest, target: Target) -> bytes:
    """The request as it goes over the wire (HTTP/1.1, keep-alive)."""
    host = target.host if target.port in (80, 443) else f"{target.host}:{target.port}"
    lines = [f"{request.method} {target.base_path}{request.path} HTTP/1.1", f"Host: {host}"]
    lines.extend(f"{name}: {value}" for name, value in request.headers.items())
    if request.body or request.method in ("POST", "PUT"):
        lines.append(f"Content-Length: {len(request.body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + request.body


class Deadlines:
    """Answers that are waited for: one timer for all of them instead of one for each request.

    A timer of its own costs a request more than anything else but ``send(2)`` itself, at the one
    moment when that counts. The price: a timeout comes up to ``TIMEOUT_GRAIN`` seconds late.
    """

    __slots__ = ("_loop", "_timer", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: dict[Connection, float] = {}

    def expect(self, connection: Connection, deadline: float) -> None:
        """Close ``connection`` with "timeout" unless it is forgotten before (monotonic s)."""
        self._waiting[connection] = deadline
        if self._timer is None:
            self._timer = self._loop.call_later(TIMEOUT_GRAIN, self._look)

    def forget(self, connection: Connection) -> None:
        """The answer came, or the connection went."""
        self._waiting.pop(connection, None)

    def _look(self) -> None:
        now = clock.monotonic()
        for connection in [c for c, deadline in self._waiting.items() if deadline <= now]:
            connection.close("timeout")
        self._timer = self._loop.call_later(TIMEOUT_GRAIN, self._look) if self._waiting else None


class Connection:
    """One keep-alive connection. All methods run in the executor's loop thread."""

    __slots__ = (
        "_buffer",
        "_deadlines",
        "_headers",
        "_loop",
        "_on_answer",
        "_parser",
        "_pending",
        "_size",
        "_socket",
        "_status",
        "target",
    )

    def __init__(
        self,
        target: Target,
        loop: asyncio.AbstractEventLoop,
        deadlines: Deadlines | None = None,
    ) -> None:
        self.target = target
        self._loop = loop
        self._deadlines = deadlines or Deadlines(loop)
        self._socket: socket.socket | None = None
        self._on_answer: Callable[[Answer], None] | None = None
        self._pending = b""
        self._reset_parser()

    # -- life ------------------------------------------------------------------------------------
    @property
    def is_open(self) -> bool:
        """Whether a request may be written now or after the one in flight."""
        return self._socket is not None

    @property
    def is_idle(self) -> bool:
        """Open and nothing in flight."""
        return self._socket is not None and self._on_answer is None

    async def connect(self, context: ssl.SSLContext | None) -> None:
        """Open the connection (TCP, then TLS); NotConnected when that fails."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                self._socket = await self._open(context)
        except (OSError, TimeoutError, ssl.SSLError) as error:
            raise NotConnected(str(error) or type(error).__name__) from error
        self._loop.add_reader(self._socket.fileno(), self._readable)

    async def _open(self, context: ssl.SSLContext | None) -> socket.socket:
        infos = await self._loop.getaddrinfo(
            self.target.host, self.target.port, type=socket.SOCK_STREAM
        )
        family, kind, proto, _, address = infos[0]
        raw = socket.socket(family, kind, proto)
        try:
            raw.setblocking(False)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.target.source:
                raw.bind((self.target.source, 0))
            await self._loop.sock_connect(raw, address)
            if not self.target.tls:
                return raw
            if context is None:
                raise NotConnected("a TLS context is needed")
            wrapped = context.wrap_socket(
                raw, server_hostname=self.target.host, do_handshake_on_connect=False
            )
            await self._handshake(wrapped)
        except BaseException:
            raw.close()
            raise
        return wrapped

    async def _handshake(self, wrapped: ssl.SSLSocket) -> None:
        while True:
            try:
                wrapped.do_handshake()
            except ssl.SSLWantReadError:
                await self._until(wrapped, self._loop.add_reader, self._loop.remove_reader)
            except ssl.SSLWantWriteError:
                await self._until(wrapped, self._loop.add_writer, self._loop.remove_writer)
            else:
                return

    async def _until(
        self,
        wrapped: ssl.SSLSocket,
        add: Callable[..., None],
        remove: Callable[[int], object],
    ) -> None:
        ready: asyncio.Future[None] = self._loop.create_future()
        add(wrapped.fileno(), lambda: None if ready.done() else ready.set_result(None))
        try:
            await ready
        finally:
            remove(wrapped.fileno())

    def close(self, reason: str = "closed") -> None:
        """Close; what was in flight is answered with an error (its order is UNKNOWN)."""
        connection, self._socket = self._socket, None
        if connection is None:
            return
        self._loop.remove_reader(connection.fileno())
        self._loop.remove_writer(connection.fileno())
        connection.close()
        self._finish(Answer(None, reason, clock.monotonic()))

    # -- one request -----------------------------------------------------------------------------
    def send(self, raw: bytes, on_answer: Callable[[Answer], None], timeout: float) -> None:
        """Write ``raw`` now; ``on_answer`` is called exactly once, later, in the loop.

        Unanswered after ``timeout`` seconds the connection is closed.

        NotConnected when the socket was already dead: then nothing has left.
        """
        connection = self._socket
        if connection is None or self._on_answer is not None:
            raise NotConnected("connection is not idle")
        try:
            written = connection.send(raw)
        except (BlockingIOError, ssl.SSLWantWriteError):
            written = 0
        except OSError as error:
            # The kernel took no byte of this request.
            self.close(str(error))
            raise NotConnected(str(error)) from error
        self._on_answer = on_answer
        if written < len(raw):
            self._pending = raw[written:]
            self._loop.add_writer(connection.fileno(), self._writable)
        self._deadlines.expect(self, clock.monotonic() + timeout)

    def _writable(self) -> None:
        connection = self._socket
        if connection is None:
            return
        try:
            written = connection.send(self._pending)
        except (BlockingIOError, ssl.SSLWantWriteError):
            return
        except OSError as error:
            self.close(str(error))
            return
        self._pending = self._pending[written:]
        if not self._pending:
            self._loop.remove_writer(connection.fileno())

    def _readable(self) -> None:
        connection = self._socket
        if connection is None:
            return
        try:
            data = connection.recv(_READ)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError as error:
            self.close(str(error))
            return
        if not data:
            self.close("connection closed by the broker")
            return
        if self._on_answer is None:
            self.close("unexpected data")
            return
        self._size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.close(f"unreadable answer: {error}")
            return
        if self._size > MAX_ANSWER:
            self.close("answer too large")

    # -- httptools callbacks ---------------------------------------------------------------------
    def _reset_parser(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._status = 0
        self._headers: dict[str, str] = {}
        self._buffer: list[bytes] = []
        self._size = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """One response header."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._buffer.append(body)

    def on_message_complete(self) -> None:
        """The whole answer is here."""
        response = HttpResponse(
            self._parser.get_status_code(), self._headers, b"".join(self._buffer)
        )
        keep = self._parser.should_keep_alive()
        answer = Answer(response, "", clock.monotonic())
        # Leave the parser's own callback before it is replaced and the next request is written.
        self._loop.call_soon(self._complete, answer, keep)

    def _complete(self, answer: Answer, keep: bool) -> None:
        if self._on_answer is None:
            return
        self._reset_parser()
        callback, self._on_answer = self._on_answer, None
        self._deadlines.forget(self)
        if not keep:
            self.close("connection: close")
        callback(answer)

    def _finish(self, answer: Answer) -> None:
        self._deadlines.forget(self)
        self._pending = b""
        callback, self._on_answer = self._on_answer, None
        self._reset_parser()
        if callback is not None:
            self._loop.call_soon(callback, answer)
