"""One real account's order updates: a websocket that is kept open, with a health check.

Whatever happens to it, only the rate of book reads changes. Pings distinguish a dead connection
from a quiet one: if not even they are answered, it is dead.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Final

import aiohttp
import structlog

from brokers import tls
from brokers.base import OrderReport, Session
from brokers.order_updates import MAX_FRAME, OrderUpdates
from brokers.websocket_frames import Refused, address
from execution.engine.runtime.call_slots import CallSlots
from execution.engine.runtime.quiet_window import QuietWindow
from quantleap.core import clock

log = structlog.get_logger(__name__)

#: Seconds to open a connection, and to be told that updates will come.
CONNECT_SECONDS: Final = 5.0
#: Most seconds to wait for the other side when we close.
GOODBYE_SECONDS: Final = 0.2
#: Seconds between our heartbeats; Noren requires one within 30.
BEAT_SECONDS: Final = 8.0
#: Seconds without any frame, pongs included, after which a connection is dead.
SILENCE_SECONDS: Final = 20.0
#: Pauses before the next connection, in seconds; the last one repeats. Up to half is added at
#: random, so that five thousand connections cut together do not return together.
PAUSES: Final = (0.5, 1.0, 2.0, 5.0, 15.0, 30.0)
#: Pause in seconds after a broker refused this session.
REFUSED_PAUSE: Final = 60.0
#: After a connection that lasted this many seconds, the next pause is the first again.
GOOD_SECONDS: Final = 10.0


class OrderStream:
    """The connection of one login; all methods run in the loop's thread.

    ``heard`` is called with every order update, ``turned`` whenever updates begin or may have
    stopped.
    """

    def __init__(
        self,
        *,
        spoken: OrderUpdates,
        client: aiohttp.ClientSession,
        base_url: str,
        session: Session,
        slots: CallSlots,
        quiet: QuietWindow,
        heard: Callable[[OrderReport], None],
        turned: Callable[[], None],
    ) -> None:
        self.session = session
        self._spoken = spoken
        self._client = client
        self._url = address(spoken, base_url, session)
        self._slots = slots
        self._quiet = quiet
        self._heard = heard
        self._turned = turned
        self._ready = False
        self._heard_at = 0.0
        self._failures = 0
        self.problem = ""
        self._task = asyncio.create_task(self._live())

    def is_healthy(self, now: float) -> bool:
        """Whether updates come: accepted, with a recent frame (``now`` in monotonic seconds)."""
        return self._ready and now - self._heard_at < SILENCE_SECONDS

    def close(self) -> None:
        """Drop the connection for good."""
        self._ready = False
        self._task.cancel()

    async def _live(self) -> None:
        while True:
            began, pause, before = clock.monotonic(), 0.0, self.problem
            try:
                await self._once()
            except Refused as error:
                self.problem, pause = f"refused: {error}", REFUSED_PAUSE
            except (aiohttp.ClientError, TimeoutError, OSError, RuntimeError) as error:
                # Only the class name: messages contain the address, and the address the token.
                self.problem = tls.fault(error) or type(error).__name__
            if self.problem != before:
                log.info("order_updates_lost", client=self.session.client_id, reason=self.problem)
            if self._ready:
                self._ready = False
                self._turned()
            if clock.monotonic() - began >= GOOD_SECONDS:
                self._failures = 0
            pause = pause or PAUSES[min(self._failures, len(PAUSES) - 1)]
            self._failures += 1
            await asyncio.sleep(pause * (1 + random.random() / 2))  # noqa: S311 - jitter

    async def _once(self) -> None:
        """One connection, from its handshake to its end."""
        await self._quiet.over()  # no handshake starts while orders leave
        socket = await self._slots.carry(self._open)
        try:
            hello = self._spoken.hello(self.session)
            if hello:
                await socket.send_str(hello)
                await asyncio.wait_for(self._let_in(socket), CONNECT_SECONDS)
            self._ready, self.problem, self._heard_at = True, "", clock.monotonic()
            self._turned()
            await self._read(socket)
        finally:
            await socket.close()

    async def _open(self) -> aiohttp.ClientWebSocketResponse:
        opening = self._client.ws_connect(
            self._url,
            max_msg_size=MAX_FRAME,
            autoping=False,
            ssl=tls.context(),
            timeout=aiohttp.ClientWSTimeout(ws_close=GOODBYE_SECONDS),
        )
        try:
            return await asyncio.wait_for(opening, CONNECT_SECONDS)
        except aiohttp.WSServerHandshakeError as error:
            if error.status < 500:  # an immediate retry would get the same answer
                raise Refused(f"HTTP {error.status}") from None
            raise

    async def _let_in(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            update = self._spoken.read(await _frame(socket), self.session)
            if update.refused:
                raise Refused(update.refused)
            if update.reply:
                await socket.send_str(update.reply)
            if update.ready:
                return

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        beat_at = clock.monotonic() + BEAT_SECONDS
        while True:
            now = clock.monotonic()
            if now - self._heard_at >= SILENCE_SECONDS:
                raise TimeoutError
            if now >= beat_at:
                beat_at = now + BEAT_SECONDS
                await socket.ping()
                if self._spoken.beat:
                    await socket.send_str(self._spoken.beat)
            try:
                frame = await _frame(socket, beat_at - now)
            except TimeoutError:
                continue
            self._heard_at = clock.monotonic()
            if not frame:
                continue
            await self._quiet.over()  # updates can wait until the orders of this second have left
            update = self._spoken.read(frame, self.session)
            if update.refused:
                raise Refused(update.refused)
            if update.order is not None:
                self._heard(update.order)


async def _frame(
    socket: aiohttp.ClientWebSocketResponse, seconds: float | None = None
) -> str | bytes:
    """The next frame; '' for a ping or pong. Raises ConnectionError at the end."""
    message = await socket.receive(timeout=seconds)
    match message.type:
        case aiohttp.WSMsgType.TEXT | aiohttp.WSMsgType.BINARY:
            content: str | bytes = message.data
            return content
        case aiohttp.WSMsgType.PING:
            await socket.pong(message.data)
            return ""
        case aiohttp.WSMsgType.PONG:
            return ""
    raise ConnectionError("closed")
