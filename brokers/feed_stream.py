"""A feed's websocket: prices that arrive unasked and cost the login no calls.

Lives on the feeds' loop (:mod:`brokers.feed_loop`). It connects when somebody wants instruments and
the pause after the last connection is over, and disconnects when nobody has wanted any for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import Final

import aiohttp
import structlog

from brokers import tls
from brokers.base import BrokerInstrument, Session
from brokers.price_updates import MAX_FRAME, LoggedIn, Name, PriceStream, Touchline
from brokers.websocket_frames import Refused, address
from quantleap.core import clock

log = structlog.get_logger(__name__)

CONNECT_SECONDS: Final = 3.0
#: Noren requires a heartbeat within 30 s.
HEARTBEAT_SECONDS: Final = 5.0
#: After this long without any frame the connection counts as dead.
SILENCE_SECONDS: Final = 20.0
#: Pauses before the next connection, in seconds; the last one repeats.
PAUSES: Final = (0.5, 1.0, 2.0, 5.0, 15.0)
#: Instruments that nobody has wanted for this long are unsubscribed.
FORGET_SECONDS: Final = 120.0


class Stream:
    """One login's connection. All methods run on the loop."""

    def __init__(
        self,
        spoken: PriceStream,
        client: aiohttp.ClientSession,
        base_url: str,
        session: Session,
        heard: Callable[[Touchline], None],
    ) -> None:
        """``heard`` is called with every changed touchline."""
        self._spoken = spoken
        self._client = client
        self._url = address(spoken, base_url, session)
        self._session = session
        self._heard = heard
        self._wanted: dict[Name, tuple[BrokerInstrument, float]] = {}
        self._subscribed: set[Name] = set()
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._task: asyncio.Task[None] | None = None
        self._failures = 0
        self.touchlines: dict[Name, Touchline] = {}
        self.frame_at = 0.0
        self.problem = ""

    @property
    def is_open(self) -> bool:
        """Whether the broker has accepted the login."""
        return self._socket is not None and not self._socket.closed

    @property
    def is_hopeful(self) -> bool:
        """Whether an answer may come soon: accepted, or connecting for the first time."""
        connecting = self._task is not None and not self._task.done() and not self._failures
        return self.is_open or connecting

    def name(self, instrument: BrokerInstrument) -> Name:
        """The name by which :attr:`touchlines` identify an instrument."""
        return self._spoken.name(instrument)

    async def want(self, instruments: Iterable[BrokerInstrument]) -> None:
        """Subscribe to missing instruments, now or once there is a connection."""
        now = clock.monotonic()
        for instrument in instruments:
            self._wanted[self.name(instrument)] = (instrument, now)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._live())
        elif self.is_open:
            with contextlib.suppress(ConnectionError, RuntimeError):
                await self._subscribe()

    def close(self) -> None:
        """Close the connection permanently."""
        if self._task is not None:
            self._task.cancel()

    async def _live(self) -> None:
        while self._still_wanted():
            try:
                await self._once()
            except Refused as error:
                self.problem = f"its websocket refuses us: {error}"
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                self.problem = f"its websocket failed ({type(error).__name__})"
            if self.problem:
                # name only the host: the query may contain the session
                log.warning("feed_stream_lost", host=self._url.host, problem=self.problem)
            pause = PAUSES[min(self._failures, len(PAUSES) - 1)]
            self._failures += 1
            await asyncio.sleep(pause)

    async def _once(self) -> None:
        """One connection, from login to its end."""
        opened = self._client.ws_connect(self._url, max_msg_size=MAX_FRAME, ssl=tls.context())
        async with await asyncio.wait_for(opened, CONNECT_SECONDS) as socket:
            hello = self._spoken.hello(self._session)
            if hello:
                await socket.send_str(hello)
                answer = self._spoken.read(
                    await asyncio.wait_for(socket.receive_str(), CONNECT_SECONDS), {}
                )
                if not isinstance(answer, LoggedIn) or not answer.ok:
                    raise Refused(answer.message if isinstance(answer, LoggedIn) else "no answer")
            self.touchlines.clear()
            self._subscribed.clear()
            self._socket, self.problem, self._failures = socket, "", 0
            beat = asyncio.create_task(self._beat(socket))
            try:
                await self._subscribe()
                await self._read(socket)
            finally:
                self._socket = None
                beat.cancel()

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            message = await socket.receive(timeout=SILENCE_SECONDS)
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                self.problem = "its websocket was closed"
                return
            self.frame_at = clock.monotonic()
            said = self._spoken.read(message.data, self.touchlines)
            for line in () if isinstance(said, LoggedIn) else said:
                self.touchlines[line.name] = line
                self._heard(line)

    async def _beat(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        with contextlib.suppress(ConnectionError, RuntimeError):
            while True:
                await asyncio.sleep(HEARTBEAT_SECONDS)
                if self._spoken.beat:
                    await socket.send_str(self._spoken.beat)
                else:
                    await socket.ping()
                await self._unsubscribe()

    async def _subscribe(self) -> None:
        new = {n: i for n, (i, _) in self._wanted.items() if n not in self._subscribed}
        # Instruments that one connection cannot carry are requested by calls.
        fits = list(new)[: max(0, self._spoken.most - len(self._subscribed))]
        self._subscribed.update(fits)
        await self._send(self._spoken.subscribe([new[name] for name in fits]))

    async def _unsubscribe(self) -> None:
        limit = clock.monotonic() - FORGET_SECONDS
        old = {name: i for name, (i, wanted_at) in self._wanted.items() if wanted_at < limit}
        for name in old:
            del self._wanted[name]
            self._subscribed.discard(name)
            self.touchlines.pop(name, None)
        await self._send(self._spoken.unsubscribe(list(old.values())))

    async def _send(self, frames: Iterable[str]) -> None:
        for frame in frames:
            if self._socket is not None:
                await self._socket.send_str(frame)

    def _still_wanted(self) -> bool:
        limit = clock.monotonic() - FORGET_SECONDS
        return any(wanted_at >= limit for _, wanted_at in self._wanted.values())
