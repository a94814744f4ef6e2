"""Which shards are ours: leases are claimed, renewed, and given back when others have too few."""

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
    """Keeps the heartbeat, and a fair share of the shards."""

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
        """``beats`` is the pool of the heartbeats alone; ``is_entry_near`` says whether an entry is
        about to fire, which is waited for before its shards go."""
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
        """Make the lease rows exist."""
        await self._db.run(leases.ensure_rows, self._timing.shards)

    async def loop(self) -> None:
        """Renew and claim, for ever."""
        beat = min(self._timing.heartbeat, 1.0)
        while True:
            await self._renew()
            await self._claim()
            await asyncio.sleep(beat)

    async def leave(self) -> None:
        """Hand every shard back: this executor ends."""
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
        """Our clock is off: everything goes to those whose clock is right.

        Where there are none, positions stay with whoever has them, because a stop that is judged by
        a wrong clock is better than no stop. Nobody else's are taken while their lease lasts.
        """
        tokens = self._ownership.tokens
        await self._give_back(len(tokens))
        if not self._fit:
            await self._take(self._timing.shards, only_traded=True)
        elif tokens and not self._is_entry_near():
            await self._release(list(tokens))

    async def _give_back(self, surplus: int) -> None:
        """More executors live than before: idle shards go, busy ones stay until they are idle."""
        busy = {execution.shard for execution in self._day.executions.values()}
        if self._day.entering:
            return  # what is being committed at this moment is nobody's to give away
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
        """A shard is somebody else's from now on: nothing of it is held any longer."""
        self._ownership.tokens.pop(shard, None)
        self._recovery.lost(shard)
        self._work.alarms.lose(shard)
        for execution in [e for e in self._day.executions.values() if e.shard == shard]:
            self._day.forget(execution)
        self._accounts.drop_shard(shard)
        log.warning("shard_lost", shard=shard)
