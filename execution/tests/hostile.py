"""A broker of Noren's dialect that takes every order and is hostile in everything else.

It stands behind a few accounts among many and treats each in a manner of its own, in a thread of a
test or, for a measurement, in a process: ``python -m execution.tests.hostile CLIENT=drip`` prints
its address and serves until its input ends. What it sends is made beforehand, and the process steps
back for every other, so that its own work is no part of what is measured: a real broker has a
machine of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import enum
import itertools
import json
import os
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final
from urllib.parse import unquote_to_bytes

from brokers.tests import loopback

#: A drip that lasts: one byte in so many seconds.
DRIP_EVERY: Final = 0.02
MEGABYTE: Final = 1_000_000
_PLACE: Final = b"/PlaceOrder"
_UID: Final = re.compile(rb'"uid": ?"([A-Z0-9]{1,40})"')


class Manner(enum.StrEnum):
    """What it does to whoever reads a book, positions, or cancels."""

    #: The request is taken and never answered.
    HANGING_READ = "hanging_read"
    #: A byte now and then, for ever.
    DRIP = "drip"
    #: Bytes that are no HTTP.
    GARBAGE = "garbage"
    #: A book of 50 MB.
    HUGE = "huge"
    #: A few MB of JSON that are much work and say nothing.
    COSTLY = "costly"
    #: The session is refused, orders included.
    BAD_TOKEN = "bad_token"
    #: A book whose figures fit in no column.
    ABSURD = "absurd"
    #: "Too many requests", orders included, for ever.
    BUSY = "busy"


def _http(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _refusal(words: str) -> bytes:
    return json.dumps({"stat": "Not_Ok", "emsg": words}).encode()


def _row(**fields: object) -> dict[str, object]:
    return {
        "stat": "Ok",
        "norenordno": "1",
        "tsym": "NIFTY08SEP26C25000",
        "exch": "NFO",
        "prd": "I",
        "trantype": "S",
        "status": "COMPLETE",
        **fields,
    }


ABSURD_BOOK: Final = json.dumps(
    [
        _row(qty="9" * 400, fillshares="-65", avgprc="1e308", remarks="x" * 5000),
        _row(qty="1e99", fillshares="NaN", avgprc="-0.0001", norenordno="9" * 900),
        _row(qty=True, fillshares=[1], avgprc={"a": 1}, trantype="Z", tsym="\0\ud800"),
    ]
).encode()

_ANSWERS: Final[dict[Manner, Callable[[], bytes]]] = {
    Manner.GARBAGE: lambda: b"\x00\xffHTP/9.9 no\r\n" + os.urandom(4096),
    Manner.HUGE: lambda: _http("200 OK", b"[" + b'{"a": "b"},' * (50 * MEGABYTE // 11) + b"{}]"),
    Manner.COSTLY: lambda: _http("200 OK", b"[" + b"0," * (2 * MEGABYTE) + b"0]"),
    Manner.BAD_TOKEN: lambda: _http(
        "401 Unauthorized", _refusal("Session Expired :  Invalid Session Key")
    ),
    Manner.ABSURD: lambda: _http("200 OK", ABSURD_BOOK),
    Manner.BUSY: lambda: _http(
        "429 Too Many Requests", _refusal("Too many requests"), "Retry-After: 1"
    ),
}
#: Manners that spare not even an order.
_ORDERS_TOO: Final = frozenset({Manner.BAD_TOKEN, Manner.BUSY})


class Broker:
    """Serves every connection in a thread of its own, on loopback.

    ``manners`` by client id; without it :data:`Manner.HANGING_READ`.
    """

    def __init__(self, manners: Mapping[str, Manner]) -> None:
        self._manners = manners
        self._answers = {m: make() for m, make in _ANSWERS.items() if m in manners.values()}
        self._orders = itertools.count(1)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        #: Manners that have been shown to somebody.
        self.shown: set[Manner] = set()
        self._over = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections, and end those that drip."""
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while request := loopback._read_request(connection):
                manner = self._manners.get(_client(request), Manner.HANGING_READ)
                if _PLACE in request.split(b"\r\n", 1)[0] and manner not in _ORDERS_TOO:
                    order = {"stat": "Ok", "norenordno": f"26{next(self._orders):012d}"}
                    connection.sendall(_http("200 OK", json.dumps(order).encode()))
                else:
                    self.shown.add(manner)
                    self._strike(connection, manner)

    def _strike(self, connection: socket.socket, manner: Manner) -> None:
        if manner is Manner.DRIP:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n[")
            while not self._over.wait(DRIP_EVERY):
                connection.sendall(b" ")
        elif manner is Manner.HANGING_READ:
            connection.recv(1)  # until the other side has had enough
        else:
            connection.sendall(self._answers[manner])


def _client(request: bytes) -> str:
    match = _UID.search(unquote_to_bytes(request))
    return "" if match is None else match[1].decode()


@contextmanager
def broker(manners: Mapping[str, Manner]) -> Iterator[Broker]:
    """While it runs."""
    running = Broker(manners)
    try:
        yield running
    finally:
        running.close()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manners", nargs="+", help="CLIENT=MANNER")
    os.nice(19)
    pairs = (argument.partition("=") for argument in parser.parse_args().manners)
    with broker({client: Manner(manner) for client, _, manner in pairs}) as running:
        print(running.url, flush=True)  # noqa: T201 - whoever started it reads where it is
        sys.stdin.read()


if __name__ == "__main__":
    main()
