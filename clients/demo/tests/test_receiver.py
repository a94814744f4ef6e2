"""The receiver's own signature check: good ones pass, everything else does not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import time
from urllib.parse import urlsplit

import pytest

from clients.demo.receiver import Receiver, verify

KEY = b"k" * 32
SECRET = "whsec_" + base64.b64encode(KEY).decode()
BODY = b'{"type":"execution.completed","timestamp":"2026-09-08T03:50:00Z","data":{"a":1}}'


def signed(body: bytes = BODY, at: float = 1_000_000.0, key: bytes = KEY) -> dict[str, str]:
    text = f"msg_1.{int(at)}.".encode() + body
    signature = base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(at)),
        "webhook-signature": f"v1,{signature}",
    }


def test_good_signature() -> None:
    assert verify(SECRET, signed(), BODY, 1_000_010.0) == ""


def test_one_of_two_signatures_is_enough() -> None:
    headers = signed()
    headers["webhook-signature"] = "v1,bm90IHRoaXM= " + headers["webhook-signature"]
    assert verify(SECRET, headers, BODY, 1_000_010.0) == ""


@pytest.mark.parametrize(
    ("headers", "body", "now"),
    [
        (signed(key=b"x" * 32), BODY, 1_000_010.0),
        (signed(), BODY + b" ", 1_000_010.0),
        (signed(), BODY, 1_000_400.0),
        ({}, BODY, 1_000_010.0),
        ({**signed(), "webhook-id": "msg_2"}, BODY, 1_000_010.0),
    ],
)
def test_bad_ones(headers: dict[str, str], body: bytes, now: float) -> None:
    assert verify(SECRET, headers, body, now)


def post(url: str, headers: dict[str, str], body: bytes) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    connection.request("POST", parts.path, body, headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_over_a_socket_a_repeated_event_counts_once() -> None:
    receiver = Receiver(secret=SECRET)
    receiver.start()
    try:
        good = signed(at=time.time())
        assert post(receiver.url, good, BODY) == 204
        assert post(receiver.url, good, BODY) == 204
        assert post(receiver.url, {**good, "webhook-signature": "v1,no"}, BODY) == 401
    finally:
        receiver.stop()
    assert [webhook.data for webhook in receiver.all()] == [json.loads(BODY)["data"]]
    assert receiver.deliveries == 3
    assert receiver.refused == ["signature does not match"]
