"""Opening and ending the prepared sender's sockets: addresses, TLS, bytes that must not live on."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.base import HttpRequest, Outcome, SendResult
from brokers.tests import loopback
from brokers.tests.certificates import Authority
from execution import lifecycle, transitions
from execution.engine.wire.connection import Answer, Connection, serialise
from execution.engine.wire.sockets import KERNEL_TIMEOUT, NotConnected, Target, kernel_timeout
from execution.tests import wire
from execution.tests.inmemory import ENTRY_AT, live_intent

ORDER = b"POST /orders HTTP/1.1\r\nContent-Length: 60000\r\n\r\n" + b"x" * 60_000


def listener() -> socket.socket:
    """A broker whose receive window is soon full: what it does not read stays with our kernel."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    listening.settimeout(10)
    return listening


def read_all(accepted: socket.socket) -> tuple[int, str]:
    """How many bytes arrive at a broker that is back, and how the connection ends."""
    accepted.settimeout(10)
    count = 0
    try:
        while data := accepted.recv(65536):
            count += len(data)
    except ConnectionResetError:
        return count, "reset"
    return count, "closed"


# -- d1: what was given up never arrives -----------------------------------------------------------
def test_bytes_of_an_order_that_was_given_up_never_arrive() -> None:
    async def main(listening: socket.socket) -> tuple[socket.socket, Answer]:
        target = Target("127.0.0.1", listening.getsockname()[1], tls=False)
        connection = Connection(target, asyncio.get_running_loop())
        await connection.connect()
        accepted, _ = listening.accept()
        done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        connection.send(ORDER, done.set_result, 0.05)
        assert not connection._pending  # the kernel has taken all of it
        return accepted, await asyncio.wait_for(done, 5)

    with listener() as listening:
        accepted, answer = asyncio.run(main(listening))
        with accepted:
            arrived, end = read_all(accepted)
    assert answer.error == "timeout"
    assert end == "reset"
    assert arrived < len(ORDER)


def test_control_bytes_of_a_closed_socket_all_arrive() -> None:
    """The socket is closed, not reset."""
    with listener() as listening:
        plain = socket.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
        plain.setblocking(False)
        assert plain.send(ORDER) == len(ORDER)
        plain.close()
        with accepted:
            assert read_all(accepted) == (len(ORDER), "closed")


def test_a_socket_is_reset_by_the_death_of_its_process_too() -> None:
    """The kernel gives up in time, too. Both are properties of the socket from its connect on,
    whoever closes it in the end."""

    async def main() -> tuple[bytes, int]:
        async with wire.broker(lambda request, before: b"") as (url, _):
            connection = Connection(Target.of(url), asyncio.get_running_loop(), drop_after=2.5)
            await connection.connect()
            raw = connection._socket
            assert raw is not None
            linger = raw.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
            timeout = getattr(socket, "TCP_USER_TIMEOUT", None)
            given = raw.getsockopt(socket.IPPROTO_TCP, timeout) if timeout else 2500
            connection.close()
            return linger, given

    assert asyncio.run(main()) == (struct.pack("ii", 1, 0), 2500)


@given(answer=st.floats(0.1, 60), visibility=st.floats(2, 120))
def test_the_kernel_gives_up_before_absence_can_count(answer: float, visibility: float) -> None:
    assert 1.0 <= kernel_timeout(answer, visibility) <= max(1.0, min(answer, visibility / 2))
    assert kernel_timeout(5.0, 10.0) >= KERNEL_TIMEOUT


def test_visibility_counts_from_the_reset_not_from_the_send() -> None:
    """Sent at 100, given up at 105: the broker's ten seconds are over at 115."""
    intent = live_intent(state=lifecycle.SENDING, sends=1, sent_mono=100.0)
    unknown = SendResult(Outcome.UNKNOWN, message="timeout")
    transitions.apply_answer(intent, unknown, at=ENTRY_AT, now_mono=105.0, jitter=0.0)

    def proven(reads: Iterable[float]) -> list[bool]:
        return [
            transitions.apply_absence(
                intent,
                read_started_mono=read,
                visibility_delay=10.0,
                at=ENTRY_AT,
                now_mono=read,
                jitter=0.0,
            )
            for read in reads
        ]

    # one that began before the reset, then three over five seconds, but too early
    assert proven([104.0, 105.5, 108.0, 111.0, 114.9]) == [False] * 5
    assert proven([115.1]) == [True]
    assert (intent.state, intent.sends) == (lifecycle.PLANNED, 1)


# -- d26: all addresses of a host ------------------------------------------------------------------
@pytest.fixture
def two_families(monkeypatch: pytest.MonkeyPatch) -> str:
    """A name with an AAAA record first and an A record second, both of this machine."""
    ask = socket.getaddrinfo

    def answer(host: Any, port: Any, family: int = 0, *rest: Any, **named: Any) -> Any:
        if host != "broker.example":
            return ask(host, port, family, *rest, **named)
        addresses = [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]
        return [row for row in addresses if family in (0, row[0])]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return "broker.example"


def peer_of(host: str, port: int, source: str = "") -> str:
    """From where a connection to ``host`` leaves."""

    async def main() -> str:
        connection = Connection(
            Target(host, port, tls=False, source=source), asyncio.get_running_loop()
        )
        await connection.connect()
        raw = connection._socket
        assert raw is not None
        address: str = raw.getsockname()[0]
        connection.close()
        return address

    return asyncio.run(main())


@pytest.mark.parametrize("source", ["", "127.0.0.2"], ids=["own address", "IPv4 egress"])
def test_a_dead_aaaa_record_is_not_the_end(two_families: str, source: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:  # and nobody listens on ::1
        peer = peer_of(two_families, listening.getsockname()[1], source)
    assert peer == (source or "127.0.0.1")


def test_an_aaaa_record_that_swallows_syns_is_not_the_end(two_families: str) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        loopback.Swallower("::1", listening.getsockname()[1]),
    ):
        assert peer_of(two_families, listening.getsockname()[1]) == "127.0.0.1"


def test_an_egress_of_a_family_that_the_host_lacks_is_named() -> None:
    with pytest.raises(NotConnected, match=r"\w"):
        peer_of("127.0.0.1", 9, "::1")


def test_an_egress_that_is_not_this_machines_is_not_told_on() -> None:
    """The address is sealed; the reason of a failed connect stands on orders and in the log."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        pytest.raises(NotConnected) as caught,
    ):
        peer_of("127.0.0.1", listening.getsockname()[1], "203.0.113.7")
    assert str(caught.value) == "the account's egress address is none of this machine's"


# -- d25: TLS --------------------------------------------------------------------------------------
@asynccontextmanager
async def tls_broker(context: ssl.SSLContext) -> AsyncIterator[tuple[Target, list[bool]]]:
    """Answers 200 over TLS; notes of each connection whether its session was resumed."""
    resumed: list[bool] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        resumed.append(writer.get_extra_info("ssl_object").session_reused)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(wire.reply(b"ok"))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    running = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield Target("127.0.0.1", running.sockets[0].getsockname()[1], tls=True), resumed
    finally:
        running.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_second_connection_resumes_the_session_of_the_first(
    version: ssl.TLSVersion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
    context = authority.server()
    context.maximum_version = version

    async def main() -> list[bool]:
        async with tls_broker(context) as (target, resumed):
            raw = serialise(HttpRequest("GET", "/"), target)
            for _ in range(3):
                connection = Connection(target, asyncio.get_running_loop())
                await connection.connect()
                done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
                connection.send(raw, done.set_result, 5)
                answer = await asyncio.wait_for(done, 5)
                assert answer.response is not None
                connection.close()
            return resumed

    assert asyncio.run(main()) == [False, True, True]


def test_a_bad_certificate_is_no_send_and_is_told_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was BROKER_DOWN with an empty message and three sends, though no byte had left."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)

    async def main() -> wire.Told:
        async with tls_broker(Authority(tmp_path).server()) as (target, _):
            told = wire.Told()
            channel = wire.channel(f"https://127.0.0.1:{target.port}", told)
            channel.submit(wire.sending(channel))
            await told.until(lambda told: bool(told.not_sent))
            channel.close()
            return told

    told = asyncio.run(main())
    [(_, reason, message)] = told.not_sent
    assert (reason, told.sent) == ("BROKER_DOWN", [])
    assert message == (
        "the broker's certificate is not accepted: unable to get local issuer certificate"
    )


def test_three_connects_that_fail_leave_an_entry_three_sends() -> None:
    intent = live_intent(state=lifecycle.SENDING, sends=1)
    waits = []
    for _ in range(3):
        intent.state, intent.sends = lifecycle.SENDING, intent.sends or 1
        transitions.not_sent(
            intent, "BROKER_DOWN", "refused", at=ENTRY_AT, now_mono=100.0, jitter=0.0
        )
        waits.append(intent.not_before_mono - 100.0)
    assert (intent.state, intent.sends, intent.message) == (lifecycle.PLANNED, 0, "refused")
    assert waits == [0.25, 1.0, 3.0]


def test_an_exit_without_a_connection_begins_anew() -> None:
    """The exit starts again at a fresh price."""
    intent = live_intent(state=lifecycle.SENDING, sends=1, purpose=lifecycle.EXIT)
    for _ in range(3):
        intent.state, intent.sends = lifecycle.SENDING, 1
        transitions.not_sent(
            intent, "BROKER_DOWN", "refused", at=ENTRY_AT, now_mono=100.0, jitter=0.0
        )
    assert (intent.state, intent.sends, intent.cause) == (lifecycle.MISSED, 0, "BROKER_DOWN")
