"""One round: ask what is next, write it, act on what the database granted.

All of it runs in the executor's loop thread; only the writing itself leaves it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import math
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Final

import structlog

from brokers.registry import get_adapter
from execution import lifecycle, outcome
from execution.alarms import UNWRITABLE, Alarm
from execution.engine.database.refused_rows import REFUSED_AGAIN
from execution.engine.database.writer import Batch, Written, write
from execution.engine.exits.exit_orders import ExitOrders
from execution.engine.memory.alarm_queue import AlarmQueue
from execution.engine.orders.self_trades import SelfTrades
from execution.engine.orders.sender import OrderSender
from execution.engine.runtime import facts
from execution.live import LiveExecution, LiveIntent, LiveRun
from execution.moments import Agenda, Phase, next_moment, phase
from execution.progress import next_steps
from execution.steps import ExitOrder, Situation, StatusChange, Steps
from execution.tags import make_tag
from quantleap.core import clock

if TYPE_CHECKING:
    from execution.engine.executor import Executor

log = structlog.get_logger(__name__)
PERIOD: Final = 0.02
#: Who had something to do is asked again after so many seconds, whatever became of it.
AGAIN: Final = 0.25
#: Everybody is asked at least so often, in seconds, should a moment have been forgotten.
SWEEP: Final = 5.0
#: What was answered and moves nothing is written within so many seconds: where the fill that does
#: move something follows an answer closely, both are one transaction.
PATIENCE: Final = 0.2
#: From so many executions on a round has the interpreter to itself: a line of the log is a tenth of
#: a millisecond, and there are eight for each account of four legs.
MANY: Final = 50
#: Executions of one round: some ten milliseconds of deciding, and a transaction that the first of
#: them need not wait long for.
AT_ONCE: Final = 1000


class Rounds:
    """Collects what changed, and carries the consequences in batches."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._touched: dict[int, None] = {}  # in order: who was first is decided first
        self._agenda = Agenda()
        self._phases: dict[int, Phase] = {}
        self._sweep: list[int] = []
        self._swept_at = 0.0
        self._put_off_at = 0.0
        #: Whether a round for many is under way (any thread may ask).
        self.is_busy = False
        self._dirty: dict[str, LiveIntent] = {}
        self._wake = asyncio.Event()
        self.alarms = AlarmQueue()
        self._refused_until: dict[int, float] = {}
        self.closing = ExitOrders(executor)
        self.crossing = SelfTrades(executor)
        self.sending = OrderSender(executor, self.crossing, self.changed)

    # -- noticing ----------------------------------------------------------------------------
    def touch(self, executions: Iterable[LiveExecution]) -> None:
        """Ask again what is next for these executions."""
        self.ask(execution.id for execution in executions)

    def ask(self, numbers: Iterable[int]) -> None:
        """:meth:`touch` by the executions' numbers."""
        self._touched.update(dict.fromkeys(numbers))
        if self._touched:
            self._wake.set()

    def changed(self, intent: LiveIntent) -> None:
        """An intent has something to write; its execution has something to decide."""
        self._dirty[intent.code] = intent
        self._touched[intent.execution_id] = None
        self._wake.set()

    def alarm(
        self,
        execution_id: int,
        cause: str,
        *,
        leg: str = "",
        words: str = "",
        order: str = "",
        again: bool = False,
    ) -> None:
        """A person has to look at an execution: a cause of :mod:`execution.alarms`, and of what.

        ``leg`` is a leg's key, ``words`` the broker's, ``order`` a tag. Written with the next
        round, and said once for each cause and leg until :meth:`calm`: whoever sees the same again
        may say it again. ``again``: this is a new fact, told even if the one before was settled.
        """
        execution = self._executor.executions.get(execution_id)
        alarm = Alarm(cause, leg, words, order, again)
        if execution is not None and self.alarms.raise_on(execution, alarm):
            self.touch([execution])

    def calm(self, execution_id: int, cause: str, *, leg: str = "", fact: str) -> None:
        """What :meth:`alarm` told of is over, by this fact (in words): the alarm is cleared.

        Nothing happens where there is none; the same cause raises a new one afterwards.
        """
        execution = self._executor.executions.get(execution_id)
        if execution is not None and self.alarms.clear_on(execution, cause, leg, fact):
            self.touch([execution])

    def wake(self) -> None:
        """Write what is to be written, though no execution has changed."""
        self._wake.set()

    def touch_due(self) -> None:
        """Ask again for those whom time, a decision or a switch may have moved since the last tick.

        Not for everybody: 5,000 executions took 76 ms of every 250, and every order had to wait for
        that. One part in twenty is asked for anyhow, so that nothing is forgotten for long.
        """
        self.sending.unfence()
        executor = self._executor
        executor.quiet.hold(executor.line.is_busy)
        now, now_mono = executor.now(), clock.monotonic()
        for run_id in set(self._phases) - executor.runs.keys():
            del self._phases[run_id]
        for run in executor.runs.values():
            current = phase(run, now, self._blocked(run, now_mono))
            if self._phases.get(run.id) != current:
                self._phases[run.id] = current
                self.touch(executor.of_run(run.id))
        held = executor.executions
        due = (*self._agenda.due(now_mono), *self._next_of_sweep(now_mono))
        self.ask(number for number in due if number in held)
        if executor.line.is_due(now_mono):
            self._wake.set()

    def _next_of_sweep(self, now_mono: float) -> list[int]:
        share = min(1.0, (now_mono - self._swept_at) / SWEEP)
        self._swept_at = now_mono
        if not self._sweep:
            self._sweep = list(self._executor.executions)
        count = math.ceil(share * len(self._executor.executions))
        taken, self._sweep = self._sweep[:count], self._sweep[count:]
        return taken

    def _blocked(self, run: LiveRun, now_mono: float) -> str:
        executor = self._executor
        return executor.control.current.blocked(
            run.template_id, now_mono, executor.timing.control_age
        )

    # -- the loop ----------------------------------------------------------------------------
    async def loop(self) -> None:
        """Rounds for ever: at once when something happened, else every tick's touch."""
        while True:
            await self._wake.wait()
            await self._executor.quiet.over()
            self._wake.clear()
            await self.once(patient=True)
            if self._executor.line.has_news(sent=self.sending.has_sent):
                self._wake.set()
            await asyncio.sleep(PERIOD)

    async def once(self, *, patient: bool = False) -> None:
        """One round over everything touched; ``patient`` leaves for a moment what nobody waits for.

        Seen with 500 accounts on a busy machine: the answers of the bought legs took a second to be
        written, and the sold legs, whose fills had come meanwhile, left only after that.
        """
        self._executor.quiet.hold(self._executor.line.is_busy)
        left = self.sending.note_sent()
        self._dirty.update((intent.code, intent) for intent in left)
        self._executor.line.have_left(left)
        # After those to whom something has happened: what was begun is finished first.
        self._touched.update(dict.fromkeys(self._executor.line.begin()))
        touched, dirty = self._take()
        self.is_busy = len(touched) >= MANY
        try:
            await self._round(touched, dirty, patient=patient)
        except BaseException:
            # Nothing is assumed written: everything is tried again in the next round.
            self._touched = touched | self._touched
            self._dirty = dirty | self._dirty
            self._wake.set()
            raise
        finally:
            self.is_busy = False

    def _take(self) -> tuple[dict[int, None], dict[str, LiveIntent]]:
        """The part of what was noticed that this round decides and writes: who came first."""
        if len(self._touched) <= AT_ONCE:
            touched, self._touched = self._touched, {}
            dirty, self._dirty = self._dirty, {}
            return touched, dirty
        self._wake.set()
        touched = dict.fromkeys(itertools.islice(self._touched, AT_ONCE))
        for number in touched:
            del self._touched[number]
        dirty = {c: intent for c, intent in self._dirty.items() if intent.execution_id in touched}
        for code in dirty:
            del self._dirty[code]
        return touched, dirty

    def _put_off(self, dirty: dict[str, LiveIntent], moved: Collection[int]) -> None:
        """Take out of ``dirty`` what may wait for the next round."""
        waiting = {c: i for c, i in dirty.items() if i.execution_id not in moved}
        now = clock.monotonic()
        if not waiting:
            return
        if not self._put_off_at:
            self._put_off_at = now
            asyncio.get_running_loop().call_later(PATIENCE, self._wake.set)
        if now - self._put_off_at >= PATIENCE:
            self._put_off_at = 0.0
            return
        for code in waiting:
            del dirty[code]
        self._dirty = waiting | self._dirty

    async def _round(
        self, touched: dict[int, None], dirty: dict[str, LiveIntent], *, patient: bool
    ) -> None:
        executor = self._executor
        now, now_mono = executor.now(), clock.monotonic()
        batch = Batch()
        exits: list[tuple[LiveExecution, ExitOrder]] = []
        changes: list[tuple[LiveExecution, LiveIntent]] = []
        cancels: list[tuple[LiveExecution, LiveIntent]] = []
        moved: set[int] = set()
        for execution_id in touched:
            execution = executor.executions.get(execution_id)
            if execution is None:
                continue
            if not executor.owns(execution.shard):
                self._agenda.put(execution_id, now_mono + AGAIN)  # the fence may open again
                continue
            executor.line.look(execution)
            steps = next_steps(execution, self._situation(execution, now, now_mono))
            if steps.send and not executor.line.may_send(execution):
                steps.send.clear()
            for alarm in steps.alarms:
                self.alarms.raise_on(execution, alarm)
            told = self.alarms.take_cause(execution_id)
            moment = now_mono + AGAIN if steps else next_moment(execution, now_mono)
            self._agenda.put(execution_id, moment)
            if steps or told:
                moved.add(execution_id)
                self._collect(
                    execution,
                    steps,
                    told=told,
                    batch=batch,
                    dirty=dirty,
                    now=now,
                    now_mono=now_mono,
                )
                exits.extend((execution, order) for order in steps.exits)
                changes.extend((execution, intent) for intent in steps.change)
                cancels.extend((execution, intent) for intent in steps.cancel)
        if patient:
            self._put_off(dirty, moved)
        batch.results = list(dirty.values())
        self.alarms.take(batch)
        if batch:
            written = await self._write(batch, now)
            self._refused(written, now_mono)
            behind = _behind(batch)
            self._tell((i for i in batch.results if i.code not in behind), written)
            self._granted(batch, written, now)
            self._tell((i for i in batch.results if i.code in behind), written)
        self.closing.changes.open(changes)
        for execution, intent in cancels:
            self.closing.cancel(execution, intent)
        if exits:
            self.closing.open_exits(exits)

    async def _write(self, batch: Batch, now: dt.datetime) -> Written:
        executor = self._executor
        try:
            return await executor.db.run(
                write, batch, owner=executor.owner, tokens=dict(executor.tokens), now=now
            )
        except BaseException:
            self.alarms.give_back(batch)  # an alarm does not get lost with the database
            raise

    def _tell(self, intents: Iterable[LiveIntent], written: Written) -> None:
        """What is written now stands in the log, too."""
        for intent in intents:
            if intent.shard in written.shards:
                facts.told(self._executor.executions.get(intent.execution_id), intent)

    def _situation(self, execution: LiveExecution, now: dt.datetime, now_mono: float) -> Situation:
        run = execution.run
        return Situation(
            now_mono=now_mono,
            grace_over=now > run.grace_until,
            exit_due=now >= run.exit_at,
            session_over=run.closes_at is not None and now >= run.closes_at,
            entry_due=now >= run.entry_at,
            entries_blocked=self._blocked(run, now_mono),
            most_changes=get_adapter(execution.broker).capabilities.changes_per_order,
        )

    def _collect(
        self,
        execution: LiveExecution,
        steps: Steps,
        *,
        told: Alarm | None,
        batch: Batch,
        dirty: dict[str, LiveIntent],
        now: dt.datetime,
        now_mono: float,
    ) -> None:
        for intent, cause in steps.miss:
            intent.cause = cause
            outcome.finish(intent, lifecycle.MISSED, now, now_mono)
            dirty[intent.code] = intent
            self._touched[execution.id] = None
            self._wake.set()
        batch.sending.extend((i, make_tag(i.code, i.sends + 1)) for i in steps.send)
        if now_mono < self._refused_until.get(execution.id, 0.0):
            return
        if told is not None and not steps.cause:
            steps.cause, steps.message = told.cause, told.words
        if steps.status or told is not None:
            over = steps.status in ("CLOSED", "FAILED")
            pnl = execution.profit() if over else None
            batch.statuses.append(
                StatusChange(execution, steps.status, steps.cause, steps.message, pnl)
            )

    def _refused(self, written: Written, now_mono: float) -> None:
        """What the database will not take stays unwritten, and is not asked for in every round."""
        for one in written.refused:
            execution = self._executor.executions.get(one.execution_id)
            if execution is None:
                continue
            execution.alarms.add((UNWRITABLE, ""))
            execution.cause = UNWRITABLE
            if one.what == "status":
                self._refused_until[execution.id] = now_mono + REFUSED_AGAIN
            for intent in execution.intents:
                if intent.code == one.code and one.what == "sending":
                    intent.not_before_mono = now_mono + REFUSED_AGAIN

    def _granted(self, batch: Batch, written: Written, now: dt.datetime) -> None:
        for intent, tag in batch.sending:
            if intent.code in written.sending and intent.state == lifecycle.PLANNED:
                # Else an earlier send has turned out to be alive while this one was written down.
                intent.state = lifecycle.SENDING
                intent.sent_mono = 0.0
                intent.sends += 1
                intent.tag = tag
                intent.due_at = now
                self.sending.dispatch(intent)
        refused = {one.execution_id for one in written.refused if one.what == "status"}
        for change in batch.statuses:
            execution = change.execution
            if execution.id in refused:
                continue
            if execution.id not in written.statuses:
                # Ours but not granted: an earlier commit whose answer was lost has done it.
                self._executor.recovery.doubt(execution)
                continue
            execution.status = change.status or execution.status
            execution.cause = change.cause or execution.cause
            execution.message = change.message or execution.message
            if execution.status in lifecycle.TERMINAL:
                self._executor.forget(execution)
            else:
                self.touch([execution])

    async def flush(self) -> None:
        """Write what has come of the orders, and decide nothing more (before the executor ends)."""
        self._dirty.update((intent.code, intent) for intent in self.sending.note_sent())
        dirty, self._dirty = self._dirty, {}
        executor = self._executor
        if dirty:
            batch = Batch(results=list(dirty.values()))
            written = await executor.db.run(
                write,
                batch,
                owner=executor.owner,
                tokens=dict(executor.tokens),
                now=executor.now(),
            )
            self._tell(batch.results, written)


def _behind(batch: Batch) -> set[str]:
    """Results that are told after the sends that they made possible: a fact takes a moment, and the
    sold legs of a thousand accounts would wait for those of their bought ones.

    Not of what is sent again itself, which has another state by then, nor of what may be over.
    """
    sent = {intent.code for intent, _ in batch.sending}
    ids = {intent.execution_id for intent, _ in batch.sending}
    ids -= {change.execution.id for change in batch.statuses}
    return {i.code for i in batch.results if i.execution_id in ids and i.code not in sent}
