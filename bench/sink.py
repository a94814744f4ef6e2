"""The witness: a loopback HTTP sink that speaks just enough Kite, in a process of its own.

``python -m bench.sink --port 9100`` serves order placing, order book, positions and quotes, and
tells on ``GET /bench/arrivals`` when each order's first bytes arrived. On Linux that instant is the
kernel's receive time stamp of the packet (SO_TIMESTAMPNS): over loopback the packet is received
inside the sender's own ``send(2)``, so the witness does not depend on when this process, which
shares the cores with the sender, gets round to reading it. Elsewhere it is the instant of reading.

An order fills as it is answered; with ``--updates`` whoever listens on the websocket is told then.

A raw epoll loop without a framework: reading and stamping comes before answering, everything else
(whose order was it, which tag) is worked out when somebody asks.
"""

from __future__ import annotations

import argparse
import base64
import datetime as dt
import gc
import hashlib
import json
import resource
import select
import signal
import socket
import struct
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from quantleap.embedded.processes import die_with_parent

IST: Final = dt.timezone(dt.timedelta(hours=5, minutes=30))
SPOT: Final = 25_000
PREMIUM: Final = 100
RECEIVE_STAMPS: Final = 35  # SO_TIMESTAMPNS, and the type of its control message
_TIMESPEC: Final = struct.Struct("ll")
_CONTROL: Final = socket.CMSG_SPACE(_TIMESPEC.size)
_HEAD_END: Final = b"\r\n\r\n"
_READ: Final = 64 * 1024
_MAGIC: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CLOSE: Final = 0x8
_PING: Final = 0x9


@dataclass(slots=True)
class Arrival:
    """One order request with its bytes.

    Times in unix seconds: first bytes received, read, filled (0 before it was answered).
    """

    at: float
    read_at: float
    order_id: str
    raw: bytes
    filled_at: float = 0.0


@dataclass(slots=True)
class _Peer:
    """One connection, and the request that is arriving on it."""

    connection: socket.socket
    buffer: bytes = b""
    at: float = 0.0
    read_at: float = 0.0
    listens_for: str = ""


@dataclass(slots=True)
class Order:
    """A parsed order request."""

    token: str
    form: dict[str, str]
    arrival: Arrival

    def row(self) -> dict[str, Any]:
        """Its row in Kite's order book: complete, or pending."""
        quantity = int(self.form["quantity"])
        filled = bool(self.arrival.filled_at)
        return {
            "order_id": self.arrival.order_id,
            "status": "COMPLETE" if filled else "OPEN PENDING",
            "status_message": None,
            "tag": self.form.get("tag"),
            "exchange": self.form["exchange"],
            "tradingsymbol": self.form["tradingsymbol"],
            "transaction_type": self.form["transaction_type"],
            "product": self.form["product"],
            "quantity": quantity,
            "filled_quantity": quantity if filled else 0,
            "average_price": float(self.form.get("price", PREMIUM)) if filled else 0,
        }


def parse_order(arrival: Arrival) -> Order:
    """Token and form of an order request."""
    head, _, body = arrival.raw.partition(_HEAD_END)
    form = {name: values[-1] for name, values in parse_qs(body.decode()).items()}
    return Order(_token(head), form, arrival)


def _token(head: bytes) -> str:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"authorization":
            return value.decode().rpartition(":")[2]
    return ""


def _is_complete(raw: bytes) -> bool:
    """Whether the whole request has arrived: its head, and the body that the head announces."""
    head, separator, body = raw.partition(_HEAD_END)
    if not separator:
        return False
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return len(body) >= int(value)
    return True


def _header(raw: bytes, header_name: bytes) -> bytes:
    for line in raw.partition(_HEAD_END)[0].split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == header_name:
            return value.strip()
    return b""


def _text_frame(payload: bytes) -> bytes:
    """A complete text frame; servers do not mask (RFC 6455, section 5.2)."""
    size = len(payload)
    head = bytes((0x81, size)) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big")
    return head + payload


def _response(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def _json(value: object) -> bytes:
    return _response(json.dumps(value).encode())


@dataclass(slots=True)
class Book:
    """The orders placed; parsed only on request."""

    arrivals: list[Arrival] = field(default_factory=list)
    _orders: list[Order] = field(default_factory=list)
    _by_token: dict[str, list[Order]] = field(default_factory=lambda: defaultdict(list))
    _parsed: int = 0

    def orders(self) -> list[Order]:
        """Every order, in order of arrival."""
        for arrival in self.arrivals[self._parsed :]:
            order = parse_order(arrival)
            self._orders.append(order)
            self._by_token[order.token].append(order)
        self._parsed = len(self.arrivals)
        return self._orders

    def of(self, token: str) -> list[Order]:
        """The orders of one access token."""
        self.orders()
        return self._by_token[token]

    def positions(self, token: str) -> list[dict[str, Any]]:
        """Net positions of one access token."""
        net: dict[tuple[str, str, str], int] = defaultdict(int)
        for order in self.of(token):
            form = order.form
            sign = 1 if form["transaction_type"] == "BUY" else -1
            key = form["exchange"], form["tradingsymbol"], form["product"]
            net[key] += sign * int(form["quantity"])
        return [
            {"exchange": exchange, "tradingsymbol": symbol, "product": product, "quantity": units}
            for (exchange, symbol, product), units in net.items()
        ]


class Sink:
    """The server. ``offset``: seconds by which our clock is ahead, for the quotes' time stamps."""

    def __init__(
        self, port: int, *, offset: float = 0.0, answer_after: float = 0.0, updates: bool = False
    ) -> None:
        self.book = Book()
        self._updates = updates
        self._listening: dict[str, set[int]] = defaultdict(set)
        self._offset = offset
        self._answer_after = answer_after
        self._peers: dict[int, _Peer] = {}
        self._waiting: deque[tuple[float, int, bytes, Arrival]] = deque()
        self._count = 0
        self._ready = 0
        self._running = True
        self._listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._epoll = select.epoll()
        self._epoll.register(self._listener.fileno(), select.EPOLLIN)

    def peers(self) -> list[_Peer]:
        """The open connections."""
        return list(self._peers.values())

    def stop(self, *_: object) -> None:
        """End :meth:`serve` (also a signal handler)."""
        self._running = False

    def serve(self) -> None:
        """Serve until stopped."""
        listener = self._listener.fileno()
        while self._running:
            complete: list[tuple[int, _Peer, bytes]] = []
            for number, _ in self._epoll.poll(self._patience()):
                if number == listener:
                    self._accept()
                else:
                    self._read(number, complete)
            for number, peer, raw in complete:
                self._answer(number, peer, raw)
            self._send_due()
        self.close()

    def close(self) -> None:
        """Close every socket."""
        for peer in self._peers.values():
            peer.connection.close()
        self._listener.close()
        self._epoll.close()

    def _patience(self) -> float:
        if not self._waiting:
            return 0.5
        return max(0.0, self._waiting[0][0] - time.monotonic())

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, RECEIVE_STAMPS, 1)
            self._peers[connection.fileno()] = _Peer(connection)
            self._epoll.register(connection.fileno(), select.EPOLLIN)

    def _read(self, number: int, complete: list[tuple[int, _Peer, bytes]]) -> None:
        peer = self._peers[number]
        try:
            data, control, _, _ = peer.connection.recvmsg(_READ, _CONTROL)
        except (BlockingIOError, ConnectionError):
            data, control = b"", []
        if not data:
            self._drop(number)
            return
        if not peer.buffer:
            peer.read_at = time.time()
            peer.at = _stamp(control) or peer.read_at
        raw = peer.buffer + data
        if peer.listens_for:
            peer.buffer = self._hear(number, raw)
        elif _is_complete(raw):
            peer.buffer = b""
            complete.append((number, peer, raw))
        else:
            peer.buffer = raw

    def _drop(self, number: int) -> None:
        peer = self._peers.pop(number)
        self._listening[peer.listens_for].discard(number)
        self._epoll.unregister(number)
        peer.connection.close()

    def _answer(self, number: int, peer: _Peer, raw: bytes) -> None:
        if raw.startswith(b"POST /orders/"):
            self._count += 1
            order_id = f"{self._count:015d}"
            arrival = Arrival(peer.at, peer.read_at, order_id, raw)
            self.book.arrivals.append(arrival)
            body = b'{"status":"success","data":{"order_id":"%s"}}' % order_id.encode()
            if self._answer_after:
                due = time.monotonic() + self._answer_after
                self._waiting.append((due, number, _response(body), arrival))
            else:
                self._fill(number, _response(body), arrival)
        elif self._updates and raw.startswith(b"GET /?") and b"Upgrade: websocket" in raw:
            self._listen(number, peer, raw)
        else:
            self._write(number, self._order_answer(raw))

    def _fill(self, number: int, answer: bytes, arrival: Arrival) -> None:
        """Answer an order, which counts as filled then, and notify listeners."""
        arrival.filled_at = time.time()
        self._write(number, answer)
        if not self._updates:
            return
        order = parse_order(arrival)
        frame = _text_frame(json.dumps({"type": "order", "data": order.row()}).encode())
        for listener in list(self._listening.get(order.token, ())):
            self._write(listener, frame)

    def _listen(self, number: int, peer: _Peer, raw: bytes) -> None:
        """Open a websocket for the updates of the token in its address (RFC 6455, section 4)."""
        query = parse_qs(urlsplit(raw.split(b" ", 2)[1].decode()).query)
        peer.listens_for = query["access_token"][0]
        self._listening[peer.listens_for].add(number)
        key = _header(raw, b"sec-websocket-key")
        proof = base64.b64encode(hashlib.sha1(key + _MAGIC, usedforsecurity=False).digest())
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self._write(number, head + b"Sec-WebSocket-Accept: " + proof + b"\r\n\r\n")

    def _hear(self, number: int, raw: bytes) -> bytes:
        """Answer pings and ignore other frames, which are small. Returns the rest."""
        while len(raw) >= 6 and len(raw) >= 6 + (raw[1] & 0x7F):
            kind, end = raw[0] & 0x0F, 6 + (raw[1] & 0x7F)
            mask, payload, raw = raw[2:6], raw[6:end], raw[end:]
            if kind == _PING:
                plain = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
                self._write(number, bytes((0x8A, len(plain))) + plain)
            elif kind == _CLOSE:
                self._drop(number)
                return b""
        return raw

    def _send_due(self) -> None:
        now = time.monotonic()
        while self._waiting and self._waiting[0][0] <= now:
            _, number, answer, arrival = self._waiting.popleft()
            self._fill(number, answer, arrival)

    def _write(self, number: int, answer: bytes) -> None:
        peer = self._peers.get(number)
        if peer is None:
            return
        try:
            sent = peer.connection.send(answer)
            if sent < len(answer):
                # Only the benchmark's own long answers fill a socket's buffer: block until they are
                # read.
                peer.connection.setblocking(True)
                peer.connection.sendall(answer[sent:])
                peer.connection.setblocking(False)
        except OSError:
            self._drop(number)

    def _order_answer(self, raw: bytes) -> bytes:
        """Answer all requests except for placing an order."""
        head = raw.partition(_HEAD_END)[0]
        method, target = head.split(b" ", 2)[:2]
        url = urlsplit(target.decode())
        token = _token(head)
        match method, url.path:
            case b"GET", "/orders":
                return _json({"status": "success", "data": [o.row() for o in self.book.of(token)]})
            case b"GET", "/portfolio/positions":
                net = self.book.positions(token)
                return _json({"status": "success", "data": {"net": net, "day": []}})
            case b"GET", "/quote":
                return _json({"status": "success", "data": self._quotes(url.query)})
            case b"GET", "/bench/arrivals":
                return _json([_order_json(order) for order in self.book.orders()])
            case b"GET", "/bench/count":
                return _json({"orders": len(self.book.arrivals), "ready": self._ready})
            case b"POST", "/bench/ready":
                self._ready += 1
                return _json({})
            case b"POST", "/bench/updates":
                self._updates = url.query == "on"
                for listeners in [*self._listening.values()]:
                    for number in [*listeners]:
                        self._drop(number)
                return _json({})
            case b"POST", "/bench/reset":
                self.book, self._ready = Book(), 0
                return _json({})
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"

    def _quotes(self, query: str) -> dict[str, Any]:
        now = dt.datetime.fromtimestamp(time.time() + self._offset, IST)
        return {
            name: _quote(SPOT if name.startswith("NSE:") else PREMIUM, f"{now:%Y-%m-%d %H:%M:%S}")
            for name in parse_qs(query).get("i", [])
        }


def _quote(last: float, at: str) -> dict[str, Any]:
    depth = {
        "buy": [{"price": last - 0.1, "quantity": 1000, "orders": 5}],
        "sell": [{"price": last + 0.1, "quantity": 1000, "orders": 5}],
    }
    return {"last_price": last, "timestamp": at, "depth": depth}


def _order_json(order: Order) -> dict[str, Any]:
    return {
        "tag": order.form.get("tag", ""),
        "account": order.token,
        "side": order.form["transaction_type"],
        "symbol": order.form["tradingsymbol"],
        "quantity": int(order.form["quantity"]),
        "at": order.arrival.at,
        "read_at": order.arrival.read_at,
        "filled_at": order.arrival.filled_at,
    }


def _stamp(control: list[Any]) -> float:
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == RECEIVE_STAMPS:
            seconds, nanoseconds = _TIMESPEC.unpack(data[: _TIMESPEC.size])
            return float(seconds) + float(nanoseconds) / 1e9
    return 0.0


def main() -> None:
    """Command line; prints the port once it listens."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--clock-offset", type=float, default=0.0)
    parser.add_argument("--answer-after", type=float, default=0.0, help="seconds")
    parser.add_argument("--updates", action="store_true", help="tell of fills by websocket")
    parser.add_argument("--with-parent", action="store_true", help="end when who started this ends")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sink = Sink(
        options.port,
        offset=options.clock_offset,
        answer_after=options.answer_after,
        updates=options.updates,
    )
    signal.signal(signal.SIGTERM, sink.stop)
    if options.with_parent:
        die_with_parent(signal.SIGTERM)
    gc.disable()
    print(sink.port, flush=True)
    sink.serve()


if __name__ == "__main__":
    main()
