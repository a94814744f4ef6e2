"""One feed login: what callers want, how fast it may be called, and what it has answered.

All requests of one process meet here. Requests that arrive while a slot is awaited leave together,
as many instruments as the broker takes in a call, the most urgent first; a recent answer is not
requested again. Lives on the feeds' loop (:mod:`brokers.feed_loop`).
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

import aiohttp
import structlog

from brokers import clock_skew, transport_async, transport_sync
from brokers.base import BrokerInstrument, Cause, QuoteRead, QuoteRow, Session
from brokers.feed_stream import Stream
from brokers.pace import Call, Pacer, Urgency
from brokers.price_updates import Name, Touchline, get_prices
from brokers.registry import get_adapter
from quantleap.core import clock

log = structlog.get_logger(__name__)

#: Names of the requested instruments, by our key.
Names = Mapping[str, BrokerInstrument]

#: Prefix of our keys of index levels.
SPOT: Final = "spot:"
#: Strategies of the same second ask within milliseconds of each other: they share a call that takes
#: many instruments.
GATHER_SECONDS: Final = 0.03
#: A price heard this recently is not requested again: the tightest limit is one call a second.
SHARED_SECONDS: Final = 0.8
#: A websocket answers a subscription with a whole touchline, within a round trip.
SNAPSHOT_SECONDS: Final = 0.25
#: An older touchline is requested by a call: it may be quiet, or its subscription dead.
QUIET: Final = dt.timedelta(seconds=4)
#: An entry wants prices of the last two seconds. If one call can ask for many, it does not wait for
#: a price that has not moved for this long.
QUIET_TRADE: Final = dt.timedelta(seconds=1.5)


@dataclass(frozen=True, slots=True)
class Feed:
    """A logged-in feed account, decrypted."""

    name: str
    broker: str
    base_url: str
    session: Session
    pk: int = 0
    stream_url: str = ""

    @property
    def login(self) -> str:
        """The identity by which the broker counts calls."""
        return f"{self.broker} {self.base_url} {self.session.client_id}"


@dataclass(frozen=True, slots=True)
class Heard:
    """A price and when it arrived (monotonic seconds)."""

    row: QuoteRow
    at: float


@dataclass(slots=True)
class _Wish:
    """One instrument that a caller waits for, until ``until`` (monotonic seconds)."""

    instrument: BrokerInstrument
    urgency: Urgency
    until: float
    done: asyncio.Future[None]


#: Takes a slot that all processes share: returns 0.0, or the seconds to wait
#: (:mod:`brokers.shared_pace`).
Shared = Callable[[str, Urgency], Awaitable[float]]


@dataclass(slots=True)
class Line:
    """All methods run on the loop. ``shared`` is asked before every call."""

    feed: Feed
    client: aiohttp.ClientSession
    shared: Shared
    problem: str = ""
    ended: bool = False
    skew: clock_skew.Skew = field(default_factory=clock_skew.Skew)
    newest: dt.datetime | None = None
    heard: dict[str, Heard] = field(default_factory=dict)
    pacer: Pacer = field(init=False)
    stream: Stream | None = field(init=False, default=None)
    _batch: int = field(init=False)
    _wishes: dict[str, _Wish] = field(default_factory=dict)
    _asked: dict[str, _Wish] = field(default_factory=dict)
    _keys: dict[Name, set[str]] = field(default_factory=dict)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    _worker: asyncio.Task[None] | None = None
    _sending: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        capabilities = get_adapter(self.feed.broker).capabilities
        self.pacer = Pacer(capabilities.windows)
        self._batch = capabilities.quote_batch
        self._new_stream()

    def _new_stream(self) -> None:
        feed, spoken = self.feed, get_prices(self.feed.broker)
        if spoken is not None:
            url = feed.stream_url or feed.base_url
            self.stream = Stream(spoken, self.client, url, feed.session, self._touched)

    def use(self, feed: Feed) -> None:
        """Use a freshly loaded feed account: a new login replaces the old one."""
        if feed.session != self.feed.session:
            if self.stream is not None:
                self.stream.close()
            self.feed, self.problem, self.ended = feed, "", False
            self._new_stream()
        self.feed = feed

    def waits(self, urgency: Urgency) -> float:
        """Seconds until the broker's limits allow a new request of ``urgency``."""
        now = clock.monotonic()
        return self.pacer.next_slot(now, Call.QUOTE, urgency) - now

    # -- asking ------------------------------------------------------------------------------
    async def fetch(self, names: Names, urgency: Urgency, until: float) -> None:
        """Return once all ``names`` were answered, recently or now, with or without a price."""
        if self.stream is not None and urgency < Urgency.LAST:
            await self._ask_stream(self.stream, names)
        waiting = []
        since = clock.monotonic() - SHARED_SECONDS
        for key, instrument in names.items():
            heard = self.heard.get(key)
            if (heard is not None and heard.at >= since) or self._streams(instrument, urgency):
                continue
            wish = self._asked.get(key) or self._wishes.get(key)
            if wish is None:
                done = asyncio.get_running_loop().create_future()
                wish = self._wishes[key] = _Wish(instrument, urgency, until, done)
            wish.urgency, wish.until = min(wish.urgency, urgency), max(wish.until, until)
            waiting.append(wish.done)
        if not waiting:
            return
        self._woken.set()
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        await asyncio.wait(waiting)

    async def _work(self) -> None:
        """Send requests as the pace allows, until there are none."""
        if self._batch > 1:
            await asyncio.sleep(GATHER_SECONDS)
        while self._wishes:
            now = clock.monotonic()
            for key in [k for k, wish in self._wishes.items() if wish.until < now]:
                self._wishes.pop(key).done.set_result(None)  # the caller has given up
            if not self._wishes:
                return
            urgency = min(wish.urgency for wish in self._wishes.values())
            wait = self.pacer.next_slot(now, Call.QUOTE, urgency) - now
            if wait <= 0:
                wait = await self.shared(self.feed.login, urgency)
            if wait > 0:
                self._woken.clear()
                with contextlib.suppress(TimeoutError):  # something more urgent may come
                    await asyncio.wait_for(self._woken.wait(), wait)
                continue
            self.pacer.take(clock.monotonic(), Call.QUOTE)
            by_urgency = sorted(self._wishes, key=lambda key: self._wishes[key].urgency)
            batch = {key: self._wishes.pop(key) for key in by_urgency[: self._batch]}
            self._asked |= batch
            task = asyncio.create_task(self._send(batch))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
            await asyncio.sleep(0)

    async def _send(self, batch: Mapping[str, _Wish]) -> None:
        names = {key: wish.instrument for key, wish in batch.items()}
        read = await self._exchange(names)
        for key in batch:
            self._asked.pop(key, None)
        now = clock.monotonic()
        if read.cause == Cause.RATE_LIMIT:
            self.pacer.refused(now, Call.QUOTE, read.message)
            again = {k: w for k, w in batch.items() if w.until > now and k not in self._wishes}
            self._wishes |= again
            batch = {key: wish for key, wish in batch.items() if key not in again}
            if again and (self._worker is None or self._worker.done()):
                self._worker = asyncio.create_task(self._work())
        self._take_in(read, now)
        for wish in batch.values():
            if not wish.done.done():
                wish.done.set_result(None)

    async def _exchange(self, names: Names) -> QuoteRead:
        adapter = get_adapter(self.feed.broker)
        ((keys, request),) = adapter.quotes(self.feed.session, names)
        try:
            response = await transport_async.send(self.client, request, base_url=self.feed.base_url)
        except transport_sync.TransportError as error:
            return QuoteRead(ok=False, message=f"did not answer ({error.message})")
        return adapter.parse_quotes(response, keys, names)

    def _take_in(self, read: QuoteRead, now: float) -> None:
        self.problem = "" if read.ok else read.message or "gave no readable answer"
        self.ended = read.cause == Cause.SESSION_EXPIRED
        if not read.ok:
            log.warning(
                "feed_read_failed", feed=self.feed.name, cause=read.cause, detail=read.message
            )
        for key, row in read.quotes.items():
            self.heard[key] = Heard(row, now)
        self._stamped([row.at for row in read.quotes.values()])

    def _stamped(self, times: Collection[dt.datetime]) -> None:
        if not times:
            return
        newest = max(times)
        self.skew.heard(newest, clock.now())
        if self.newest is None or newest > self.newest or clock_skew.is_off(self.skew.samples):
            self.newest = newest

    # -- the websocket -----------------------------------------------------------------------
    async def _ask_stream(self, stream: Stream, names: Names) -> None:
        for key, instrument in names.items():
            self._keys.setdefault(stream.name(instrument), set()).add(key)
        await stream.want(names.values())
        end = clock.monotonic() + SNAPSHOT_SECONDS
        stream_names = {stream.name(instrument) for instrument in names.values()}
        while not stream_names <= stream.touchlines.keys() and clock.monotonic() < end:
            if not stream.is_hopeful:
                return  # the calls do it
            await asyncio.sleep(SNAPSHOT_SECONDS / 10)

    def _streams(self, instrument: BrokerInstrument, urgency: Urgency) -> bool:
        """Whether the websocket delivers this instrument's price as it changes."""
        many = self._batch > 1 and urgency is Urgency.FIRST
        oldest = clock.now() - (QUIET_TRADE if many else QUIET)
        if self.stream is None or not self.stream.is_open:
            return False
        line = self.stream.touchlines.get(self.stream.name(instrument))
        return (
            line is not None and line.at is not None and oldest <= line.at and line.last is not None
        )

    def _touched(self, line: Touchline) -> None:
        if line.last is None or line.at is None:
            return
        now = clock.monotonic()
        for key in self._keys.get(line.name, ()):
            # nobody trades an index: its level has one time
            traded_at = line.at if key.startswith(SPOT) else line.traded_at
            before = self.heard.get(key)  # a touchline does not carry the day's circuit limits
            band = before.row.band if before is not None else None
            row = QuoteRow(key, line.last, line.bid, line.ask, line.at, traded_at, band)
            self.heard[key] = Heard(row, now)
        self._stamped([line.at])
        self.problem = ""
