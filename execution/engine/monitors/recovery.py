"""Recovery after a crash, a takeover or a lost commit: memory follows the database.

There are two cases. A shard was just claimed: everything unfinished in it is loaded (the claim has
already settled what its last owner left SENDING). Or our own connection died during a commit: then
the database may hold rows that were granted without our knowledge. We are their only owner and
never acted upon them, so such a SENDING row was provably not sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog

from brokers.registry import get_adapter
from execution import duplicates, lifecycle
from execution.engine.books.visibility import Visibility
from execution.engine.database import loader
from execution.engine.memory.channels import Channels
from execution.engine.memory.doubts import Doubts
from execution.engine.memory.ownership import Ownership
from execution.engine.memory.reading_list import ReadingList
from execution.engine.memory.trading_day import TradingDay
from execution.engine.memory.work_list import WorkList
from execution.engine.orders.accounts import Accounts
from execution.engine.orders.contract_names import ContractNames
from execution.engine.runtime.database_pool import DatabasePool
from execution.state import LiveExecution, LiveIntent
from quantleap.core import clock

log = structlog.get_logger(__name__)
LOOK_EVERY: Final = 5.0


class Recovery:
    """Loads claimed shards, and compares memory with the database every few seconds."""

    def __init__(
        self,
        *,
        day: TradingDay,
        ownership: Ownership,
        db: DatabasePool,
        channels: Channels,
        accounts: Accounts,
        names: ContractNames,
        visibility: Visibility,
        work: WorkList,
        reading: ReadingList,
        doubts: Doubts,
    ) -> None:
        self._day = day
        self._ownership = ownership
        self._db = db
        self._channels = channels
        self._accounts = accounts
        self._names = names
        self._visibility = visibility
        self._work = work
        self._reading = reading
        self._doubts = doubts
        self._fresh: set[int] = set()

    def claimed(self, shard: int) -> None:
        """Note a shard that was just claimed."""
        self._fresh.add(shard)

    def lost(self, shard: int) -> None:
        """Note a shard that now belongs to another executor."""
        self._fresh.discard(shard)

    async def tick(self) -> None:
        """Load claimed shards; compare memory with the database when it is time."""
        if self._fresh:
            await self._load()
        if clock.monotonic() >= self._doubts.next_look:
            self._doubts.next_look = clock.monotonic() + LOOK_EVERY
            await self._compare()

    async def _load(self) -> None:
        shards = {shard: self._token(shard) for shard in self._fresh}
        loaded = await self._working(set(shards))
        now = clock.monotonic()
        for execution in loaded:
            for intent in execution.intents:
                if intent.state == lifecycle.UNKNOWN:
                    intent.unknown_since_mono = now
        loaded = self._day.adopt(e for e in loaded if e.shard in self._ownership.tokens)
        self._watch(loaded, now)
        self._work.schedule(loaded)
        self._channels.raise_alarms(loaded)
        # A shard that was lost and claimed again during the read is loaded again.
        self._fresh -= {shard for shard, token in shards.items() if self._token(shard) == token}
        if loaded:
            log.info("executions_recovered", count=len(loaded), shards=sorted(shards))

    def _watch(self, loaded: Sequence[LiveExecution], now_mono: float) -> None:
        """Watch for orders of an earlier process that may turn up late."""
        for execution in loaded:
            delay = self._visibility.delay(get_adapter(execution.broker))
            for intent in execution.intents:
                duplicates.watch_again(intent, delay, now_mono)
                if duplicates.is_watched(intent):
                    self._reading.watch(intent)

    def _token(self, shard: int) -> int:
        return self._ownership.tokens.get(shard, 0)

    async def _working(self, shards: set[int]) -> list[LiveExecution]:
        loaded = await self._db.run(
            loader.load_executions,
            dict(self._day.runs),
            shards,
            statuses=lifecycle.WORKING,
            known=list(self._day.executions),
        )
        await self._accounts.open_for(loaded)
        for broker in {execution.broker for execution in loaded}:
            contracts = {
                leg.contract_id
                for execution in loaded
                if execution.broker == broker
                for leg in execution.run.resolved.values()
            }
            await self._names.load(broker, contracts)
        return loaded

    # -- memory against the database -----------------------------------------------------------
    async def _compare(self) -> None:
        shards = set(self._ownership.tokens) - self._fresh
        if not shards:
            return
        # Database before memory: what is granted during the read must not look forgotten.
        await self._settle_doubts()
        stored = await self._db.run(loader.unfinished_codes, shards)
        held = {code for actor in self._day.actors for code in actor.intents}
        forgotten = stored - held
        if forgotten:
            await self._find(forgotten, shards)

    async def _find(self, codes: set[str], shards: set[int]) -> None:
        loaded = await self._db.run(loader.intents_by_code, codes)
        # A commit that was under way during the read is not forgotten: it has been granted by now,
        # or is still under way.
        missing = [
            intent
            for intent in loaded
            if not self._is_held(intent)
            and intent.code not in self._day.inserting
            and intent.execution_id not in self._day.entering
            and intent.shard in self._ownership.tokens
        ]
        attached = [i for i in missing if i.execution_id in self._day.executions]
        for intent in attached:
            self._day.executions[intent.execution_id].intents.append(intent)
            self._day.hold(intent)
        if len(attached) < len(missing):
            adopted = self._day.adopt(await self._working(shards))
            attached.extend(i for execution in adopted for i in execution.intents)
        self._unsent(attached)
        if attached:
            log.warning("unheard_commit_found", intents=len(attached))

    def _is_held(self, intent: LiveIntent) -> bool:
        actor = self._day.actors.at(intent.account_id)
        return actor is not None and intent.code in actor.intents

    def _unsent(self, intents: Sequence[LiveIntent]) -> None:
        """Make SENDING rows that we committed without knowing it sendable: they were never sent."""
        now = clock.monotonic()
        for intent in intents:
            if intent.state == lifecycle.SENDING:
                intent.state = lifecycle.PLANNED
                intent.sends -= 1
            elif intent.state == lifecycle.UNKNOWN and not intent.unknown_since_mono:
                intent.unknown_since_mono = now
            self._work.changed(intent)

    async def _settle_doubts(self) -> None:
        doubtful = self._doubts.take()
        if not doubtful:
            return
        statuses = await self._db.run(loader.statuses_of, doubtful)
        for execution_id, status in statuses.items():
            execution = self._day.executions.get(execution_id)
            if execution is None:
                continue
            execution.status = status
            if status in lifecycle.WORKING:
                self._work.schedule([execution])
            else:
                self._day.forget(execution)
