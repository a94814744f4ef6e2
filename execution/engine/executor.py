"""The executor: one asyncio loop that owns shards and carries the trading day of their accounts.

It needs neither beat nor Redis. It claims shards, arms what is due, enters at the second, keeps
asking :mod:`execution.progress` what is next, and settles what is unknown. Everything it decides is
written before it is acted upon.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import random
import socket
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

import structlog

from execution.arming import DueStrategy, arm_due
from execution.clocks import in_words
from execution.engine.books.order_updates import UpdateStreams
from execution.engine.books.poller import BookPoller
from execution.engine.books.visibility import Visibility
from execution.engine.database import leases, loader
from execution.engine.entries.entry_flow import EntryFlows
from execution.engine.entries.entry_queue import EntryQueue
from execution.engine.memory.actors import Actors
from execution.engine.memory.fence import Fence, moment
from execution.engine.monitors.alarm_clock import AlarmClock
from execution.engine.monitors.late_sends import LateSends
from execution.engine.monitors.recovery import Recovery
from execution.engine.monitors.risk_monitor import RiskMonitor
from execution.engine.orders.accounts import Accounts
from execution.engine.rounds import Rounds
from execution.engine.runtime import facts
from execution.engine.runtime.database_pool import DatabaseDown, DatabasePool
from execution.engine.runtime.kill_switch_watch import ControlWatch
from execution.engine.runtime.quiet_window import QuietWindow
from execution.live import LiveExecution, LiveIntent, LiveRun
from execution.timing import Timing
from quantleap.core import clock

log = structlog.get_logger(__name__)
TICK: Final = 0.25
ARM_EVERY: Final = 1.0
ARM_NEAR: Final = 10.0
FEED_THREADS: Final = 8
#: Seconds that a heartbeat's statement may take: three of them, connecting included, in the fence.
BEAT_PATIENCE: Final = 2.0


class Executor:
    """Owns shards, holds the day in memory, runs the desks. State lives in the loop's thread."""

    def __init__(self, timing: Timing, *, name: str = "") -> None:
        self.timing = timing
        self.fence = Fence(timing.lease_ttl - leases.FENCE_MARGIN)
        self.owner = name or f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.quiet = QuietWindow()
        self.db = DatabasePool("executor-db", self.quiet)
        # The heartbeat waits for nobody else's statement, and gives its link up long before the
        # fence closes. Seen: all links silent, and fenced for ever, while a new one took 9 ms.
        self.beats = DatabasePool("executor-beat", self.quiet, 1, patience=BEAT_PATIENCE)
        # Whatever asks a feed waits here, never in the threads that the heartbeat uses.
        self.feeds = DatabasePool("executor-feed", self.quiet, FEED_THREADS)
        self.control = ControlWatch()
        self.random = random.Random()  # noqa: S311 - jitter, not secrets
        self.tokens: dict[int, int] = {}
        self.runs: dict[int, LiveRun] = {}
        self.executions: dict[int, LiveExecution] = {}
        self.actors = Actors()
        self._by_run: dict[int, dict[int, LiveExecution]] = {}
        self.unfinished: dict[str, LiveIntent] = {}
        #: Executions and intents whose commit is under way: nobody else may find them meanwhile.
        self.entering: set[int] = set()
        self.inserting: set[str] = set()
        self.started_at = clock.now()
        self._stopping = asyncio.Event()
        #: Whether our clock is too far from the database's to decide an entry.
        self.clock_is_off = False
        self._fit = 1
        self._armed: dict[str, float] = {}
        self.visibility = Visibility(self.db, timing.visibility)
        self.line = EntryQueue(self)
        self.rounds = Rounds(self)
        self.accounts = Accounts(self)
        self.poller = BookPoller(self)
        self.updates = UpdateStreams(self)
        self.entry = EntryFlows(self)
        self.risk = RiskMonitor(self)
        self.recovery = Recovery(self)
        self.thaws = LateSends(self)
        self.alarm_clock = AlarmClock(self)
        facts.FACTS.wait_while(self._is_quiet)

    def _is_quiet(self) -> bool:
        """Whether nobody should write facts: orders leave, or many are being followed up."""
        return self.quiet.is_on or self.rounds.is_busy or self.line.is_busy

    # -- fencing -----------------------------------------------------------------------------
    @property
    def heartbeat_mono(self) -> float:
        """When our last successful heartbeat began, on the monotonic clock."""
        return self.fence.last.mono

    def fenced(self) -> bool:
        """Whether our leases may already be somebody else's: then nothing is sent."""
        return not self.fence.is_open(clock.monotonic())

    def owns(self, shard: int) -> bool:
        """Whether a shard is ours and our heartbeat is fresh."""
        return self.owns_at(shard, clock.monotonic())

    def owns_at(self, shard: int, now_mono: float) -> bool:
        """:meth:`owns`, where the caller has just read the monotonic clock (every single send)."""
        return shard in self.tokens and self.fence.is_open(now_mono)

    def still_owns_at(self, shard: int, now_mono: float) -> bool:
        """:meth:`owns_at` once more, where it was asked milliseconds ago."""
        return shard in self.tokens and self.fence.is_young(now_mono)

    # -- life --------------------------------------------------------------------------------
    async def run(self) -> None:
        """Work until :meth:`stop`; then hand the shards back."""
        log.info("executor_started", owner=self.owner, shards=self.timing.shards)
        self.control.start()
        await self._forever_once(lambda: self.db.run(leases.ensure_rows, self.timing.shards))
        loops: tuple[Callable[[], Awaitable[None]], ...] = (
            self._lease_loop,
            self._arm_loop,
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
        # Between the commit and the byte a stop would hand over orders that nobody knows the fate
        # of. Seen: SIGTERM at T-0.6 s, and orders that left at T+11.9 s and T+20.8 s.
        await self.entry.fired()
        self.entry.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._close()

    async def _asked_to_stop(self, desks: Iterable[asyncio.Task[None]]) -> None:
        """Return when somebody has asked. Desks never end: one that does takes the process along,
        which is then started again."""
        asked = asyncio.create_task(self._stopping.wait())
        done, _ = await asyncio.wait({asked, *desks}, return_when=asyncio.FIRST_COMPLETED)
        if asked not in done:
            asked.cancel()
            await asyncio.gather(*done)
            raise RuntimeError("a desk of the executor has ended")

    def stop(self) -> None:
        """Ask :meth:`run` to end (call it in the loop's thread)."""
        self._stopping.set()

    async def _close(self) -> None:
        await self.updates.close()
        await self.poller.close()
        # What its pace kept back has provably not left: the next owner sends it at once.
        self.accounts.close()
        with contextlib.suppress(DatabaseDown):
            await self.rounds.flush()
        with contextlib.suppress(DatabaseDown):
            await self.db.run(leases.leave, owner=self.owner, tokens=dict(self.tokens))
        self.quiet.hold(False)
        self.control.stop()
        self.feeds.close()
        self.beats.close()
        self.db.close()
        facts.FACTS.wait_no_longer(self._is_quiet)
        facts.FACTS.flush()
        log.info("executor_stopped", owner=self.owner)

    async def _guard(self, loop: Callable[[], Awaitable[None]]) -> None:
        """A desk that crashes is reported and started again: the others' orders go on."""
        while True:
            try:
                await loop()
            except DatabaseDown as error:
                log.warning("database_down", reason=str(error))
                self.recovery.suspect()
            except Exception:  # process boundary of a desk, see above
                log.exception("executor_desk_failed", desk=getattr(loop, "__qualname__", "?"))
            await asyncio.sleep(TICK)

    async def _forever_once(self, call: Callable[[], Awaitable[object]]) -> None:
        while not self._stopping.is_set():
            try:
                await call()
            except DatabaseDown:
                await asyncio.sleep(TICK)
            else:
                return

    # -- leases ------------------------------------------------------------------------------
    async def _lease_loop(self) -> None:
        beat = min(self.timing.heartbeat, 1.0)
        while True:
            await self._renew()
            await self._claim()
            await asyncio.sleep(beat)

    async def _renew(self) -> None:
        before = moment()
        ttl = self.timing.lease_ttl
        living = await self.beats.run(
            leases.announce, owner=self.owner, started_at=self.started_at, ttl=ttl
        )
        held = await self.beats.run(
            leases.heartbeat, owner=self.owner, tokens=dict(self.tokens), ttl=ttl
        )
        self.fence.renewed(before)
        self._judge_clock(living)
        for shard in set(self.tokens) - held:
            self._lose(shard)

    def _judge_clock(self, living: leases.Living) -> None:
        reading, was = living.reading, self.clock_is_off
        self._fit, self.clock_is_off = living.fit, reading.is_off
        facts = {"offset_ms": reading.offset_ms, "error_ms": reading.error_ms}
        log.debug("clock_read", **facts)
        if self.clock_is_off and not was:
            log.error("clock_is_off", words=in_words(reading.offset_ms), **facts)
        elif was and not self.clock_is_off:
            log.info("clock_is_right_again", **facts)

    async def _claim(self) -> None:
        if self.clock_is_off:
            await self._stand_down()
            return
        shards = self.timing.shards + await self.db.run(leases.left_behind, self.timing.shards)
        share = leases.fair_share(shards, self._fit)
        surplus = len(self.tokens) - share
        if surplus > 0:
            await self._give_back(surplus)
            return
        await self._take(share - len(self.tokens))

    async def _take(self, wanted: int, *, only_traded: bool = False) -> None:
        claims = await self.db.run(
            leases.claim,
            owner=self.owner,
            wanted=wanted,
            ttl=self.timing.lease_ttl,
            shards=self.timing.shards,
            only_traded=only_traded,
        )
        for claim in claims:
            self.tokens[claim.shard] = claim.token
            self.recovery.claimed(claim.shard)
            log.info(
                "shard_claimed",
                shard=claim.shard,
                token=claim.token,
                never_sent=claim.never_sent,
                unknown=claim.unknown,
            )

    async def _stand_down(self) -> None:
        """Our clock is off: everything goes to those whose clock is right.

        Where there are none, positions stay with whoever has them, because a stop that is judged by
        a wrong clock is better than no stop. Nobody else's are taken while their lease lasts.
        """
        await self._give_back(len(self.tokens))
        if not self._fit:
            await self._take(self.timing.shards, only_traded=True)
        elif self.tokens and not self.entry.is_near():
            await self._release(list(self.tokens))

    async def _give_back(self, surplus: int) -> None:
        """More executors live than before: idle shards go, busy ones stay until they are idle."""
        busy = {execution.shard for execution in self.executions.values()}
        if self.entering:
            return  # what is being committed at this moment is nobody's to give away
        await self._release([shard for shard in self.tokens if shard not in busy][:surplus])

    async def _release(self, shards: Sequence[int]) -> None:
        if not shards:
            return
        tokens = {shard: self.tokens[shard] for shard in shards}
        for shard in shards:
            self._lose(shard)
        await self.db.run(leases.release, owner=self.owner, tokens=tokens)

    def _lose(self, shard: int) -> None:
        self.tokens.pop(shard, None)
        self.recovery.lost(shard)
        self.rounds.alarms.lose(shard)
        for execution in [e for e in self.executions.values() if e.shard == shard]:
            self.forget(execution)
        self.accounts.drop_shard(shard)
        log.warning("shard_lost", shard=shard)

    def forget(self, execution: LiveExecution) -> None:
        """Drop an execution that is over, or that is somebody else's now."""
        self.executions.pop(execution.id, None)
        self.line.forget([execution.id])
        self.actors.of(execution.real, execution.account_id).drop(execution)
        of_run = self._by_run.get(execution.run.id, {})
        of_run.pop(execution.id, None)
        if not of_run:
            self._by_run.pop(execution.run.id, None)
        for intent in execution.intents:
            self.unfinished.pop(intent.code, None)

    def adopt(self, executions: Iterable[LiveExecution]) -> list[LiveExecution]:
        """Hold executions that were loaded or committed; those that are held now.

        Nothing that is held is ever overwritten, nor is anything loaded while its commit is under
        way: its orders leave by what the commit holds. Seen: a load in between, and 4 of 6 orders
        twice at the broker.
        """
        adopted = []
        for execution in executions:
            if execution.id in self.executions or execution.id in self.entering:
                continue
            adopted.append(execution)
            self.executions[execution.id] = execution
            actor = self.actors.of(execution.real, execution.account_id)
            actor.executions[execution.id] = execution
            self._by_run.setdefault(execution.run.id, {})[execution.id] = execution
            for intent in execution.intents:
                self.hold(intent)
        return adopted

    def of_account(self, account_id: int) -> list[LiveExecution]:
        """The executions that are held of one row of ours."""
        actor = self.actors.at(account_id)
        held = [] if actor is None else list(actor.executions.values())
        return [execution for execution in held if execution.account_id == account_id]

    def of_run(self, run_id: int) -> list[LiveExecution]:
        """The executions that are held of one run."""
        return list(self._by_run.get(run_id, {}).values())

    def hold(self, intent: LiveIntent) -> None:
        """Hold one intent of an execution that is held, and, while unfinished, by itself."""
        execution = self.executions[intent.execution_id]
        self.actors.of(execution.real, execution.account_id).hold(intent)
        if not intent.is_final:
            self.unfinished[intent.code] = intent

    # -- arming and loading ------------------------------------------------------------------
    async def _arm_loop(self) -> None:
        while True:
            if not self.clock_is_off:
                await self.db.run(
                    arm_due, now=clock.now(), timing=self.timing, skip=self._armed_lately
                )
            await asyncio.sleep(ARM_EVERY)

    def _armed_lately(self, due: DueStrategy) -> bool:
        """Arming reads every subscriber: not in every second, more often near the entry."""
        now = clock.monotonic()
        near = abs((due.entry_at - clock.now()).total_seconds()) < ARM_NEAR
        if now - self._armed.get(due.strategy.key, -1e9) < (2 * ARM_EVERY if near else ARM_NEAR):
            return True
        self._armed[due.strategy.key] = now
        return False

    async def _tick_loop(self) -> None:
        while True:
            await self._load_runs()
            await self.recovery.tick()
            await self.entry.tick()
            self.rounds.touch_due()
            await asyncio.sleep(TICK)

    async def _load_runs(self) -> None:
        found = await self.db.run(loader.open_runs)
        fresh = [row for row in found if row.id not in self.runs]
        closes = await self.db.run(loader.closing_times, fresh) if fresh else {}
        for row in found:
            if row.id not in self.runs:
                self.runs[row.id] = loader.live_run(row, closes.get(row.id))
            self.runs[row.id].status = row.status
        for gone in set(self.runs) - {row.id for row in found}:
            if gone not in self._by_run:
                del self.runs[gone]
        if self.runs:
            await self.db.run(loader.refresh_decisions, dict(self.runs))

    def now(self) -> dt.datetime:
        """One reading of our clock."""
        return clock.now()
