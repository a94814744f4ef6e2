"""The connection that order updates come over: let in, cut, silent, hostile, and back again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from brokers import transport_async
from brokers.base import OrderReport, Session
from brokers.tests.update_frames import NOREN, spoken
from execution.engine.runtime.call_slots import CallSlots
from execution.engine.runtime.quiet_window import QuietWindow
from execution.engine.wire import order_stream
from execution.engine.wire.order_stream import OrderStream
from quantleap.core import clock

SESSION = Session("Z56004", "k", "tok")
Serve = Callable[[web.WebSocketResponse], Awaitable[None]]


class Heard:
    """What came, and how the connection turned."""

    def __init__(self) -> None:
        self.orders: list[OrderReport] = []
        self.turns = 0
        self.something = asyncio.Event()

    def order(self, report: OrderReport) -> None:
        self.orders.append(report)
        self.something.set()

    def turned(self) -> None:
        self.turns += 1
        self.something.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self.something.clear()
                await self.something.wait()


@asynccontextmanager
async def listening(
    serve: Serve, quiet: QuietWindow | None = None
) -> AsyncIterator[tuple[OrderStream, Heard, list[str]]]:
    """A stream to a broker that lets everybody in and then does ``serve``; what it was sent."""
    sent: list[str] = []

    async def connection(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        sent.append(await socket.receive_str())
        await socket.send_str('{"t":"ak","s":"OK"}')
        sent.append(await socket.receive_str())
        await socket.send_str('{"t":"ok"}')
        await serve(socket)
        return socket

    app = web.Application()
    app.router.add_get("/NorenWSAPI/", connection)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    clients = transport_async.Clients(connections=0)
    heard = Heard()
    stream = OrderStream(
        spoken=spoken("zebu"),
        client=clients.of(""),
        base_url=f"http://127.0.0.1:{runner.addresses[0][1]}",
        session=SESSION,
        slots=CallSlots(4),
        quiet=quiet or QuietWindow(),
        heard=heard.order,
        turned=heard.turned,
    )
    try:
        yield stream, heard, sent
    finally:
        stream.close()
        await clients.close()
        await runner.cleanup()


async def stay(socket: web.WebSocketResponse) -> None:
    """Answer pings for ever."""
    async for message in socket:
        if message.type is WSMsgType.PING:
            await socket.pong(message.data)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds become hundredths; nothing here is proven by waiting."""
    monkeypatch.setattr(order_stream, "PAUSES", (0.01,))
    monkeypatch.setattr(order_stream, "REFUSED_PAUSE", 0.01)


def test_orders_come_by_themselves() -> None:
    async def serve(socket: web.WebSocketResponse) -> None:
        await socket.send_json(NOREN)
        await stay(socket)

    async def main() -> None:
        async with listening(serve) as (stream, heard, sent):
            await heard.until(lambda: bool(heard.orders))
            assert stream.is_healthy(clock.monotonic())
            assert [json.loads(frame)["t"] for frame in sent] == ["a", "o"]
            assert heard.orders[0].filled_quantity == 130

    asyncio.run(main())


def test_a_cut_connection_is_told_and_comes_back() -> None:
    cuts = 0

    async def serve(socket: web.WebSocketResponse) -> None:
        nonlocal cuts
        cuts += 1
        if cuts > 2:
            await stay(socket)

    async def main() -> None:
        async with listening(serve) as (stream, heard, _):
            # in, out, in, out, in
            await heard.until(lambda: heard.turns == 5)
            assert stream.is_healthy(clock.monotonic())

    asyncio.run(main())


def test_silence_is_told_from_quiet_by_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first connection lives and says nothing, not even a pong; the second only pongs."""
    monkeypatch.setattr(order_stream, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(order_stream, "SILENCE_SECONDS", 0.4)
    pongs = 0

    async def serve(socket: web.WebSocketResponse) -> None:
        nonlocal pongs
        if not connections:
            connections.append(socket)
            async for _ in socket:
                pass
            return
        async for message in socket:
            if message.type is WSMsgType.PING:
                pongs += 1
                await socket.pong(message.data)
                heards[0].something.set()

    connections: list[web.WebSocketResponse] = []
    heards: list[Heard] = []

    async def main() -> None:
        async with listening(serve) as (stream, heard, _):
            heards.append(heard)
            await heard.until(lambda: heard.turns == 2)  # in, and lost by silence
            assert not stream.is_healthy(clock.monotonic())
            await heard.until(lambda: heard.turns == 3 and pongs >= 20)  # quiet for a second
            assert heard.turns == 3
            assert stream.is_healthy(clock.monotonic())

    asyncio.run(main())


def test_hostile_frames_end_nothing_but_what_is_too_large() -> None:
    junk = ["[]", "{", "\ud7ff" * 10, '{"t":"om"}', json.dumps(NOREN | {"qty": "1e999"})]

    async def serve(socket: web.WebSocketResponse) -> None:
        for frame in junk:
            await socket.send_str(frame)
        await socket.send_bytes(b"\x00" * 100)
        await socket.send_json(NOREN)
        if not large:
            large.append(1)
            await socket.send_str("x" * 200_000)
        await stay(socket)

    large: list[int] = []

    async def main() -> None:
        async with listening(serve) as (_, heard, _sent):
            await heard.until(lambda: sum(o.filled_quantity == 130 for o in heard.orders) == 2)
            assert heard.turns == 3  # in, out over the large one, in

    asyncio.run(main())


def test_news_wait_until_the_orders_of_this_second_have_left() -> None:
    quiet = QuietWindow()

    async def serve(socket: web.WebSocketResponse) -> None:
        quiet.begin(1)
        await socket.send_json(NOREN)
        await socket.send_json(NOREN)
        sent.set()
        await stay(socket)

    sent = asyncio.Event()

    async def main() -> None:
        async with listening(serve, quiet) as (_, heard, _sent):
            await sent.wait()
            async with aiohttp.ClientSession():  # the loop turns
                await asyncio.sleep(0)
            assert heard.orders == []
            quiet.end(1)
            await heard.until(lambda: len(heard.orders) == 2)

    asyncio.run(main())


def test_a_session_that_is_not_let_in_is_asked_again() -> None:
    """A stream that is refused never counts as healthy."""
    tries: list[str] = []

    async def main() -> None:
        async def refuse(request: web.Request) -> web.WebSocketResponse:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            tries.append(await socket.receive_str())
            await socket.send_str('{"t":"ak","s":"NOT_OK","emsg":"Session Expired"}')
            again.set()
            return socket

        again = asyncio.Event()
        app = web.Application()
        app.router.add_get("/NorenWSAPI/", refuse)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        clients, heard = transport_async.Clients(connections=0), Heard()
        stream = OrderStream(
            spoken=spoken("zebu"),
            client=clients.of(""),
            base_url=f"http://127.0.0.1:{runner.addresses[0][1]}",
            session=SESSION,
            slots=CallSlots(4),
            quiet=QuietWindow(),
            heard=heard.order,
            turned=heard.turned,
        )
        async with asyncio.timeout(20):
            while len(tries) < 3:
                again.clear()
                await again.wait()
        assert stream.problem == "refused: Session Expired"
        assert heard.turns == 0
        stream.close()
        await clients.close()
        await runner.cleanup()

    asyncio.run(main())
