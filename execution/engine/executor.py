"""The executor: one asyncio loop that owns shards and runs the trading day of their accounts.

It needs neither beat nor Redis. It claims shards, arms what is due, enters at the second, evaluates
:mod:`execution.next_steps` over and over, and settles what is unknown. Every decision is written
before it is acted upon.

This is the composition root: it makes the parts, passes each its dependencies, and runs their
loops. No part imports it (docs/adr/0060).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import uuid
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import structlog

from execution.engine.books.book_reader import BookReader
from execution.engine.books.order_updates import UpdateStreams
from execution.engine.books.poller import BookPoller
from execution.engine.books.visibility import Visibility
from execution.engine.database.leases import FENCE_MARGIN
from execution.engine.entries.burst import Burst
from execution.engine.entries.entry_flow import EntryFlows
from execution.engine.entries.entry_queue import EntryQueue
from execution.engine.exits.account_quotes import AccountQuotes
from execution.engine.exits.change_requests import ChangeRequests
from execution.engine.exits.exit_orders import ExitOrders
from execution.engine.exits.exit_writer import ExitWriter
from execution.engine.exits.price_sources import PriceSources
from execution.engine.exits.witness_reads import WitnessReads
from execution.engine.memory.actors import Actors
from execution.engine.memory.channels import Channels
from execution.engine.memory.doubts import Doubts
from execution.engine.memory.fence import Fence
from execution.engine.memory.ownership import Ownership
from execution.engine.memory.reading_list import ReadingList
from execution.engine.memory.streams import Streams
from execution.engine.memory.trading_day import TradingDay
from execution.engine.memory.work_list import WorkList
from execution.engine.monitors.alarm_clock import AlarmClock
from execution.engine.monitors.late_sends import LateSends
from execution.engine.monitors.lease_keeper import LeaseKeeper
from execution.engine.monitors.recovery import Recovery
from execution.engine.monitors.risk_monitor import RiskMonitor
from execution.engine.monitors.run_keeper import RunKeeper
from execution.engine.orders.accounts import Accounts
from execution.engine.orders.broker_calls import BrokerCalls
from execution.engine.orders.cancels import Cancels
from execution.engine.orders.contract_names import ContractNames
from execution.engine.orders.self_trades import SelfTrades
from execution.engine.orders.sender import OrderSender
from execution.engine.rounds import Rounds
from execution.engine.runtime import facts
from execution.engine.runtime.database_pool import DatabaseDown, DatabasePool
from execution.engine.runtime.kill_switch_watch import KillSwitchWatch
from execution.engine.runtime.quiet_window import QuietWindow
from execution.engine.wire.channel_factory import ChannelFactory
from execution.timing import Timing

log = structlog.get_logger(__name__)
TICK: Final = 0.25
FEED_THREADS: Final = 8
#: Seconds for one statement of a heartbeat: three of them, connecting included, fit into the fence.
BEAT_PATIENCE: Final = 2.0


class Executor:
    """Makes the parts of one executor and runs them. All state belongs to the loop's thread."""

    def __init__(self, timing: Timing, *, name: str = "") -> None:
        self.timing = timing
        self._stopping = asyncio.Event()
        self._make_runtime()
        self._make_memory(name or f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}")
        self._make_orders()
        self._make_books()
        self._make_exits()
        self._make_entries()
        self._make_rounds()
        self._make_monitors()
        facts.FACTS.wait_while(self._is_quiet)

    def _is_quiet(self) -> bool:
        """Whether facts must not be written: orders leave, or many entries are followed up."""
        return self.quiet.is_on or self.rounds.is_busy or self.queue.is_busy

    # -- the parts, from the bottom up -------------------------------------------------------
    def _make_runtime(self) -> None:
        self.quiet = QuietWindow()
        self.db = DatabasePool("executor-db", self.quiet)
        # The heartbeat waits for no other statement, and gives up its connection long before the
        # fence closes. Observed: all connections silent and the executor fenced for ever, while a
        # new connection took 9 ms.
        self.beats = DatabasePool("executor-beat", self.quiet, 1, patience=BEAT_PATIENCE)
        # Feed requests wait in these threads, never in those of the heartbeat.
        self.feeds = DatabasePool("executor-feed", self.quiet, FEED_THREADS)
        self.control = KillSwitchWatch()
        self.random = random.Random()  # noqa: S311 - jitter, not secrets

    def _make_memory(self, owner: str) -> None:
        self.ownership = Ownership(owner, Fence(self.timing.lease_ttl - FENCE_MARGIN))
        self.actors = Actors()
        self.day = TradingDay(self.actors)
        self.work = WorkList(self.day)
        self.doubts = Doubts()
        self.streams = Streams()
        self.reading = ReadingList(self.actors, self.streams)
        self.channels = Channels(self.day, self.work)

    def _make_orders(self) -> None:
        self.names = ContractNames(self.db)
        self.calls = BrokerCalls(self.quiet)
        self.cancels = Cancels(self.actors, self.ownership, self.calls, self.reading)
        self.self_trades = SelfTrades(self.day, self.work, self.cancels)
        self.sender = OrderSender(
            day=self.day,
            ownership=self.ownership,
            channels=self.channels,
            names=self.names,
            self_trades=self.self_trades,
            control=self.control,
            control_age=self.timing.control_age,
            work=self.work,
            reading=self.reading,
            random=self.random,
        )
        self.late_sends = LateSends(self.day, self.ownership, self.db)
        factory = ChannelFactory(self.timing, self.feeds, self.sender, self.late_sends)
        self.accounts = Accounts(self.db, self.quiet, self.channels, factory)

    def _make_books(self) -> None:
        self.queue = EntryQueue(self.day, self.streams, self.work)
        self.visibility = Visibility(self.db, self.timing.visibility)
        self.updates = UpdateStreams(
            actors=self.actors,
            quiet=self.quiet,
            streams=self.streams,
            visibility=self.visibility,
            work=self.work,
            reading=self.reading,
            is_busy=lambda: self.queue.is_busy,
        )
        self.reader = BookReader(
            day=self.day,
            ownership=self.ownership,
            channels=self.channels,
            calls=self.calls,
            cancels=self.cancels,
            updates=self.updates,
            visibility=self.visibility,
            work=self.work,
            reading=self.reading,
            random=self.random,
        )
        self.poller = BookPoller(
            day=self.day,
            quiet=self.quiet,
            channels=self.channels,
            accounts=self.accounts,
            sender=self.sender,
            reader=self.reader,
            streams=self.streams,
            work=self.work,
            reading=self.reading,
            answer_timeout=self.timing.answer_timeout,
        )

    def _make_exits(self) -> None:
        witnesses = WitnessReads(self.reader, self.names, self.work)
        own = AccountQuotes(self.names, self.calls)
        prices = PriceSources(self.feeds, own, self.timing.quote_age_risk)
        writer = ExitWriter(self.db, self.ownership)
        self.exits = ExitOrders(
            day=self.day,
            channels=self.channels,
            accounts=self.accounts,
            names=self.names,
            sender=self.sender,
            witnesses=witnesses,
            prices=prices,
            writer=writer,
            work=self.work,
            doubts=self.doubts,
        )
        self.changes = ChangeRequests(
            day=self.day,
            ownership=self.ownership,
            channels=self.channels,
            names=self.names,
            calls=self.calls,
            self_trades=self.self_trades,
            witnesses=witnesses,
            prices=prices,
            writer=writer,
            work=self.work,
            reading=self.reading,
            doubts=self.doubts,
        )

    def _make_entries(self) -> None:
        burst = Burst(self.day, self.quiet, self.channels, self.sender, self.self_trades)
        self.entry = EntryFlows(
            day=self.day,
            ownership=self.ownership,
            timing=self.timing,
            db=self.db,
            feeds=self.feeds,
            quiet=self.quiet,
            channels=self.channels,
            accounts=self.accounts,
            names=self.names,
            sender=self.sender,
            queue=self.queue,
            burst=burst,
            work=self.work,
            doubts=self.doubts,
        )

    def _make_rounds(self) -> None:
        self.rounds = Rounds(
            day=self.day,
            ownership=self.ownership,
            db=self.db,
            quiet=self.quiet,
            control=self.control,
            control_age=self.timing.control_age,
            queue=self.queue,
            sender=self.sender,
            cancels=self.cancels,
            exits=self.exits,
            changes=self.changes,
            work=self.work,
            doubts=self.doubts,
        )

    def _make_monitors(self) -> None:
        self.run_keeper = RunKeeper(self.timing, self.db, self.ownership, self.day)
        self.recovery = Recovery(
            day=self.day,
            ownership=self.ownership,
            db=self.db,
            channels=self.channels,
            accounts=self.accounts,
            names=self.names,
            visibility=self.visibility,
            work=self.work,
            reading=self.reading,
            doubts=self.doubts,
        )
        self.lease_keeper = LeaseKeeper(
            timing=self.timing,
            beats=self.beats,
            db=self.db,
            ownership=self.ownership,
            day=self.day,
            accounts=self.accounts,
            recovery=self.recovery,
            work=self.work,
            is_entry_near=self.entry.is_near,
        )
        self.risk = RiskMonitor(
            day=self.day,
            timing=self.timing,
            db=self.db,
            feeds=self.feeds,
            owner=self.ownership.owner,
            work=self.work,
            decided=self.rounds.schedule_due,
        )
        self.alarm_clock = AlarmClock(
            day=self.day,
            ownership=self.ownership,
            db=self.db,
            quiet=self.quiet,
            work=self.work,
            is_judged=self.risk.holds,
        )

    # -- life --------------------------------------------------------------------------------
    async def run(self) -> None:
        """Work until :meth:`stop`; then release the shards."""
        log.info("executor_started", owner=self.ownership.owner, shards=self.timing.shards)
        self.control.start()
        await self._forever_once(self.lease_keeper.ensure_rows)
        loops: tuple[Callable[[], Awaitable[None]], ...] = (
            self.lease_keeper.loop,
            self.run_keeper.loop,
            self._tick_loop,
            self.rounds.loop,
            self.visibility.loop,
            self.poller.loop,
            self.updates.loop,
            self.risk.loop,
            self.risk.requests_loop,
            self.alarm_clock.loop,
        )
        tasks = [asyncio.create_task(self._guard(loop)) for loop in loops]
        await self._asked_to_stop(tasks)
        # A stop between commit and first byte would hand over orders of unknown outcome. Observed:
        # SIGTERM at T-0.6 s, and orders that left at T+11.9 s and T+20.8 s.
        await self.entry.fired()
        self.entry.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._close()

    async def _tick_loop(self) -> None:
        while True:
            await self.run_keeper.load()
            await self.recovery.tick()
            await self.entry.tick()
            self.rounds.schedule_due()
            await asyncio.sleep(TICK)

    async def _asked_to_stop(self, parts: Iterable[asyncio.Task[None]]) -> None:
        """Return when a stop was requested. Loops never end: if one does, this raises RuntimeError
        and the process ends and is restarted."""
        asked = asyncio.create_task(self._stopping.wait())
        done, _ = await asyncio.wait({asked, *parts}, return_when=asyncio.FIRST_COMPLETED)
        if asked not in done:
            asked.cancel()
            await asyncio.gather(*done)
            raise RuntimeError("a part of the executor has ended")

    def stop(self) -> None:
        """Ask :meth:`run` to end (call it in the loop's thread)."""
        self._stopping.set()

    async def _close(self) -> None:
        await self.updates.close()
        self.poller.close()
        self.cancels.close()
        await self.calls.close()
        # Orders held back by pacing have provably not left: the next owner sends them at once.
        self.accounts.close()
        with contextlib.suppress(DatabaseDown):
            await self.rounds.flush()
        with contextlib.suppress(DatabaseDown):
            await self.lease_keeper.leave()
        self.quiet.hold(False)
        self.control.stop()
        self.feeds.close()
        self.beats.close()
        self.db.close()
        facts.FACTS.wait_no_longer(self._is_quiet)
        facts.FACTS.flush()
        log.info("executor_stopped", owner=self.ownership.owner)

    async def _guard(self, loop: Callable[[], Awaitable[None]]) -> None:
        """Run a part; log a crash and restart it, while the other parts go on."""
        while True:
            try:
                await loop()
            except DatabaseDown as error:
                log.warning("database_down", reason=str(error))
                self.doubts.suspect()
            except Exception:  # process boundary of a part, see above
                log.exception("executor_loop_failed", loop=getattr(loop, "__qualname__", "?"))
            await asyncio.sleep(TICK)

    async def _forever_once(self, call: Callable[[], Awaitable[object]]) -> None:
        while not self._stopping.is_set():
            try:
                await call()
            except DatabaseDown:
                await asyncio.sleep(TICK)
            else:
                return
