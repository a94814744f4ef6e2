"""A misbehaving HTTP server on a loopback port, one scripted behaviour per connection."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Behaviour = Callable[[socket.socket, bytes], None]


@contextmanager
def server(
    behave: Behaviour, context: ssl.SSLContext | None = None
) -> Iterator[tuple[str, list[bytes]]]:
    """``(base url, requests seen)`` while the server runs; with a ``context`` it speaks TLS."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)
    seen: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:
                return
            accepted.settimeout(10)
            try:
                connection = (
                    context.wrap_socket(accepted, server_side=True) if context else accepted
                )
            except OSError:  # a client that does not like our certificate
                accepted.close()
                continue
            with connection:
                try:
                    request = _read_request(connection)
                    seen.append(request)
                    behave(connection, request)
                except OSError:
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{listener.getsockname()[1]}", seen
    finally:
        # shutdown first: close alone does not wake a thread that waits in accept
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def _read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            return data
        data += chunk
        if data.startswith(b"\x16"):  # a TLS handshake: nothing of HTTP will come
            return data
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def reply(payload: bytes, status: str = "200 OK", *headers: str) -> Behaviour:
    """A well-formed answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(payload)}", "Connection: close", *headers]
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"
    return lambda connection, request: connection.sendall(head + payload)


def raw(data: bytes) -> Behaviour:
    """Just these bytes, then a close."""
    return lambda connection, request: connection.sendall(data)


def in_pieces(payload: bytes, size: int, *headers: str) -> Behaviour:
    """A well-formed answer whose head and body leave in pieces of ``size`` bytes."""

    def behave(connection: socket.socket, request: bytes) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        length = [] if any(h.startswith("Transfer-") for h in headers) else [len(payload)]
        lines = ["HTTP/1.1 200 OK", *(f"Content-Length: {n}" for n in length), *headers]
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
        for start in range(0, len(payload), size):
            connection.sendall(payload[start : start + size])
            if start < 20 * size:
                time.sleep(0.001)  # so that the first ones are read one by one

    return behave


def reset(connection: socket.socket, request: bytes) -> None:
    """Read the request, answer with a TCP reset."""
    linger = struct.pack("ii", 1, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


def refused_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Swallower:
    """A listener that answers no SYN: its queue of connections is full."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        self._listener.bind((host, port))
        self._listener.listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._filling = []
        for _ in range(4):
            filler = socket.socket(family, socket.SOCK_STREAM)
            filler.setblocking(False)
            filler.connect_ex((host, self.port))
            self._filling.append(filler)

    def __enter__(self) -> Swallower:
        return self

    def __exit__(self, *exc: object) -> None:
        for connection in (*self._filling, self._listener):
            connection.close()
