"""Connections for prepared sends: one non-blocking socket each, requests serialised beforehand.

Written for one moment: at T a loop over a thousand accounts calls :meth:`Connection.send`, and each
call is one ``send(2)``. Event-loop transports may queue writes until the loop's next iteration;
with a thousand of them the first byte would wait for the last. So we own the socket, and register
only its reading with the loop. No pipelining: one request in flight per connection.
"""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import httptools

from brokers import tls
from brokers.base import HttpRequest, HttpResponse
from execution.engine.wire.sockets import KERNEL_TIMEOUT, NotConnected, Target, open_socket
from quantleap.core import clock

MAX_ANSWER: Final = 256 * 1024
TIMEOUT_GRAIN: Final = 0.05
#: Seconds within which the rest of a request must follow its first byte. An order fits into the
#: socket's buffer; if it has not left by then, the process has been frozen meanwhile.
REST_WITHIN: Final = 2.0
_READ: Final = 64 * 1024
_INTERIM: Final = range(100, 200)
_SWITCHING: Final = 101


class TooLate(Exception):
    """The permission to send has expired; no byte was written."""


@dataclass(slots=True)
class Answer:
    """The outcome of one request: a response, or the reason why there is none.

    Without a response the connection was reset before ``at`` (monotonic seconds): no byte of the
    request can leave any more.
    """

    response: HttpResponse | None
    error: str
    at: float


def serialise(request: HttpRequest, target: Target) -> bytes:
    """The request's bytes on the wire (HTTP/1.1, keep-alive)."""
    host = target.host if target.port in (80, 443) else f"{target.host}:{target.port}"
    lines = [f"{request.method} {target.base_path}{request.path} HTTP/1.1", f"Host: {host}"]
    lines.extend(f"{name}: {value}" for name, value in request.headers.items())
    if request.body or request.method in ("POST", "PUT"):
        lines.append(f"Content-Length: {len(request.body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + request.body


class Deadlines:
    """Time-outs of pending answers: one timer for all instead of one per request.

    A timer per request costs more than anything but ``send(2)`` itself, at the one moment when that
    counts. The price: a time-out comes up to ``TIMEOUT_GRAIN`` seconds late.
    """

    __slots__ = ("_loop", "_timer", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: dict[Connection, float] = {}

    def expect(self, connection: Connection, deadline: float) -> None:
        """Close ``connection`` with "timeout" at ``deadline`` (monotonic seconds) unless it is
        forgotten before."""
        self._waiting[connection] = deadline
        if self._timer is None:
            self._timer = self._loop.call_later(TIMEOUT_GRAIN, self._look)

    def forget(self, connection: Connection) -> None:
        """Stop waiting: the answer came, or the connection was closed."""
        self._waiting.pop(connection, None)

    def _look(self) -> None:
        now = clock.monotonic()
        for connection in [c for c, deadline in self._waiting.items() if deadline <= now]:
            connection.close("timeout")
        self._timer = self._loop.call_later(TIMEOUT_GRAIN, self._look) if self._waiting else None


class Connection:
    """One keep-alive connection. All methods run in the executor's loop thread."""

    __slots__ = (
        "_answer",
        "_beyond",
        "_buffer",
        "_deadlines",
        "_drop_after",
        "_headers",
        "_loop",
        "_on_answer",
        "_parser",
        "_pending",
        "_rest_by",
        "_size",
        "_socket",
        "_wants_session",
        "target",
    )

    def __init__(
        self,
        target: Target,
        loop: asyncio.AbstractEventLoop,
        deadlines: Deadlines | None = None,
        *,
        drop_after: float = KERNEL_TIMEOUT,
    ) -> None:
        """``drop_after``: seconds after which the kernel drops unacknowledged bytes."""
        self.target = target
        self._drop_after = drop_after
        self._loop = loop
        self._deadlines = deadlines or Deadlines(loop)
        self._socket: socket.socket | None = None
        self._on_answer: Callable[[Answer], None] | None = None
        self._pending = b""
        self._rest_by = 0.0
        self._wants_session = False
        self._reset_parser()

    # -- life ------------------------------------------------------------------------------------
    @property
    def is_open(self) -> bool:
        """Whether a request can be written, now or after the one in flight."""
        return self._socket is not None

    @property
    def is_idle(self) -> bool:
        """Whether it is open with nothing in flight."""
        return self._socket is not None and self._on_answer is None

    async def connect(self) -> None:
        """Open the connection (TCP, then TLS). Raises NotConnected if that fails."""
        opened = await open_socket(self.target, self._loop, drop_after=self._drop_after)
        self._socket = opened
        self._keep_tls_session()
        self._loop.add_reader(opened.fileno(), self._readable)

    def close(self, reason: str = "closed") -> None:
        """Reset the connection; a request in flight gets an error answer (its order is UNKNOWN)."""
        connection, self._socket = self._socket, None
        if connection is None:
            return
        self._loop.remove_reader(connection.fileno())
        self._loop.remove_writer(connection.fileno())
        connection.close()
        self._finish(Answer(None, reason, clock.monotonic()))

    # -- one request -----------------------------------------------------------------------------
    def send(
        self,
        raw: bytes,
        on_answer: Callable[[Answer], None],
        deadline: float,
        by: float = math.inf,
    ) -> None:
        """Write ``raw`` now; ``on_answer`` is called exactly once, later, in the loop.

        If unanswered at ``deadline`` (monotonic seconds), the connection is closed.

        Raises NotConnected if the socket was already dead, TooLate after ``by`` (monotonic seconds;
        the process may have been frozen since the last check): in both cases nothing has left.
        """
        connection = self._socket
        if connection is None or self._on_answer is not None:
            raise NotConnected("connection is not idle")
        if clock.monotonic() > by:
            raise TooLate
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
            self._rest_by = clock.monotonic() + REST_WITHIN
            self._loop.add_writer(connection.fileno(), self._writable)
        self._deadlines.expect(self, deadline)

    def is_writable(self) -> bool:
        """Whether a request could be written now, as far as the kernel knows."""
        connection = self._socket
        return (
            connection is not None
            and self._on_answer is None
            and connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        )

    def _writable(self) -> None:
        connection = self._socket
        if connection is None:
            return
        if clock.monotonic() > self._rest_by:
            self.close("the rest of it could not leave in time")
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
            if self._wants_session:  # only the server's session tickets have arrived
                self._keep_tls_session()
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
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.close(f"unreadable answer: {error}")
            return
        if self._size > MAX_ANSWER:
            self.close("answer too large")

    def _keep_tls_session(self) -> None:
        """Keep the TLS session for the next connection; try again until there is a ticket."""
        wrapped = self._socket
        self._wants_session = isinstance(wrapped, ssl.SSLSocket) and not tls.SESSIONS.keep(
            self.target.host, self.target.port, wrapped
        )

    # -- httptools callbacks ---------------------------------------------------------------------
    def _reset_parser(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._answer: Answer | None = None
        self._beyond = False
        self._headers: dict[str, str] = {}
        self._buffer: list[bytes] = []
        self._size = 0

    def on_message_begin(self) -> None:
        """Note the start of a message; after a complete answer it belongs to no request."""
        self._beyond = self._answer is not None

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store one response header."""
        self._headers[name.lower().decode("latin-1")] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """Store a piece of the body."""
        self._buffer.append(body)

    def on_message_complete(self) -> None:
        """Handle a complete answer; ignore an interim one (100, 103)."""
        status = self._parser.get_status_code()
        if status in _INTERIM and status != _SWITCHING:
            self._headers, self._buffer = {}, []
            return
        if self._answer is not None:
            return  # on_message_begin has noted it
        response = HttpResponse(status, self._headers, b"".join(self._buffer))
        self._answer = Answer(response, "", clock.monotonic())
        # Return from the parser's own callback before replacing it and writing the next request.
        self._loop.call_soon(self._complete, self._answer, self._parser.should_keep_alive())

    def _complete(self, answer: Answer, keep: bool) -> None:
        if self._answer is not answer or self._on_answer is None:
            return
        behind = self._read_behind()
        if self._beyond or behind:
            # It is unclear which answer is ours, and the next request must not get this one's.
            self.close("data beyond the answer")
            return
        self._reset_parser()
        callback, self._on_answer = self._on_answer, None
        self._deadlines.forget(self)
        if not keep or behind == b"":
            self.close("connection: close")
        callback(answer)

    def _read_behind(self) -> bytes | None:
        """Data after a complete answer: None for nothing, b"" for the end of the connection."""
        if self._socket is None:
            return b""
        try:
            return self._socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            if self._wants_session:
                self._keep_tls_session()
            return None
        except OSError:
            return b""

    def _finish(self, answer: Answer) -> None:
        self._deadlines.forget(self)
        self._pending = b""
        callback, self._on_answer = self._on_answer, None
        self._reset_parser()
        if callback is not None:
            self._loop.call_soon(callback, answer)
