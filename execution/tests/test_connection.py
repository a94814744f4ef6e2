"""The prepared sender's connection against a real, badly behaved loopback server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from brokers.base import HttpRequest
from execution.engine.wire.connection import Answer, Connection, serialise
from execution.engine.wire.sockets import NotConnected, Target
from quantleap.core import clock

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@asynccontextmanager
async def server(behaviour: Behaviour) -> AsyncIterator[Target]:
    """A server on a free loopback port."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await behaviour(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    running = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = running.sockets[0].getsockname()[1]
    try:
        yield Target("127.0.0.1", port, tls=False)
    finally:
        running.close()


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """One request without a body."""
    return await reader.readuntil(b"\r\n\r\n")


async def ask(connection: Connection, raw: bytes, timeout: float = 1.0) -> Answer:
    """One request; waits for its answer."""
    done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    connection.send(raw, done.set_result, clock.monotonic() + timeout)
    return await asyncio.wait_for(done, 5)


def play(behaviour: Behaviour, *, requests: int = 1, timeout: float = 1.0) -> list[Answer]:
    """Connect, send ``requests`` requests one after another, and return their answers."""

    async def main() -> list[Answer]:
        async with server(behaviour) as target:
            connection = Connection(target, asyncio.get_running_loop())
            await connection.connect()
            raw = serialise(HttpRequest("GET", "/orders", {"X-Test": "1"}), target)
            answers = [await ask(connection, raw, timeout) for _ in range(requests)]
            connection.close()
            return answers

    return asyncio.run(main())


def test_one_connection_serves_one_request_after_another() -> None:
    async def polite(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(OK)
            await writer.drain()

    answers = play(polite, requests=3)
    assert [a.response.body if a.response else None for a in answers] == [b"ok"] * 3


def test_an_answer_in_crumbs_is_put_together() -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for byte in OK:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    (answer,) = play(slow)
    assert answer.response is not None
    assert (answer.response.status, answer.response.body) == (200, b"ok")


@pytest.mark.parametrize(
    "written",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf",
        b"this is no HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n" + b"x" * 400_000,
    ],
    ids=["nothing", "truncated", "garbage", "huge"],
)
def test_what_is_no_answer_is_an_error_once(written: bytes) -> None:
    async def bad(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(written)
        await writer.drain()

    (answer,) = play(bad)
    assert answer.response is None
    assert answer.error


@pytest.mark.parametrize(
    "interim",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 3,
    ],
    ids=["100", "103", "three of them"],
)
@pytest.mark.parametrize("apart", [False, True], ids=["one segment", "two segments"])
def test_an_interim_answer_is_skipped(interim: bytes, apart: bool) -> None:
    """It was the order's verdict, and the real one was the next order's."""

    async def hesitant(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in (b"1", b"2"):
            await read_request(reader)
            if apart:
                writer.write(interim)
                await writer.drain()
                await asyncio.sleep(0.01)
            answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + number
            writer.write(answer if apart else interim + answer)
            await writer.drain()

    answers = play(hesitant, requests=2)
    verdicts = [(a.response.status, a.response.body, a.error) for a in answers if a.response]
    assert verdicts == [(200, b"1", ""), (200, b"2", "")]
    assert "link" not in (answers[0].response.headers if answers[0].response else {})


@pytest.mark.parametrize(
    "written",
    [
        OK + b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno",
        OK + b"HTTP/1.1 400 Bad",
        OK + b"rubbish",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
    ids=["two answers", "an answer and a half", "an answer and rubbish", "101", "100 only"],
)
def test_data_beyond_an_answer_closes_and_tells_no_verdict(written: bytes) -> None:
    """Bug: order 2 was told the verdict of order 1."""

    async def talkative(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(written)
        await writer.drain()
        await reader.read()

    async def main() -> tuple[Answer, bool]:
        async with server(talkative) as target:
            connection = Connection(target, asyncio.get_running_loop())
            await connection.connect()
            answer = await ask(connection, serialise(HttpRequest("GET", "/"), target), 0.3)
            with pytest.raises(NotConnected):
                connection.send(b"the second order", lambda answer: None, clock.monotonic() + 1)
            return answer, connection.is_open

    answer, is_open = asyncio.run(main())
    assert (answer.response, is_open) == (None, False)
    assert answer.error


def test_silence_ends_at_the_timeout() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await reader.read()  # until the client gives up

    (answer,) = play(silent, timeout=0.05)
    assert (answer.response, answer.error) == (None, "timeout")


def test_connection_close_is_obeyed() -> None:
    """The next request fails with ``NotConnected``, so that it was provably not sent."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()

    async def main() -> None:
        async with server(once) as target:
            connection = Connection(target, asyncio.get_running_loop())
            await connection.connect()
            raw = serialise(HttpRequest("GET", "/"), target)
            answer = await ask(connection, raw)
            assert answer.response is not None
            assert not connection.is_open
            with pytest.raises(NotConnected):
                connection.send(raw, lambda answer: None, clock.monotonic() + 1)

    asyncio.run(main())


def test_nobody_listening_is_not_connected() -> None:
    async def main() -> None:
        async with server(lambda reader, writer: asyncio.sleep(0)) as target:
            closed = target
        connection = Connection(closed, asyncio.get_running_loop())
        with pytest.raises(NotConnected):
            await connection.connect()

    asyncio.run(main())


def test_a_busy_connection_takes_no_second_request() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def main() -> None:
        async with server(silent) as target:
            connection = Connection(target, asyncio.get_running_loop())
            await connection.connect()
            raw = serialise(HttpRequest("GET", "/"), target)
            answers: list[Answer] = []
            connection.send(raw, answers.append, clock.monotonic() + 5)
            assert not connection.is_idle
            with pytest.raises(NotConnected):
                connection.send(raw, answers.append, clock.monotonic() + 5)
            connection.close("bye")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert [a.error for a in answers] == ["bye"]  # told exactly once

    asyncio.run(main())


def test_bytes_on_the_wire() -> None:
    target = Target.of("https://api.example.com/base")
    request = HttpRequest("POST", "/orders", {"A": "b"}, b"x=1")
    assert serialise(request, target) == (
        b"POST /base/orders HTTP/1.1\r\nHost: api.example.com\r\nA: b\r\n"
        b"Content-Length: 3\r\n\r\nx=1"
    )
