"""Keeps our shards: claims and renews leases, and releases them when others have too few."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Sequence

import structlog

from execution.clock_offset import in_words
from execution.engine.database import leases
from execution.engine.memory.fence import moment
from execution.engine.memory.ownership import Ownership
from execution.engine.memory.trading_day import TradingDay
from execution.engine.memory.work_list import WorkList
from execution.engine.monitors.recovery import Recovery
from execution.engine.orders.accounts import Accounts
from execution.engine.runtime.database_pool import DatabasePool
from execution.timing import Timing
from quantleap.core import clock

log = structlog.get_logger(__name__)


class LeaseKeeper:
    """Sends heartbeats and keeps a fair share of the shards."""

    def __init__(
        self,
        *,
        timing: Timing,
        beats: DatabasePool,
        db: DatabasePool,
        ownership: Ownership,
        day: TradingDay,
        accounts: Accounts,
        recovery: Recovery,
        work: WorkList,
        is_entry_near: Callable[[], bool],
    ) -> None:
        """``beats`` is the pool for heartbeats only; ``is_entry_near``: whether an entry is about
        to fire, for which a release of its shards waits."""
        self._timing = timing
        self._beats = beats
        self._db = db
        self._ownership = ownership
        self._day = day
        self._accounts = accounts
        self._recovery = recovery
        self._work = work
        self._is_entry_near = is_entry_near
        self._started_at: dt.datetime = clock.now()
        self._fit = 1

    async def ensure_rows(self) -> None:
        """Create the lease rows that are missing."""
        await self._db.run(leases.ensure_rows, self._timing.shards)

    async def loop(self) -> None:
        """Renew and claim, for ever."""
        beat = min(self._timing.heartbeat, 1.0)
        while True:
            await self._renew()
            await self._claim()
            await asyncio.sleep(beat)

    async def leave(self) -> None:
        """Release every shard, because this executor ends."""
        ownership = self._ownership
        await self._db.run(leases.leave, owner=ownership.owner, tokens=dict(ownership.tokens))

    async def _renew(self) -> None:
        before = moment()
        ownership, ttl = self._ownership, self._timing.lease_ttl
        living = await self._beats.run(
            leases.announce, owner=ownership.owner, started_at=self._started_at, ttl=ttl
        )
        held = await self._beats.run(
            leases.heartbeat, owner=ownership.owner, tokens=dict(ownership.tokens), ttl=ttl
        )
        ownership.fence.renewed(before)
        self._judge_clock(living)
        for shard in set(ownership.tokens) - held:
            self.lose(shard)

    def _judge_clock(self, living: leases.Living) -> None:
        reading, was = living.reading, self._ownership.clock_is_off
        self._fit, self._ownership.clock_is_off = living.fit, reading.is_off
        facts = {"offset_ms": reading.offset_ms, "error_ms": reading.error_ms}
        log.debug("clock_read", **facts)
        if reading.is_off and not was:
            log.error("clock_is_off", words=in_words(reading.offset_ms), **facts)
        elif was and not reading.is_off:
            log.info("clock_is_right_again", **facts)

    async def _claim(self) -> None:
        if self._ownership.clock_is_off:
            await self._stand_down()
            return
        shards = self._timing.shards + await self._db.run(leases.left_behind, self._timing.shards)
        share = leases.fair_share(shards, self._fit)
        surplus = len(self._ownership.tokens) - share
        if surplus > 0:
            await self._give_back(surplus)
            return
        await self._take(share - len(self._ownership.tokens))

    async def _take(self, wanted: int, *, only_traded: bool = False) -> None:
        claims = await self._db.run(
            leases.claim,
            owner=self._ownership.owner,
            wanted=wanted,
            ttl=self._timing.lease_ttl,
            shards=self._timing.shards,
            only_traded=only_traded,
        )
        for claim in claims:
            self._ownership.tokens[claim.shard] = claim.token
            self._recovery.claimed(claim.shard)
            log.info(
                "shard_claimed",
                shard=claim.shard,
                token=claim.token,
                never_sent=claim.never_sent,
                unknown=claim.unknown,
            )

    async def _stand_down(self) -> None:
        """Our clock is off: release everything to executors whose clock is right.

        If there are none, we keep our positions, because a stop that is evaluated by a wrong clock
        is better than no stop. Other executors' shards are not taken while their leases last.
        """
        tokens = self._ownership.tokens
        await self._give_back(len(tokens))
        if not self._fit:
            await self._take(self._timing.shards, only_traded=True)
        elif tokens and not self._is_entry_near():
            await self._release(list(tokens))

    async def _give_back(self, surplus: int) -> None:
        """Release up to ``surplus`` idle shards; busy ones stay until they are idle."""
        busy = {execution.shard for execution in self._day.executions.values()}
        if self._day.entering:
            return  # an entry is being committed: its shard must not be released
        idle = [shard for shard in self._ownership.tokens if shard not in busy]
        await self._release(idle[:surplus])

    async def _release(self, shards: Sequence[int]) -> None:
        if not shards:
            return
        tokens = {shard: self._ownership.tokens[shard] for shard in shards}
        for shard in shards:
            self.lose(shard)
        await self._db.run(leases.release, owner=self._ownership.owner, tokens=tokens)

    def lose(self, shard: int) -> None:
        """Forget everything of a shard that now belongs to another executor."""
        self._ownership.tokens.pop(shard, None)
        self._recovery.lost(shard)
        self._work.alarms.lose(shard)
        for execution in [e for e in self._day.executions.values() if e.shard == shard]:
            self._day.forget(execution)
        self._accounts.drop_shard(shard)
        log.warning("shard_lost", shard=shard)
