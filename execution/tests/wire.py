"""Channels and brokers on loopback for tests of the wire, without a database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from brokers.base import OrderRequest, Product, Session
from brokers.pace import Pacer
from brokers.real_account import RealAccount
from brokers.routes import Route
from brokers.zerodha.adapter import ZerodhaAdapter
from execution import lifecycle
from execution.engine.runtime.call_slots import CONNECTS, CallSlots
from execution.engine.wire.channel import Channel
from execution.engine.wire.connection import Answer, Deadlines, serialise
from execution.state import LiveIntent
from execution.tests.inmemory import live_intent

SESSION = Session("AB1234", "key", "token")
REAL = RealAccount("live", "zerodha", "AB1234")
ADAPTER = ZerodhaAdapter()
#: One request as it came in: the peer's address and the bytes.
Request = tuple[str, bytes]


class Told:
    """What a channel told: orders sent, answered and not sent, in order."""

    def __init__(self) -> None:
        self.sent: list[tuple[LiveIntent, float]] = []
        self.answers: list[tuple[LiveIntent, Answer]] = []
        self.not_sent: list[tuple[LiveIntent, str, str]] = []
        self.something = asyncio.Event()

    def note(self, notes: list[Any]) -> Callable[..., None]:
        """A callback that appends its arguments to ``notes``."""

        def append(*arguments: Any) -> None:
            notes.append(arguments)
            self.something.set()

        return append

    async def until(self, condition: Callable[[Told], bool]) -> None:
        """Wait for what is being told; TimeoutError when it is not within 20 s."""
        async with asyncio.timeout(20):
            while not condition(self):
                self.something.clear()
                await self.something.wait()


def channel(
    url: str,
    told: Told,
    *,
    egress: str = "",
    timeout: float = 5.0,
    slots: CallSlots | None = None,
    account_id: int = 1,
    real: RealAccount = REAL,
    why_not_send: Callable[[LiveIntent, float], str] = lambda intent, now: "",
) -> Channel:
    """A Kite account's channel to the broker at ``url``; everything may be sent by default."""
    loop = asyncio.get_running_loop()
    return Channel(
        account_id=account_id,
        real=real,
        shard=0,
        session=SESSION,
        adapter=ADAPTER,
        route=Route.of(url, egress),
        pacer=Pacer(ADAPTER.capabilities.windows),
        timeout=timeout,
        drop_after=5.0,
        slots=slots or CallSlots(CONNECTS),
        loop=loop,
        deadlines=Deadlines(loop),
        why_not_send=why_not_send,
        on_sent=told.note(told.sent),
        on_answer=told.note(told.answers),
        on_not_sent=told.note(told.not_sent),
    )


def sending(channel: Channel, **fields: Any) -> LiveIntent:
    """A committed order with its bytes made, not sent yet."""
    intent = live_intent(**{"state": lifecycle.SENDING, "sends": 1, **fields})
    order = OrderRequest(
        tag=intent.tag,
        instrument=intent.instrument,
        side=intent.side,
        quantity=intent.quantity,
        product=Product.INTRADAY,
        price=intent.price,
    )
    intent.raw = serialise(ADAPTER.place_order(SESSION, order), channel.target)
    return intent


@asynccontextmanager
async def broker(
    answer: Callable[[bytes, int], bytes], host: str = "127.0.0.1", latency: float = 0.0
) -> AsyncIterator[tuple[str, list[Request]]]:
    """A broker that keeps connections: ``answer(request, how many before)`` makes its bytes."""
    seen: list[Request] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        peer = writer.get_extra_info("peername")[0]
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(_length(head))
                seen.append((peer, head + body))
                await asyncio.sleep(latency)
                writer.write(answer(head + body, len(seen) - 1))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    running = await asyncio.start_server(serve, host, 0)
    try:
        yield f"http://{host}:{running.sockets[0].getsockname()[1]}", seen
    finally:
        running.close()
        for _ in range(3):  # one that was accepted a moment ago has yet to be served
            await asyncio.sleep(0)
        for writer in writers:
            writer.close()
        await asyncio.sleep(0)


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def reply(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """A well-formed answer on a connection that stays."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
