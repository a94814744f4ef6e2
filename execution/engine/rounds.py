"""One round: compute the next steps, write them, act on what the database granted.

Everything runs in the executor's loop thread except the writing itself.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import math
from collections.abc import Collection, Iterable
from typing import Final

import structlog

from brokers.registry import get_adapter
from execution import lifecycle, transitions
from execution.agenda import Agenda, Phase, next_moment, phase
from execution.alarms import UNWRITABLE, Alarm
from execution.engine.database.refused_rows import REFUSED_AGAIN
from execution.engine.database.writer import Batch, Written, write
from execution.engine.entries.entry_queue import EntryQueue
from execution.engine.exits.change_requests import ChangeRequests
from execution.engine.exits.exit_orders import ExitOrders
from execution.engine.memory.doubts import Doubts
from execution.engine.memory.ownership import Ownership
from execution.engine.memory.trading_day import TradingDay
from execution.engine.memory.work_list import WorkList
from execution.engine.orders.cancels import Cancels
from execution.engine.orders.sender import OrderSender
from execution.engine.runtime import facts
from execution.engine.runtime.database_pool import DatabasePool
from execution.engine.runtime.kill_switch_watch import KillSwitchWatch
from execution.engine.runtime.quiet_window import QuietWindow
from execution.next_steps import next_steps
from execution.state import LiveExecution, LiveIntent, LiveRun
from execution.steps import ExitOrder, Situation, StatusChange, Steps
from execution.tags import make_tag
from quantleap.core import clock

log = structlog.get_logger(__name__)
PERIOD: Final = 0.02
#: An execution with steps to do is evaluated again after this many seconds in any case.
AGAIN: Final = 0.25
#: Every execution is evaluated at least this often, in seconds, in case a moment was missed.
SWEEP: Final = 5.0
#: An answer that leads to no step is written within this many seconds: if the fill that does lead
#: to one follows closely, both are written in one transaction.
PATIENCE: Final = 0.2
#: A round of at least this many executions delays the log, to have the interpreter to itself: a log
#: line takes a tenth of a millisecond, and an account with four legs has eight.
MANY: Final = 50
#: Most executions per round: some ten milliseconds of deciding, and a transaction for which the
#: first of them does not wait long.
AT_ONCE: Final = 1000


class Rounds:
    """Takes the work list, decides next steps, and writes and executes them in batches."""

    def __init__(
        self,
        *,
        day: TradingDay,
        ownership: Ownership,
        db: DatabasePool,
        quiet: QuietWindow,
        control: KillSwitchWatch,
        control_age: float,
        queue: EntryQueue,
        sender: OrderSender,
        cancels: Cancels,
        exits: ExitOrders,
        changes: ChangeRequests,
        work: WorkList,
        doubts: Doubts,
    ) -> None:
        """``control_age``: seconds for which a reading of the kill switches is valid."""
        self._day = day
        self._ownership = ownership
        self._db = db
        self._quiet = quiet
        self._control = control
        self._control_age = control_age
        self._queue = queue
        self._sender = sender
        self._cancels = cancels
        self._exits = exits
        self._changes = changes
        self._work = work
        self._doubts = doubts
        self._agenda = Agenda()
        self._phases: dict[int, Phase] = {}
        self._sweep: list[int] = []
        self._swept_at = 0.0
        self._put_off_at = 0.0
        #: Whether a round for many is under way (any thread may ask).
        self.is_busy = False
        self._refused_until: dict[int, float] = {}

    def schedule_due(self) -> None:
        """Schedule executions that time, a decision or a switch may affect since the last tick.

        Not all of them: 5,000 executions took 76 ms of every 250, and every order had to wait for
        that. One in twenty is scheduled in any case, so that none is missed for long.
        """
        self._sender.unfence()
        self._quiet.hold(self._queue.is_busy)
        now, now_mono = clock.now(), clock.monotonic()
        for run_id in set(self._phases) - self._day.runs.keys():
            del self._phases[run_id]
        for run in self._day.runs.values():
            current = phase(run, now, self._blocked(run, now_mono))
            if self._phases.get(run.id) != current:
                self._phases[run.id] = current
                self._work.schedule(self._day.of_run(run.id))
        held = self._day.executions
        due = (*self._agenda.due(now_mono), *self._next_of_sweep(now_mono))
        self._work.schedule_ids(number for number in due if number in held)
        if self._queue.is_due(now_mono):
            self._work.wake()

    def _next_of_sweep(self, now_mono: float) -> list[int]:
        share = min(1.0, (now_mono - self._swept_at) / SWEEP)
        self._swept_at = now_mono
        if not self._sweep:
            self._sweep = list(self._day.executions)
        count = math.ceil(share * len(self._day.executions))
        taken, self._sweep = self._sweep[:count], self._sweep[count:]
        return taken

    def _blocked(self, run: LiveRun, now_mono: float) -> str:
        return self._control.current.blocked(run.template_id, now_mono, self._control_age)

    # -- the loop ----------------------------------------------------------------------------
    async def loop(self) -> None:
        """Run rounds for ever: at once when something happened, else when a tick schedules one."""
        while True:
            await self._work.wait()
            await self._quiet.over()
            self._work.silence()
            await self.once(patient=True)
            if self._queue.has_news(sent=self._sender.has_sent):
                self._work.wake()
            await asyncio.sleep(PERIOD)

    async def once(self, *, patient: bool = False) -> None:
        """Run one round; ``patient`` delays writes that no next step depends on.

        Observed with 500 accounts on a busy machine: the answers of the bought legs took a second
        to be written, and the sold legs, whose fills had come meanwhile, left only after that.
        """
        self._quiet.hold(self._queue.is_busy)
        left = self._sender.note_sent()
        self._work.add_dirty(left)
        self._queue.have_left(left)
        # Behind executions that are already scheduled: started entries are finished first.
        self._work.scheduled.update(dict.fromkeys(self._queue.begin()))
        scheduled, dirty = self._work.take(AT_ONCE)
        self.is_busy = len(scheduled) >= MANY
        try:
            await self._round(scheduled, dirty, patient=patient)
        except BaseException:
            self._work.give_back(scheduled, dirty)
            raise
        finally:
            self.is_busy = False

    def _put_off(self, dirty: dict[str, LiveIntent], moved: Collection[int]) -> None:
        """Remove from ``dirty`` what may wait for a later round."""
        waiting = {c: i for c, i in dirty.items() if i.execution_id not in moved}
        now = clock.monotonic()
        if not waiting:
            return
        if not self._put_off_at:
            self._put_off_at = now
            asyncio.get_running_loop().call_later(PATIENCE, self._work.wake)
        if now - self._put_off_at >= PATIENCE:
            self._put_off_at = 0.0
            return
        for code in waiting:
            del dirty[code]
        self._work.put_off(waiting)

    async def _round(
        self, scheduled: dict[int, None], dirty: dict[str, LiveIntent], *, patient: bool
    ) -> None:
        now, now_mono = clock.now(), clock.monotonic()
        batch = Batch()
        exits: list[tuple[LiveExecution, ExitOrder]] = []
        changes: list[tuple[LiveExecution, LiveIntent]] = []
        cancels: list[tuple[LiveExecution, LiveIntent]] = []
        moved: set[int] = set()
        for execution_id in scheduled:
            execution = self._day.executions.get(execution_id)
            if execution is None:
                continue
            if not self._ownership.owns(execution.shard):
                self._agenda.put(execution_id, now_mono + AGAIN)  # the fence may open again
                continue
            self._queue.look(execution)
            steps = next_steps(execution, self._situation(execution, now, now_mono))
            if steps.send and not self._queue.may_start(execution):
                steps.send.clear()
            for alarm in steps.alarms:
                self._work.alarms.raise_on(execution, alarm)
            cause_alarm = self._work.alarms.take_cause(execution_id)
            moment = now_mono + AGAIN if steps else next_moment(execution, now_mono)
            self._agenda.put(execution_id, moment)
            if steps or cause_alarm:
                moved.add(execution_id)
                self._collect(
                    execution,
                    steps,
                    cause_alarm=cause_alarm,
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
        self._work.alarms.take(batch)
        if batch:
            written = await self._write(batch, now)
            self._refused(written, now_mono)
            behind = _behind(batch)
            self._log_written((i for i in batch.results if i.code not in behind), written)
            self._granted(batch, written, now)
            self._log_written((i for i in batch.results if i.code in behind), written)
        self._changes.open(changes)
        for execution, intent in cancels:
            self._cancels.begin(execution, intent)
        if exits:
            self._exits.open_exits(exits)

    async def _write(self, batch: Batch, now: dt.datetime) -> Written:
        try:
            return await self._db.run(
                write,
                batch,
                owner=self._ownership.owner,
                tokens=dict(self._ownership.tokens),
                now=now,
            )
        except BaseException:
            self._work.alarms.give_back(batch)  # an alarm must not be lost with the connection
            raise

    def _log_written(self, intents: Iterable[LiveIntent], written: Written) -> None:
        """Log what has now been written."""
        for intent in intents:
            if intent.shard in written.shards:
                facts.progressed(self._day.executions.get(intent.execution_id), intent)

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
        cause_alarm: Alarm | None,
        batch: Batch,
        dirty: dict[str, LiveIntent],
        now: dt.datetime,
        now_mono: float,
    ) -> None:
        for intent, cause in steps.miss:
            intent.cause = cause
            transitions.finish(intent, lifecycle.MISSED, now, now_mono)
            dirty[intent.code] = intent
            self._work.schedule_ids([execution.id])
        batch.sending.extend((i, make_tag(i.code, i.sends + 1)) for i in steps.send)
        if now_mono < self._refused_until.get(execution.id, 0.0):
            return
        if cause_alarm is not None and not steps.cause:
            steps.cause, steps.message = cause_alarm.cause, cause_alarm.words
        if steps.status or cause_alarm is not None:
            over = steps.status in (lifecycle.CLOSED, lifecycle.FAILED)
            pnl = execution.profit() if over else None
            batch.statuses.append(
                StatusChange(execution, steps.status, steps.cause, steps.message, pnl)
            )

    def _refused(self, written: Written, now_mono: float) -> None:
        """Note rows that the database refused: they stay unwritten and are retried more slowly."""
        for refusal in written.refused:
            execution = self._day.executions.get(refusal.execution_id)
            if execution is None:
                continue
            execution.alarms.add((UNWRITABLE, ""))
            execution.cause = UNWRITABLE
            if refusal.what == "status":
                self._refused_until[execution.id] = now_mono + REFUSED_AGAIN
            for intent in execution.intents:
                if intent.code == refusal.code and refusal.what == "sending":
                    intent.not_before_mono = now_mono + REFUSED_AGAIN

    def _granted(self, batch: Batch, written: Written, now: dt.datetime) -> None:
        for intent, tag in batch.sending:
            if intent.code in written.sending and intent.state == lifecycle.PLANNED:
                # Otherwise an earlier send was found alive while this one was being written.
                intent.state = lifecycle.SENDING
                intent.sent_mono = 0.0
                intent.sends += 1
                intent.tag = tag
                intent.due_at = now
                self._sender.dispatch(intent)
        refused = {refusal.execution_id for refusal in written.refused if refusal.what == "status"}
        for change in batch.statuses:
            execution = change.execution
            if execution.id in refused:
                continue
            if execution.id not in written.statuses:
                # Ours but not granted: an earlier commit whose answer was lost has changed it.
                self._doubts.doubt(execution)
                continue
            execution.status = change.status or execution.status
            execution.cause = change.cause or execution.cause
            execution.message = change.message or execution.message
            if execution.status in lifecycle.TERMINAL:
                self._day.forget(execution)
            else:
                self._work.schedule([execution])

    async def flush(self) -> None:
        """Write the results of orders without deciding next steps (before the executor ends)."""
        self._work.add_dirty(self._sender.note_sent())
        dirty = self._work.take_dirty()
        if dirty:
            batch = Batch(results=list(dirty.values()))
            written = await self._db.run(
                write,
                batch,
                owner=self._ownership.owner,
                tokens=dict(self._ownership.tokens),
                now=clock.now(),
            )
            self._log_written(batch.results, written)


def _behind(batch: Batch) -> set[str]:
    """Codes of results to log after the sends that they made possible: logging takes a moment, and
    the sold legs of a thousand accounts would wait for it.

    Not those of intents that are sent again, which have another state by then, nor of executions
    that may be over.
    """
    sent = {intent.code for intent, _ in batch.sending}
    ids = {intent.execution_id for intent, _ in batch.sending}
    ids -= {change.execution.id for change in batch.statuses}
    return {i.code for i in batch.results if i.execution_id in ids and i.code not in sent}
