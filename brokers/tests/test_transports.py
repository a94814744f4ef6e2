"""Both transports against a misbehaving server: what arrived, and what can be proven of it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable

import pytest

from brokers import transport_async, transport_sync
from brokers.base import HttpRequest, HttpResponse, Outcome
from brokers.tests import loopback
from brokers.transport_sync import Limits, TransportError

ORDER = HttpRequest(
    "POST",
    "/orders/regular?i=NSE%3ANIFTY+50&i=a%20b",
    {"Authorization": "token k:t", "Content-Type": "application/x-www-form-urlencoded"},
    b"tradingsymbol=M%26M&tag=Q1",
)
QUICK = Limits(connect=0.5, read=0.5, max_bytes=1000)

Send = Callable[..., HttpResponse]


def _sync(request: HttpRequest, base_url: str, limits: Limits = QUICK) -> HttpResponse:
    return transport_sync.send(request, base_url=base_url, limits=limits)


def _async(request: HttpRequest, base_url: str, limits: Limits = QUICK) -> HttpResponse:
    async def run() -> HttpResponse:
        async with transport_async.client() as client:
            return await transport_async.send(client, request, base_url=base_url, limits=limits)

    return asyncio.run(run())


both = pytest.mark.parametrize("send", [_sync, _async], ids=["requests", "aiohttp"])


@both
def test_the_request_arrives_as_the_adapter_made_it(send: Send) -> None:
    with loopback.server(loopback.reply(b'{"a": 1}', "201 Created", "X-Kite: Yes")) as (url, seen):
        answer = send(ORDER, url)
    assert (answer.status, answer.body, answer.headers["x-kite"]) == (201, b'{"a": 1}', "Yes")
    head, _, body = seen[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /orders/regular?i=NSE%3ANIFTY+50&i=a%20b HTTP/1.1"
    assert b"Authorization: token k:t" in lines
    assert body == ORDER.body
    assert sum(line.lower().startswith(b"content-length") for line in lines) == 1
    assert sum(line.lower().startswith(b"content-type") for line in lines) == 1


@both
def test_a_redirect_is_an_answer_and_is_not_followed(send: Send) -> None:
    behave = loopback.reply(b"", "302 Found", "Location: http://127.0.0.1:1/")
    with loopback.server(behave) as (url, seen):
        assert send(ORDER, url).status == 302
    assert len(seen) == 1


@both
def test_refused_and_unknown_hosts_were_not_sent(send: Send) -> None:
    for base_url in (f"http://127.0.0.1:{loopback.refused_port()}", "http://broker.invalid"):
        with pytest.raises(TransportError) as caught:
            send(ORDER, base_url)
        assert caught.value.outcome is Outcome.NOT_SENT


@both
def test_a_failed_handshake_was_not_sent(send: Send) -> None:
    with (
        loopback.server(loopback.raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as (url, _),
        pytest.raises(TransportError) as caught,
    ):
        send(ORDER, url.replace("http://", "https://"))
    assert caught.value.outcome is Outcome.NOT_SENT


@both
@pytest.mark.parametrize(
    "behave",
    [
        loopback.reset,
        loopback.raw(b""),
        loopback.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"),
        loopback.raw(b"nonsense\r\n\r\n"),
        loopback.reply(b"x" * 5000),
        loopback.raw(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"),
    ],
    ids=["reset", "closed", "half a body", "nonsense", "too large", "bad gzip"],
)
def test_once_written_everything_else_is_unknown(send: Send, behave: loopback.Behaviour) -> None:
    with loopback.server(behave) as (url, seen), pytest.raises(TransportError) as caught:
        send(ORDER, url)
    assert caught.value.outcome is Outcome.UNKNOWN
    assert len(seen) == 1  # never sent again


@both
def test_half_a_head_is_never_more_than_an_empty_answer(send: Send) -> None:
    with loopback.server(loopback.raw(b"HTTP/1.1 200 OK\r\nContent-Le")) as (url, _):
        try:
            body, outcome = send(ORDER, url).body, Outcome.UNKNOWN
        except TransportError as error:
            body, outcome = b"", error.outcome
    assert (body, outcome) == (b"", Outcome.UNKNOWN)


@both
def test_silence_and_dripping_end_in_unknown(send: Send) -> None:
    release = threading.Event()

    def hang(connection: socket.socket, request: bytes) -> None:
        release.wait(10)

    def drip(connection: socket.socket, request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n")
        while not release.wait(0.05):
            connection.sendall(b"x")

    for behave in (hang, drip):
        release.clear()
        with loopback.server(behave) as (url, _):
            with pytest.raises(TransportError) as caught:
                send(ORDER, url)
            release.set()
        assert caught.value.outcome is Outcome.UNKNOWN


def test_a_line_keeps_its_connection_and_opens_a_closed_one_anew() -> None:
    requests_per_connection: list[int] = []

    def two_then_close(connection: socket.socket, request: bytes) -> None:
        requests_per_connection.append(0)
        for _ in range(2):
            requests_per_connection[-1] += 1
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            if requests_per_connection[-1] < 2 and not connection.recv(65536):
                return

    read = HttpRequest("GET", "/quote?i=a")
    line = transport_sync.Line()
    with loopback.server(two_then_close) as (url, _):
        answers = [line.send(read, base_url=url, limits=QUICK).status for _ in range(5)]
        line.close()
    assert answers == [200] * 5
    assert requests_per_connection == [2, 2, 1]


def test_the_environment_neither_redirects_nor_authorises(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dead = f"http://127.0.0.1:{loopback.refused_port()}"
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, dead)
    for send in (_sync, _async):
        with loopback.server(loopback.reply(b"{}")) as (url, _):
            assert send(ORDER, url).status == 200


def test_an_account_leaves_through_its_own_proxy_or_address() -> None:
    with loopback.server(loopback.reply(b"{}")) as (proxy, seen):
        transport_sync.send(ORDER, base_url="http://broker.invalid", egress=proxy, limits=QUICK)
    assert seen[0].startswith(b"POST http://broker.invalid/orders/regular")
    peers: list[str] = []

    def note(connection: socket.socket, request: bytes) -> None:
        peers.append(connection.getpeername()[0])
        loopback.reply(b"{}")(connection, request)

    with loopback.server(note) as (url, _):
        transport_sync.send(ORDER, base_url=url, egress="127.0.0.2", limits=QUICK)
    assert peers == ["127.0.0.2"]
    dead = f"http://user:hidden@127.0.0.1:{loopback.refused_port()}"
    with pytest.raises(TransportError) as caught:
        transport_sync.send(ORDER, base_url="http://broker.invalid", egress=dead, limits=QUICK)
    assert caught.value.outcome is Outcome.NOT_SENT
    assert "hidden" not in str(caught.value)
