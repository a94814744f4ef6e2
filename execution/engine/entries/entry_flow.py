"""The entry of a run: connect, resolve, compute, commit, fire (docs/trading-day.md).

One flow per run before T; after T the same steps at once for what a takeover finds ARMED inside
the grace. The row decides who trades: only what the commit granted is sent.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import structlog

from brokers.registry import get_adapter
from execution.engine.database import loader
from execution.engine.database.decisions import (
    Missed,
    NoQuote,
    close_finished_run,
    decide_entry,
    decide_missed,
)
from execution.engine.database.entry_writer import EntryPlan, commit_entries, miss_armed
from execution.engine.entries.burst import AFTERMATH, COLLECT, Burst
from execution.engine.entries.rotation import rotated
from execution.engine.runtime import facts
from execution.engine.runtime.database_pool import DatabaseDown
from execution.exitprices import FEED
from execution.live import LiveExecution, LiveIntent, LiveRun
from execution.plan import PlanError, PlannedOrder, plan_entry
from execution.planned_intents import ENTRY, PriceOrigin, planned_intent
from quantleap.core import clock
from subscriptions.capacity import EntryPace

if TYPE_CHECKING:
    from execution.engine.executor import Executor

log = structlog.get_logger(__name__)
#: Seconds that the commit may take for each order on a busy machine: many commit earlier.
COMMIT_EACH: Final = 0.0004
#: Seconds that a last look at an account takes, beyond so many that need no more than the usual.
READ_EACH: Final = 0.0008
#: Seconds that planning takes for each account beyond those.
PLAN_EACH: Final = 0.0002
FEW: Final = 1000
#: Accounts that are planned at a time: some 5 ms in which nothing else happens.
PORTION: Final = 50
#: Accounts of one commit, of those who stand in line.
WAVE: Final = 250
#: How often a run that has fired is looked at for latecomers inside the grace.
AGAIN: Final = 1.0
RETRY: Final = 0.1
#: Seconds before T from which on an executor that is asked to stop fires first.
NO_STOP: Final = 3.0
#: Seconds after T until the first group has been answered; nobody waits for what comes later.
SETTLED: Final = 1.0
#: Seconds of the grace that a run without a price leaves for its orders.
LAST_CALL: Final = 2.0


class EntryFlows:
    """Runs the entry flows of this executor's shards."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._firing = Burst(executor)
        self._flows: dict[int, asyncio.Task[None]] = {}
        self._again: dict[int, float] = {}

    async def tick(self) -> None:
        """Start flows that are due; miss what is too late; close runs that are over."""
        now = self._executor.now()
        for run in list(self._executor.runs.values()):
            if run.status == "ARMED" and self._executor.clock_is_off:
                continue  # when it enters, or is too late, is not for this clock to say
            until = (run.entry_at - now).total_seconds()
            flow = self._flows.get(run.id)
            if flow is not None and not flow.done():
                continue
            if run.status == "ARMED" and clock.monotonic() < self._again.get(run.id, 0.0):
                continue
            if run.status == "ARMED" and now > run.grace_until:
                await self._miss_rest(run)
            elif run.status == "ARMED" and until <= self._executor.timing.connect_lead:
                self._flows[run.id] = asyncio.create_task(self._flow(run))
            elif run.status == "ENTERED":
                await self._executor.db.run(close_finished_run, run.id, now)

    async def fired(self) -> None:
        """Return when no entry is about to fire or firing: a clean stop waits for these seconds."""
        while self.is_near():
            await asyncio.sleep(AFTERMATH / 5)

    def is_near(self) -> bool:
        """Whether an entry is about to fire, firing, or standing in line."""
        near = any(self._is_near(run_id) for run_id in list(self._flows))
        return near or self._executor.line.is_near()

    def _is_near(self, run_id: int) -> bool:
        run = self._executor.runs.get(run_id)
        if run is None or self._flows[run_id].done():
            return False
        return -SETTLED <= run.entry_unix - clock.timestamp() <= NO_STOP

    def close(self) -> None:
        """End the flows of later entries: nothing of theirs has been committed."""
        for flow in self._flows.values():
            flow.cancel()

    async def _armed(self, run: LiveRun) -> list[LiveExecution]:
        return await self._executor.db.run(
            loader.load_executions,
            {run.id: run},
            list(self._executor.tokens),
            statuses=("ARMED",),
        )

    async def _still_armed(
        self, run: LiveRun, known: Sequence[LiveExecution]
    ) -> list[LiveExecution]:
        """Those of ``known`` that are ARMED still, and who has joined since. Close to T only the
        ids are read again: everything else of an execution is fixed when it is armed."""
        executor = self._executor
        ids = await executor.db.run(loader.armed_ids, run.id, list(executor.tokens))
        still = [execution for execution in known if execution.id in ids]
        if len(still) == len(ids):
            return still
        joined = await executor.db.run(
            loader.load_executions,
            {run.id: run},
            list(executor.tokens),
            statuses=("ARMED",),
            known=[execution.id for execution in still],
        )
        return still + joined

    async def _miss_rest(self, run: LiveRun) -> None:
        executor = self._executor
        late = await self._armed(run)
        if late:
            await executor.db.run(
                miss_armed,
                run.id,
                late,
                "GRACE_OVER",
                owner=executor.owner,
                tokens=dict(executor.tokens),
                now=executor.now(),
            )
        await executor.db.run(close_finished_run, run.id, executor.now())

    # -- one flow ----------------------------------------------------------------------------
    async def _flow(self, run: LiveRun) -> None:
        try:
            await self._enter(run)
            self._again[run.id] = clock.monotonic() + AGAIN
        except DatabaseDown as error:
            # Nothing was granted, so nothing was sent. The next tick begins again; should the
            # commit have gone through after all, recovery finds it.
            log.warning("entry_waits_for_database", run=run.public_id, reason=str(error))
            self._executor.recovery.suspect()
        except Exception:  # process boundary of one run: others go on, the tick tries again
            log.exception("entry_failed", run=run.public_id)
        finally:
            self._executor.quiet.end(run.id)

    async def _enter(self, run: LiveRun) -> None:
        timing = self._executor.timing
        executions = await self._armed(run)
        if executions:
            await self._connect(executions)
        many = max(0, len(executions) - FEW)
        resolve_lead = timing.resolve_lead + PLAN_EACH * many
        await self._sleep_until(run, resolve_lead + 0.4 + READ_EACH * many)
        executions = await self._still_armed(run, executions)
        if not executions:
            return
        await self._connect(executions)
        await self._sleep_until(run, resolve_lead)
        if self._executor.clock_is_off:
            return  # it stays armed, for whoever has the right time
        if not await self._resolve(run, executions):
            return
        self._executor.line.expect(run, len(executions))
        plans = await self._plan(run, executions)
        first, *waves = self._waves(run, plans)
        try:
            await self._sleep_until(run, self._commit_lead(plans))
            await self._commit_and_fire(run, first, waves)
        finally:
            # Nothing of theirs is committed: they are entered anew, or are too late.
            self._executor.line.forget(
                plan.execution.id for plan in plans if plan.execution.status == "ARMED"
            )

    async def _commit_and_fire(
        self, run: LiveRun, first: Sequence[EntryPlan], waves: list[Sequence[EntryPlan]]
    ) -> None:
        """``first`` leaves at T; ``waves`` stand in line, and are committed before T where there
        is time for it, else when ``first`` has left: ten thousand rows make nobody late."""
        committed = await self._commit(first)
        while waves and self._takes(waves[0]) < run.entry_unix - clock.timestamp():
            self._fired(await self._commit(waves.pop(0)))
        deadline, ready = self._firing.deadline(run), clock.monotonic()
        channels = self._firing.load(committed)
        shots = await self._firing.wait_for(run, deadline, channels)
        self._firing.fire(shots)
        for channel in channels:
            channel.drain()
        await self._firing.until_nearly_all_left(channels, deadline)
        self._executor.quiet.end(run.id)
        self._fired(committed)
        log.info(
            "entry_fired",
            run=run.public_id,
            executions=len(committed),
            in_line=len(self._executor.line),
            committed_before_s=round(deadline - ready, 3),
        )
        for wave in waves:
            # Not all of them at once: the rows of those who begin in five seconds would keep back
            # the sold legs of those who have begun.
            while self._executor.line.is_supplied(run):
                await asyncio.sleep(AFTERMATH / 10)
            self._fired(await self._commit(wave))

    def _waves(self, run: LiveRun, plans: Sequence[EntryPlan]) -> list[Sequence[EntryPlan]]:
        """Who begins at T, with all that will not enter; then those who stand in line, in turn."""
        line = self._executor.line
        line.line_up(run, ordered := rotated(plans))
        waiting = [plan for plan in ordered if line.is_waiting(plan)]
        if not waiting:
            return [plans]
        first = [plan for plan in ordered if not line.is_waiting(plan)]
        return [first, *(waiting[n : n + WAVE] for n in range(0, len(waiting), WAVE))]

    @staticmethod
    def _takes(plans: Sequence[EntryPlan]) -> float:
        """Seconds that a commit of these may take, and getting ready for T after it."""
        return COMMIT_EACH * sum(len(plan.intents) for plan in plans) + COLLECT

    async def _connect(self, executions: Sequence[LiveExecution]) -> None:
        accounts = self._executor.accounts
        await accounts.refresh(executions)
        accounts.warm_up({execution.account_id for execution in executions})

    async def _sleep_until(self, run: LiveRun, lead: float) -> None:
        wait = run.entry_at.timestamp() - lead - clock.timestamp()
        if wait > 0:
            await asyncio.sleep(wait)

    async def _resolve(self, run: LiveRun, executions: Sequence[LiveExecution]) -> bool:
        """The one decision for all subscribers.

        Without a quote to trade at it waits for a better one, inside the grace; then the run is
        MISSED.
        """
        executor = self._executor
        try:
            while not run.resolved:
                try:
                    run.resolved = await executor.feeds.run(
                        decide_entry, run, executor, executor.now()
                    )
                except NoQuote as error:
                    if executor.now() < self._give_up_at(run, error):
                        await asyncio.sleep(RETRY)
                        continue
                    run.resolved = await executor.db.run(
                        decide_missed, run, error, executor, executor.now()
                    )
        except Missed as error:
            log.error("run_without_quotes", run=run.public_id, reason=error.message)
            await executor.db.run(
                miss_armed,
                run.id,
                executions,
                error.cause,
                owner=executor.owner,
                tokens=dict(executor.tokens),
                now=executor.now(),
                message=error.message,
            )
            return False
        facts.decided(run)
        return True

    def _give_up_at(self, run: LiveRun, error: NoQuote) -> dt.datetime:
        """Prices may come back until the grace ends; a contract list does not mend itself."""
        lead = self._executor.timing.commit_lead
        if error.may_pass:
            return run.grace_until - dt.timedelta(seconds=lead + LAST_CALL)
        return run.entry_at - dt.timedelta(seconds=max(lead / 2, RETRY))

    async def _plan(self, run: LiveRun, executions: Sequence[LiveExecution]) -> list[EntryPlan]:
        executor = self._executor
        contracts = {leg.contract_id for leg in run.resolved.values()}
        for broker in {execution.broker for execution in executions}:
            await executor.accounts.name(broker, contracts)
        now = executor.now()
        plans: list[EntryPlan] = []
        async for portion in executor.quiet.portions(executions, PORTION):
            plans.extend(self._plan_one(execution, now) for execution in portion)
        return plans

    def _plan_one(self, execution: LiveExecution, now: dt.datetime) -> EntryPlan:
        plan = EntryPlan(execution)
        problem = self._executor.accounts.problems.get(execution.account_id, "")
        try:
            orders = plan_entry(
                execution.run.strategy,
                execution.run.resolved,
                execution.lot_multiplier,
                execution.max_lots_per_order,
                self._pace(execution, now),
            )
        except PlanError as error:
            plan.cause, plan.message = error.cause, error.message
            return plan
        if problem:
            plan.cause = problem
            return plan
        plan.intents = self._intents(execution, orders, now)
        missing = [
            intent
            for intent in plan.intents
            if not self._executor.rounds.sending.prepare(execution, intent)
        ]
        if missing:
            plan.intents, plan.cause = [], "NO_CONTRACT"
        return plan

    @staticmethod
    def _pace(execution: LiveExecution, now: dt.datetime) -> EntryPace:
        """What is left of the grace, at the pace of the account's broker."""
        run = execution.run
        left = (run.grace_until - max(now, run.entry_at)).total_seconds()
        return EntryPace(get_adapter(execution.broker).capabilities.windows, left)

    def _intents(
        self, execution: LiveExecution, orders: Sequence[PlannedOrder], now: dt.datetime
    ) -> list[LiveIntent]:
        """Everything that a subscriber's entry sends, one intent an order."""
        return [self._intent(execution, order, now) for order in orders]

    def _intent(
        self, execution: LiveExecution, order: PlannedOrder, now: dt.datetime
    ) -> LiveIntent:
        return planned_intent(
            execution,
            order,
            ENTRY,
            PriceOrigin(FEED, execution.run.resolved[order.leg_key].age),
            instrument=self._executor.accounts.instrument(execution.broker, order.contract_id),
            due_at=max(now, execution.run.entry_at),
            now=now,
            # Later groups leave after a fill, seconds later.
            is_sending=order.group == 0,
        )

    def _commit_lead(self, plans: Sequence[EntryPlan]) -> float:
        orders = sum(len(plan.intents) for plan in plans)
        return max(self._executor.timing.commit_lead, COMMIT_EACH * orders)

    async def _commit(self, plans: Sequence[EntryPlan]) -> list[EntryPlan]:
        executor = self._executor
        entering = {plan.execution.id for plan in plans}
        executor.entering |= entering
        try:
            granted = await self._grant(plans)
        finally:
            executor.entering -= entering
        executor.line.forget(entering - granted)
        committed = [plan for plan in plans if plan.execution.id in granted]
        for plan in committed:
            plan.execution.status = "COMMITTED"
            plan.execution.intents = plan.intents
        adopted = {one.id for one in executor.adopt(plan.execution for plan in committed)}
        return [plan for plan in committed if plan.execution.id in adopted]

    async def _grant(self, plans: Sequence[EntryPlan]) -> frozenset[int]:
        executor = self._executor
        return await executor.db.run(
            commit_entries,
            plans,
            owner=executor.owner,
            tokens=dict(executor.tokens),
            now=executor.now(),
        )

    def _fired(self, committed: Sequence[EntryPlan]) -> None:
        """What follows once the first group has left: asking what is next."""
        for plan in committed:
            for intent in plan.intents:
                facts.ordered(plan.execution, intent)
        self._executor.rounds.touch(plan.execution for plan in committed)
