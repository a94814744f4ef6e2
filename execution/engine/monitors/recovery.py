"""Finding again what a crash, a takeover or a lost commit left: memory follows the database.

Two cases. A shard was just claimed: everything unfinished in it is loaded (the claim has already
settled what its last owner left SENDING). Or our own connection died under a commit: then the
database may hold rows that we never heard were granted. We are their only owner and never acted
upon them, so a SENDING row of that kind was provably not sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import structlog

from brokers.registry import get_adapter
from execution import duplicates, lifecycle
from execution.engine.database import loader
from execution.live import LiveExecution, LiveIntent
from quantleap.core import clock

if TYPE_CHECKING:
    from execution.engine.executor import Executor

log = structlog.get_logger(__name__)
LOOK_EVERY: Final = 5.0
LOOK_SOON: Final = 0.5


class Recovery:
    """Loads claimed shards, and compares memory with the database now and then."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._fresh: set[int] = set()
        self._doubtful: set[int] = set()
        self._next_look = 0.0

    def claimed(self, shard: int) -> None:
        """A shard is ours since a moment ago."""
        self._fresh.add(shard)

    def lost(self, shard: int) -> None:
        """A shard is somebody else's now."""
        self._fresh.discard(shard)

    def suspect(self) -> None:
        """A commit may have gone through unheard: look soon."""
        self._next_look = min(self._next_look, clock.monotonic() + LOOK_SOON)

    def doubt(self, execution: LiveExecution) -> None:
        """The database did not let us change this execution: read what it says."""
        self._doubtful.add(execution.id)
        self.suspect()

    async def tick(self) -> None:
        """Load what was claimed; look for differences when it is time."""
        if self._fresh:
            await self._load()
        if clock.monotonic() >= self._next_look:
            self._next_look = clock.monotonic() + LOOK_EVERY
            await self._compare()

    async def _load(self) -> None:
        executor = self._executor
        shards = {shard: self._token(shard) for shard in self._fresh}
        loaded = await self._working(set(shards))
        now = clock.monotonic()
        for execution in loaded:
            for intent in execution.intents:
                if intent.state == lifecycle.UNKNOWN:
                    intent.unknown_since_mono = now
        loaded = executor.adopt(one for one in loaded if one.shard in executor.tokens)
        self._watch(loaded, now)
        executor.rounds.touch(loaded)
        executor.accounts.tell(loaded)
        # A shard that was lost and claimed again while we read is loaded anew.
        self._fresh -= {shard for shard, token in shards.items() if self._token(shard) == token}
        if loaded:
            log.info("executions_recovered", count=len(loaded), shards=sorted(shards))

    def _watch(self, loaded: Sequence[LiveExecution], now_mono: float) -> None:
        """What an earlier process sent may turn up late: its duplicates are found again."""
        executor = self._executor
        for execution in loaded:
            delay = executor.visibility.delay(get_adapter(execution.broker))
            for intent in execution.intents:
                duplicates.watch_again(intent, delay, now_mono)
                if duplicates.is_watched(intent):
                    executor.poller.watch(intent)

    def _token(self, shard: int) -> int:
        return self._executor.tokens.get(shard, 0)

    async def _working(self, shards: set[int]) -> list[LiveExecution]:
        executor = self._executor
        loaded = await executor.db.run(
            loader.load_executions,
            dict(executor.runs),
            shards,
            statuses=lifecycle.WORKING,
            known=list(executor.executions),
        )
        await executor.accounts.open_for(loaded)
        for broker in {execution.broker for execution in loaded}:
            contracts = {
                leg.contract_id
                for execution in loaded
                if execution.broker == broker
                for leg in execution.run.resolved.values()
            }
            await executor.accounts.name(broker, contracts)
        return loaded

    # -- memory against the database -----------------------------------------------------------
    async def _compare(self) -> None:
        executor = self._executor
        shards = set(executor.tokens) - self._fresh
        if not shards:
            return
        # Memory first: what is granted while we read must not look forgotten.
        await self._settle_doubts()
        stored = await executor.db.run(loader.unfinished_codes, shards)
        held = {code for actor in executor.actors for code in actor.intents}
        forgotten = stored - held
        if forgotten:
            await self._find(forgotten, shards)

    async def _find(self, codes: set[str], shards: set[int]) -> None:
        executor = self._executor
        loaded = await executor.db.run(loader.intents_by_code, codes)
        # A commit that was under way while we looked is not forgotten: it has been granted by now,
        # or is under way still.
        missing = [
            intent
            for intent in loaded
            if not self._is_held(intent)
            and intent.code not in executor.inserting
            and intent.execution_id not in executor.entering
            and intent.shard in executor.tokens
        ]
        attached = [i for i in missing if i.execution_id in executor.executions]
        for intent in attached:
            executor.executions[intent.execution_id].intents.append(intent)
            executor.hold(intent)
        if len(attached) < len(missing):
            found = executor.adopt(await self._working(shards))
            attached.extend(i for execution in found for i in execution.intents)
        self._unsent(attached)
        if attached:
            log.warning("unheard_commit_found", intents=len(attached))

    def _is_held(self, intent: LiveIntent) -> bool:
        actor = self._executor.actors.at(intent.account_id)
        return actor is not None and intent.code in actor.intents

    def _unsent(self, intents: Sequence[LiveIntent]) -> None:
        """Rows we committed without hearing of it: SENDING there, never sent by anybody."""
        now = clock.monotonic()
        for intent in intents:
            if intent.state == lifecycle.SENDING:
                intent.state = lifecycle.PLANNED
                intent.sends -= 1
            elif intent.state == lifecycle.UNKNOWN and not intent.unknown_since_mono:
                intent.unknown_since_mono = now
            self._executor.rounds.changed(intent)

    async def _settle_doubts(self) -> None:
        doubtful, self._doubtful = self._doubtful, set()
        if not doubtful:
            return
        executor = self._executor
        statuses = await executor.db.run(loader.statuses_of, doubtful)
        for execution_id, status in statuses.items():
            execution = executor.executions.get(execution_id)
            if execution is None:
                continue
            execution.status = status
            if status in lifecycle.WORKING:
                executor.rounds.touch([execution])
            else:
                executor.forget(execution)
