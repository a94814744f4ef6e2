"""The queue of entries: which start at T, and which when others have been followed up.

:mod:`execution.admission` decides; the queue adds the clock, the executions and the streams. A
queued execution is COMMITTED and all its orders are PLANNED: provably not at the broker, so that an
executor that takes over the shard may send them at once (docs/adr/0046).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from brokers.pace import last_entry_leaves
from brokers.registry import get_adapter
from execution import admission, lifecycle
from execution.engine.database.entry_writer import EntryPlan
from execution.engine.memory.streams import Streams
from execution.engine.memory.trading_day import TradingDay
from execution.engine.memory.work_list import WorkList
from execution.engine.wire.channel_factory import keeps_own_book
from execution.state import LiveExecution, LiveIntent, LiveRun
from marketplace.leg_order import order_groups
from quantleap.core import clock
from subscriptions.capacity import GROUP_CHANGE, RESERVE

#: Seconds after T for which a clean stop waits for queued entries; those still queued then are
#: handed over with nothing sent.
NO_STOP: Final = 5.0
#: More committed accounts than this in the queue are enough for a moment.
ENOUGH: Final = 100
#: With at least this many entries under way, deferrable work waits; and for this many seconds
#: after T at most.
MANY: Final = 50
HUSH: Final = 10.0


class EntryQueue:
    """The queue of one executor, for all of its runs. Used in the loop's thread only."""

    def __init__(self, day: TradingDay, streams: Streams, work: WorkList) -> None:
        self._day = day
        self._streams = streams
        self._work = work
        self._line = admission.Line(admission.WINDOW)
        self._unknown: dict[int, LiveExecution] = {}
        self._busy_until = 0.0
        self._calm_from = 0.0
        self._hush_until = 0.0
        day.when_forgotten(self._forget)

    # -- an entry that is about to be committed --------------------------------------------------
    def expect(self, run: LiveRun, count: int) -> None:
        """Announce that ``count`` executions of a run will be planned: if they are many, deferrable
        work waits from now on."""
        if count >= MANY and any(order_groups(run.strategy.legs, run.strategy.order_rule)):
            start = self._starts(run)
            self._hush_until = max(self._hush_until, start + HUSH)
            self._calm_from = max(self._calm_from, start + admission.PATIENCE)

    def line_up(self, run: LiveRun, plans: Sequence[EntryPlan]) -> None:
        """Before the commit, queue ``plans`` (in today's order): those without room at the run's
        second get PLANNED first orders. Entries with one order group are not queued."""
        grouped = [plan for plan in plans if any(intent.group for intent in plan.intents)]
        if not grouped:
            return
        start = self._join(run, [(plan.execution, plan.intents) for plan in grouped])
        now = clock.monotonic()
        begun = self._line.admit(now, self._is_ours, ahead=max(0.0, start - now))
        self._hush(start)
        planned_ids = {plan.execution.id for plan in grouped}
        self._work.schedule_ids(number for number in begun if number not in planned_ids)
        for plan in grouped:
            if self._line.is_waiting(plan.execution.id):
                for intent in plan.intents:
                    intent.state, intent.sends = lifecycle.PLANNED, 0

    def is_waiting(self, plan: EntryPlan) -> bool:
        """Whether this plan's execution is in the queue."""
        return self._line.is_waiting(plan.execution.id)

    def is_supplied(self, run: LiveRun) -> bool:
        """Whether enough committed executions of a run are in the queue for now."""
        waiting = sum(self._line.is_waiting(execution.id) for execution in self._day.of_run(run.id))
        return waiting > ENOUGH

    def __len__(self) -> int:
        return len(self._line)

    def forget(self, numbers: Iterable[int]) -> None:
        """Forget executions that are over, belong to another executor, or were not committed."""
        for number in numbers:
            self._forget(number)

    def _forget(self, number: int) -> None:
        self._line.leave(number)
        self._unknown.pop(number, None)

    # -- in the rounds ---------------------------------------------------------------------------
    def begin(self) -> list[int]:
        """Start the entries that may start now; return their ids in order."""
        self._join_unknown()
        now = clock.monotonic()
        begun = self._line.admit(now, self._is_ours)
        if begun:
            self._hush(now)
        return begun

    def may_start(self, execution: LiveExecution) -> bool:
        """Whether the queue lets the next orders of an execution leave.

        An execution that is new here and of which nothing was ever sent (after a takeover) is
        queued too, from the next :meth:`begin` on.
        """
        if self._line.has_begun(execution.id):
            return True
        if self._line.is_waiting(execution.id):
            return False
        if not admission.has_to_stand_in_line(list(execution.of(lifecycle.ENTRY))):
            return True
        self._unknown[execution.id] = execution
        return False

    def look(self, execution: LiveExecution) -> None:
        """Free the place of an execution whose entry needs no more follow-up."""
        if execution.id in self._line.under_way and (
            execution.status != lifecycle.COMMITTED
            or admission.is_followed_up(list(execution.of(lifecycle.ENTRY)))
        ):
            self._line.done(execution.id)

    def have_left(self, intents: Iterable[LiveIntent]) -> None:
        """Update the queue for orders whose first bytes have left."""
        executions = self._day.executions
        under_way = self._line.under_way
        for number in {i.execution_id for i in intents if i.execution_id in under_way}:
            if number in executions:
                self.look(executions[number])

    def has_news(self, *, sent: bool) -> bool:
        """Whether :meth:`begin` may start an entry; ``sent``: whether any order has left, which
        makes room."""
        return bool(self._unknown) or (sent and bool(self._line))

    def is_due(self, now_mono: float) -> bool:
        """Whether an entry may start now merely because time has passed."""
        return bool(self._unknown) or self._line.is_due(now_mono)

    # -- while many are followed up --------------------------------------------------------------
    @property
    def is_busy(self) -> bool:
        """Whether many entries are being followed up, so that deferrable work waits: log lines,
        garbage collection, opening streams. Any thread may call it."""
        return clock.monotonic() < min(self._calm_from, self._hush_until)

    def _hush(self, mono: float) -> None:
        """Note that entries start at ``mono`` (monotonic seconds)."""
        if len(self._line.under_way) >= MANY:
            self._calm_from = mono + admission.PATIENCE

    # -- a clean stop ----------------------------------------------------------------------------
    def is_near(self) -> bool:
        """Whether a stop should wait a moment longer for entries under way or queued."""
        now = clock.monotonic()
        if now >= self._busy_until:
            return False
        return bool(self._line or self._unknown or self._line.under_way)

    # -- inside ----------------------------------------------------------------------------------
    def _join_unknown(self) -> None:
        unknown, self._unknown = self._unknown, {}
        runs: dict[int, list[tuple[LiveExecution, Sequence[LiveIntent]]]] = {}
        for execution in unknown.values():
            entries = list(execution.of(lifecycle.ENTRY))
            runs.setdefault(execution.run.id, []).append((execution, entries))
        for entering in runs.values():
            self._join(entering[0][0].run, entering)

    def _join(
        self, run: LiveRun, entering: Sequence[tuple[LiveExecution, Sequence[LiveIntent]]]
    ) -> float:
        """Queue entries of a run in this order; return their earliest start (monotonic seconds)."""
        start = self._starts(run)
        end = clock.monotonic() + run.grace_unix - clock.timestamp()
        paces: dict[tuple[str, tuple[int, ...]], float] = {}
        entrants = []
        for execution, intents in entering:
            counts = _by_group(intents)
            key = execution.broker, counts
            if key not in paces:
                paces[key] = _takes(execution.broker, counts, end - start)
            work = admission.weight(len(intents), has_updates=self._is_told(execution))
            entrants.append((execution.id, work, end - paces[key]))
        self._line.join(admission.lined_up(entrants, start=start, end=end))
        self._busy_until = max(self._busy_until, start + NO_STOP)
        self._hush_until = max(self._hush_until, start + HUSH)
        return start

    @staticmethod
    def _starts(run: LiveRun) -> float:
        """The earliest start of a run's entries: T, or now if later (monotonic seconds)."""
        return clock.monotonic() + max(0.0, run.entry_unix - clock.timestamp())

    def _is_told(self, execution: LiveExecution) -> bool:
        """Whether fills of this account are reported without reading its book."""
        if keeps_own_book(execution.broker):
            return True
        return self._streams.trusts(self._day.actors.of(execution.real, execution.account_id))

    def _is_ours(self, number: int) -> bool:
        execution = self._day.executions.get(number)
        return execution is not None and admission.waits_for_us(
            list(execution.of(lifecycle.ENTRY)), clock.monotonic()
        )


def _by_group(intents: Collection[LiveIntent]) -> tuple[int, ...]:
    counts = [0] * (1 + max(intent.group for intent in intents))
    for intent in intents:
        counts[intent.group] += 1
    return tuple(counts)


def _takes(broker: str, counts: tuple[int, ...], grace: float) -> float:
    """Seconds from an entry's first order to its last, at the account's order rate."""
    windows = get_adapter(broker).capabilities.windows
    return RESERVE + last_entry_leaves(windows, counts, GROUP_CHANGE, grace)
