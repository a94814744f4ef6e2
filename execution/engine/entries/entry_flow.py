"""The entry of a run: connect, resolve, compute, commit, fire (docs/trading-day.md).

One flow per run before T; after T the same steps at once for executions that a takeover finds ARMED
inside the grace. The row decides who trades: only what the commit granted is sent.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from typing import Final

import structlog

from brokers.registry import get_adapter
from execution import lifecycle
from execution.causes import GRACE_OVER
from execution.engine.database import loader
from execution.engine.database.decisions import Missed, close_finished_run, decide_missed
from execution.engine.database.entry_writer import EntryPlan, commit_entries, miss_armed
from execution.engine.entries.burst import AFTERMATH, COLLECT, Burst
from execution.engine.entries.entry_queue import EntryQueue
from execution.engine.entries.leg_resolution import NoQuote, decide_legs
from execution.engine.entries.rotation import rotated
from execution.engine.memory.channels import Channels
from execution.engine.memory.doubts import Doubts
from execution.engine.memory.ownership import Ownership
from execution.engine.memory.trading_day import TradingDay
from execution.engine.memory.work_list import WorkList
from execution.engine.orders.accounts import Accounts
from execution.engine.orders.contract_names import ContractNames
from execution.engine.orders.sender import OrderSender
from execution.engine.runtime import facts
from execution.engine.runtime.database_pool import DatabaseDown, DatabasePool
from execution.engine.runtime.quiet_window import QuietWindow
from execution.exit_pricing import FEED
from execution.plan import PlanError, PlannedOrder, plan_entry
from execution.planned_intents import ENTRY, PriceOrigin, planned_intent
from execution.state import LiveExecution, LiveIntent, LiveRun
from execution.timing import Timing
from quantleap.core import clock
from subscriptions.capacity import EntryPace

log = structlog.get_logger(__name__)
#: Seconds per order that the commit may take on a busy machine: large entries commit earlier.
COMMIT_EACH: Final = 0.0004
#: Seconds per account of the last read, for accounts beyond the first FEW.
READ_EACH: Final = 0.0008
#: Seconds per account of planning, for accounts beyond the first FEW.
PLAN_EACH: Final = 0.0002
FEW: Final = 1000
#: Accounts planned at a time: some 5 ms in which nothing else runs.
PORTION: Final = 50
#: Queued accounts per commit.
WAVE: Final = 250
#: Seconds between two checks of a fired run for latecomers inside the grace.
AGAIN: Final = 1.0
RETRY: Final = 0.1
#: Seconds before T from which on a stop waits until the entry has fired.
NO_STOP: Final = 3.0
#: Seconds after T until the first group has been answered; a stop waits no longer.
SETTLED: Final = 1.0
#: Seconds at the end of the grace that a run without a price reserves for its orders.
LAST_CALL: Final = 2.0


class EntryFlows:
    """Runs the entry flows of this executor's shards."""

    def __init__(
        self,
        *,
        day: TradingDay,
        ownership: Ownership,
        timing: Timing,
        db: DatabasePool,
        feeds: DatabasePool,
        quiet: QuietWindow,
        channels: Channels,
        accounts: Accounts,
        names: ContractNames,
        sender: OrderSender,
        queue: EntryQueue,
        burst: Burst,
        work: WorkList,
        doubts: Doubts,
    ) -> None:
        self._day = day
        self._ownership = ownership
        self._timing = timing
        self._db = db
        self._feeds = feeds
        self._quiet = quiet
        self._channels = channels
        self._accounts = accounts
        self._names = names
        self._sender = sender
        self._queue = queue
        self._burst = burst
        self._work = work
        self._doubts = doubts
        self._flows: dict[int, asyncio.Task[None]] = {}
        self._again: dict[int, float] = {}

    async def tick(self) -> None:
        """Start flows that are due, miss executions that are too late, close runs that are over."""
        now = clock.now()
        for run in list(self._day.runs.values()):
            if run.status == lifecycle.ARMED and self._ownership.clock_is_off:
                continue  # our clock must not decide when it enters or is too late
            until = (run.entry_at - now).total_seconds()
            flow = self._flows.get(run.id)
            if flow is not None and not flow.done():
                continue
            if run.status == lifecycle.ARMED and clock.monotonic() < self._again.get(run.id, 0.0):
                continue
            if run.status == lifecycle.ARMED and now > run.grace_until:
                await self._miss_rest(run)
            elif run.status == lifecycle.ARMED and until <= self._timing.connect_lead:
                self._flows[run.id] = asyncio.create_task(self._flow(run))
            elif run.status == lifecycle.ENTERED:
                await self._db.run(close_finished_run, run.id, now)

    async def fired(self) -> None:
        """Return when no entry is about to fire or firing, for a clean stop."""
        while self.is_near():
            await asyncio.sleep(AFTERMATH / 5)

    def is_near(self) -> bool:
        """Whether an entry is about to fire, firing, or queued."""
        near = any(self._is_near(run_id) for run_id in list(self._flows))
        return near or self._queue.is_near()

    def _is_near(self, run_id: int) -> bool:
        run = self._day.runs.get(run_id)
        if run is None or self._flows[run_id].done():
            return False
        return -SETTLED <= run.entry_unix - clock.timestamp() <= NO_STOP

    def close(self) -> None:
        """Cancel the flows of later entries, of which nothing has been committed."""
        for flow in self._flows.values():
            flow.cancel()

    async def _armed(self, run: LiveRun) -> list[LiveExecution]:
        return await self._db.run(
            loader.load_executions,
            {run.id: run},
            list(self._ownership.tokens),
            statuses=(lifecycle.ARMED,),
        )

    async def _still_armed(
        self, run: LiveRun, known: Sequence[LiveExecution]
    ) -> list[LiveExecution]:
        """Those of ``known`` that are still ARMED, and those that have joined since, or whose size
        was changed. Close to T only ids and times are read again: everything else is fixed when an
        execution is armed."""
        armed = await self._db.run(loader.armed_since, run.id, list(self._ownership.tokens))
        remaining = [e for e in known if armed.get(e.id) == e.armed_at]
        if len(remaining) == len(armed):
            return remaining
        joined = await self._db.run(
            loader.load_executions,
            {run.id: run},
            list(self._ownership.tokens),
            statuses=(lifecycle.ARMED,),
            known=[execution.id for execution in remaining],
        )
        return remaining + joined

    async def _miss_rest(self, run: LiveRun) -> None:
        late = await self._armed(run)
        if late:
            await self._db.run(
                miss_armed,
                run.id,
                late,
                GRACE_OVER,
                owner=self._ownership.owner,
                tokens=dict(self._ownership.tokens),
                now=clock.now(),
            )
        await self._db.run(close_finished_run, run.id, clock.now())

    # -- one flow ----------------------------------------------------------------------------
    async def _flow(self, run: LiveRun) -> None:
        try:
            await self._enter(run)
            self._again[run.id] = clock.monotonic() + AGAIN
        except DatabaseDown as error:
            # Nothing was granted, so nothing was sent. The next tick starts over; if the commit
            # succeeded after all, recovery finds it.
            log.warning("entry_waits_for_database", run=run.public_id, reason=str(error))
            self._doubts.suspect()
        except Exception:  # process boundary of one run: others go on, the tick tries again
            log.exception("entry_failed", run=run.public_id)
        finally:
            self._quiet.end(run.id)

    async def _enter(self, run: LiveRun) -> None:
        timing = self._timing
        executions = await self._armed(run)
        if executions:
            await self._connect(executions)
        excess = max(0, len(executions) - FEW)
        resolve_lead = timing.resolve_lead + PLAN_EACH * excess
        await self._sleep_until(run, resolve_lead + 0.4 + READ_EACH * excess)
        executions = await self._still_armed(run, executions)
        if not executions:
            return
        await self._connect(executions)
        await self._sleep_until(run, resolve_lead)
        if self._ownership.clock_is_off:
            return  # it stays ARMED for an executor with the right time
        if not await self._resolve(run, executions):
            return
        self._queue.expect(run, len(executions))
        plans = await self._plan(run, executions)
        first, *waves = self._waves(run, plans)
        try:
            await self._sleep_until(run, self._commit_lead(plans))
            await self._commit_and_fire(run, first, waves)
        finally:
            # Not committed: the next flow enters them, or they are too late.
            self._queue.forget(
                plan.execution.id for plan in plans if plan.execution.status == lifecycle.ARMED
            )

    async def _commit_and_fire(
        self, run: LiveRun, first: Sequence[EntryPlan], waves: list[Sequence[EntryPlan]]
    ) -> None:
        """Send ``first`` at T. ``waves`` are queued, and committed before T if there is time, else
        after ``first`` has left: ten thousand rows must not make any order late."""
        committed = await self._commit(first)
        while waves and self._takes(waves[0]) < run.entry_unix - clock.timestamp():
            self._fired(await self._commit(waves.pop(0)))
        deadline, ready = self._burst.deadline(run), clock.monotonic()
        channels = self._burst.load(committed)
        shots = await self._burst.wait_for(run, deadline, channels)
        self._burst.fire(shots)
        for channel in channels:
            channel.drain()
        await self._burst.until_nearly_all_left(channels, deadline)
        self._quiet.end(run.id)
        self._fired(committed)
        log.info(
            "entry_fired",
            run=run.public_id,
            executions=len(committed),
            in_line=len(self._queue),
            committed_before_s=round(deadline - ready, 3),
        )
        for wave in waves:
            # Not all at once: writing the rows of entries that start in five seconds would delay
            # the sold legs of entries that have started.
            while self._queue.is_supplied(run):
                await asyncio.sleep(AFTERMATH / 10)
            self._fired(await self._commit(wave))

    def _waves(self, run: LiveRun, plans: Sequence[EntryPlan]) -> list[Sequence[EntryPlan]]:
        """The plans that start at T and those that will not enter; then the queued ones in turn."""
        line = self._queue
        line.line_up(run, ordered := rotated(plans))
        waiting = [plan for plan in ordered if line.is_waiting(plan)]
        if not waiting:
            return [plans]
        first = [plan for plan in ordered if not line.is_waiting(plan)]
        return [first, *(waiting[n : n + WAVE] for n in range(0, len(waiting), WAVE))]

    @staticmethod
    def _takes(plans: Sequence[EntryPlan]) -> float:
        """Seconds that a commit of these may take, including getting ready for T after it."""
        return COMMIT_EACH * sum(len(plan.intents) for plan in plans) + COLLECT

    async def _connect(self, executions: Sequence[LiveExecution]) -> None:
        await self._accounts.refresh(executions)
        self._accounts.warm_up({execution.account_id for execution in executions})

    async def _sleep_until(self, run: LiveRun, lead: float) -> None:
        wait = run.entry_at.timestamp() - lead - clock.timestamp()
        if wait > 0:
            await asyncio.sleep(wait)

    async def _resolve(self, run: LiveRun, executions: Sequence[LiveExecution]) -> bool:
        """Take the one decision for all subscribers; False if the run is MISSED.

        Without a usable quote it waits for one inside the grace; then the run is MISSED.
        """
        try:
            while not run.resolved:
                try:
                    run.resolved = await self._feeds.run(
                        decide_legs,
                        run,
                        owner=self._ownership.owner,
                        max_age=self._timing.quote_age_entry,
                        now=clock.now(),
                    )
                except NoQuote as error:
                    if clock.now() < self._give_up_at(run, error):
                        await asyncio.sleep(RETRY)
                        continue
                    run.resolved = await self._db.run(
                        decide_missed,
                        run,
                        error.cause,
                        error.message,
                        owner=self._ownership.owner,
                        now=clock.now(),
                    )
        except Missed as error:
            log.error("run_without_quotes", run=run.public_id, reason=error.message)
            await self._db.run(
                miss_armed,
                run.id,
                executions,
                error.cause,
                owner=self._ownership.owner,
                tokens=dict(self._ownership.tokens),
                now=clock.now(),
                message=error.message,
            )
            return False
        facts.decided(run)
        return True

    def _give_up_at(self, run: LiveRun, error: NoQuote) -> dt.datetime:
        """When to give up waiting: prices may return until the grace ends, but a wrong contract
        list does not repair itself."""
        lead = self._timing.commit_lead
        if error.may_pass:
            return run.grace_until - dt.timedelta(seconds=lead + LAST_CALL)
        return run.entry_at - dt.timedelta(seconds=max(lead / 2, RETRY))

    async def _plan(self, run: LiveRun, executions: Sequence[LiveExecution]) -> list[EntryPlan]:
        contracts = {leg.contract_id for leg in run.resolved.values()}
        for broker in {execution.broker for execution in executions}:
            await self._names.load(broker, contracts)
        now = clock.now()
        plans: list[EntryPlan] = []
        async for portion in self._quiet.portions(executions, PORTION):
            plans.extend(self._plan_one(execution, now) for execution in portion)
        return plans

    def _plan_one(self, execution: LiveExecution, now: dt.datetime) -> EntryPlan:
        plan = EntryPlan(execution)
        problem = self._channels.problems.get(execution.account_id, "")
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
        missing = [intent for intent in plan.intents if not self._sender.prepare(execution, intent)]
        if missing:
            plan.intents, plan.cause = [], "NO_CONTRACT"
        return plan

    @staticmethod
    def _pace(execution: LiveExecution, now: dt.datetime) -> EntryPace:
        """The seconds of grace left, with the rate windows of the account's broker."""
        run = execution.run
        left = (run.grace_until - max(now, run.entry_at)).total_seconds()
        return EntryPace(get_adapter(execution.broker).capabilities.windows, left)

    def _intents(
        self, execution: LiveExecution, orders: Sequence[PlannedOrder], now: dt.datetime
    ) -> list[LiveIntent]:
        """All intents of a subscriber's entry, one per order."""
        return [self._intent(execution, order, now) for order in orders]

    def _intent(
        self, execution: LiveExecution, order: PlannedOrder, now: dt.datetime
    ) -> LiveIntent:
        return planned_intent(
            execution,
            order,
            ENTRY,
            PriceOrigin(FEED, execution.run.resolved[order.leg_key].age),
            instrument=self._names.of(execution.broker, order.contract_id),
            due_at=max(now, execution.run.entry_at),
            now=now,
            # Later groups leave after a fill, seconds later.
            is_sending=order.group == 0,
        )

    def _commit_lead(self, plans: Sequence[EntryPlan]) -> float:
        orders = sum(len(plan.intents) for plan in plans)
        return max(self._timing.commit_lead, COMMIT_EACH * orders)

    async def _commit(self, plans: Sequence[EntryPlan]) -> list[EntryPlan]:
        entering = {plan.execution.id for plan in plans}
        self._day.entering |= entering
        try:
            granted = await self._grant(plans)
        finally:
            self._day.entering -= entering
        self._queue.forget(entering - granted)
        committed = [plan for plan in plans if plan.execution.id in granted]
        for plan in committed:
            plan.execution.status = lifecycle.COMMITTED
            plan.execution.intents = plan.intents
        adopted = {
            execution.id for execution in self._day.adopt(plan.execution for plan in committed)
        }
        return [plan for plan in committed if plan.execution.id in adopted]

    async def _grant(self, plans: Sequence[EntryPlan]) -> frozenset[int]:
        return await self._db.run(
            commit_entries,
            plans,
            owner=self._ownership.owner,
            tokens=dict(self._ownership.tokens),
            now=clock.now(),
        )

    def _fired(self, committed: Sequence[EntryPlan]) -> None:
        """Log the orders of executions that have fired, and schedule their next steps."""
        for plan in committed:
            for intent in plan.intents:
                facts.ordered(plan.execution, intent)
        self._work.schedule(plan.execution for plan in committed)
