"""A real receiver of webhooks on loopback, as a partner would run one."""

from __future__ import annotations

import datetime as dt
import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from partners.models import Partner
from partners.webhooks.services import CreatedEndpoint, create_endpoint
from quantleap.core import clock, outbox
from quantleap.core.audit import SYSTEM


@dataclass
class Received:
    """One request as it came in."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Sink:
    """What came in, and what to answer: ``answer(request number, request) -> status``."""

    url: str = ""
    answer: Callable[[int, Received], int] = lambda number, request: 204
    requests: list[Received] = field(default_factory=list)
    location: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, request: Received) -> int:
        """Keep a request and decide on its answer."""
        with self.lock:
            self.requests.append(request)
            number = len(self.requests)
        return self.answer(number, request)


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True
    sink: Sink


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        status = self.server.sink.take(Received(self.path, headers, body))
        self.send_response(status)
        if self.server.sink.location:
            self.send_header("Location", self.server.sink.location)
        if status != 204:
            self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@contextmanager
def running_sink() -> Iterator[Sink]:
    """A receiver on a free loopback port for the length of a ``with``."""
    sink = Sink()
    server = _Server(("127.0.0.1", 0), _Handler)
    server.sink = sink
    sink.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield sink
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def endpoint_of(partner: Partner, sink: Sink, **fields: Any) -> CreatedEndpoint:
    values: dict[str, Any] = {"environment": "live", "actor": SYSTEM, "now": clock.now(), **fields}
    return create_endpoint(partner_id=partner.pk, url=sink.url, **values)


def tell(
    partner: Partner | None,
    type: str = "subscription.created",
    payload: dict[str, Any] | None = None,
    environment: str = "live",
    times: int = 1,
    about: str = "",
    now: dt.datetime | None = None,
) -> None:
    """Write events and let the relay turn them into deliveries, at ``now`` or by the clock."""
    now = now or clock.now()
    with transaction.atomic():
        for number in range(times):
            outbox.emit(
                type,
                payload or {"number": number},
                about=about or f"sub_{number}",
                partner_id=partner.pk if partner else None,
                environment=environment,
                now=now,
            )
    outbox.relay(now=now, batch=5000)
