"""The partner's own webhook receiver: verifies Standard Webhooks signatures by hand.

standardwebhooks.com: HMAC-SHA256 over ``id.timestamp.body`` with the base64 part of the ``whsec_``
secret; one of the space-separated ``v1,`` signatures has to match.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

TOLERANCE: Final = 300.0


@dataclass(frozen=True)
class Webhook:
    """One event with a valid signature."""

    id: str
    type: str
    data: dict[str, Any]


def verify(secret: str, headers: dict[str, str], body: bytes, now: float) -> str:
    """'' for a valid signature, else what is wrong with it. ``now`` in unix seconds."""
    message_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    given = headers.get("webhook-signature", "")
    if not (message_id and timestamp.isdigit() and given):
        return "headers missing"
    if abs(now - int(timestamp)) > TOLERANCE:
        return "timestamp too far off"
    key = base64.b64decode(secret.removeprefix("whsec_"))
    text = f"{message_id}.{timestamp}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
    good = any(hmac.compare_digest(expected, signature) for signature in given.split(" "))
    return "" if good else "signature does not match"


@dataclass
class Receiver:
    """A loopback HTTP server that stores deliveries. ``secret`` is set once it is known."""

    secret: str = ""
    received: dict[str, Webhook] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    deliveries: int = 0

    def __post_init__(self) -> None:
        self._guard = threading.Lock()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """The address for deliveries."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/webhooks"

    def start(self) -> None:
        """Listen on a free loopback port."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """Handle one delivery; returns the status to answer. A repeated id counts once."""
        wrong = verify(self.secret, headers, body, time.time())
        with self._guard:
            self.deliveries += 1
            if wrong:
                self.refused.append(wrong)
                return 401
            message = json.loads(body)
            webhook = Webhook(headers["webhook-id"], message["type"], message["data"])
            self.received[webhook.id] = webhook
            return 204

    def all(self) -> list[Webhook]:
        """All events so far."""
        with self._guard:
            return list(self.received.values())


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, receiver: Receiver) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.receiver = receiver


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        """Take one delivery."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            status = self.server.receiver.take(headers, body)
        except (ValueError, KeyError) as error:
            self.server.receiver.refused.append(f"unreadable body: {error}")
            status = 400
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Suppress the log."""
