"""The facts of the trading day, one log line each, written by a dedicated thread.

A decision, an order, a send, an answer, a fill, an end, a status, an alarm: each is one JSON line
with the run, the execution and the order's tag, so that a day can be reconstructed from its log.
Failures are warnings, alarms are errors. Formatting a line takes 0.2 ms, so time-critical code only
notes a fact (4 µs); the thread writes noted facts, a few lines at a time, and none while an entry
is about to fire (:mod:`execution.engine.runtime.quiet_window`).

The database is the truth and the log is for people: facts that a killed process had noted but not
written are lost. That is a second's worth; after the entry of a thousand accounts half a minute's.
"""

from __future__ import annotations

import atexit
import datetime as dt
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog

from execution import lifecycle
from execution.price_changes import DONE, TAKEN, Change
from execution.state import LiveExecution, LiveIntent, LiveRun
from quantleap.core import clock

log = structlog.get_logger("execution.facts")
#: Seconds between two checks for noted facts.
PERIOD: Final = 0.1
#: Lines written in one go (a millisecond) and the pause after them, in seconds: orders need the
#: interpreter. The facts of four thousand orders are written within half a minute.
CHUNK: Final = 5
BREATH: Final = 0.01
#: Most facts kept: a log that cannot be written must not use up the memory.
MOST: Final = 200_000
INFO: Final = "info"
WARNING: Final = "warning"

Fact = tuple[str, str, dt.datetime, Mapping[str, Any]]


class FactLog:
    """Takes facts from any thread and writes them in the order in which they came."""

    def __init__(self) -> None:
        self._noted: deque[Fact] = deque()
        self._busy: set[Callable[[], bool]] = set()
        self._writing = threading.Lock()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._lost = 0

    def note(self, event: str, level: str = INFO, **fields: Any) -> None:
        """Note a fact with the current time. ``level``: info, warning or error."""
        if len(self._noted) >= MOST:
            self._lost += 1
            return
        self._noted.append((level, event, clock.now(), fields))
        if self._thread is None:
            self._start()

    def wait_while(self, busy: Callable[[], bool]) -> None:
        """Write nothing while ``busy()``."""
        self._busy.add(busy)

    def wait_no_longer(self, busy: Callable[[], bool]) -> None:
        """Forget :meth:`wait_while`."""
        self._busy.discard(busy)

    def flush(self) -> None:
        """Write all noted facts now, before the process ends."""
        with self._writing:
            while self._noted:
                self._write_one()

    # -- the thread --------------------------------------------------------------------------
    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="facts", daemon=True)
                self._thread.start()
                atexit.register(self.flush)

    def _run(self) -> None:
        while True:
            time.sleep(PERIOD)
            while self._noted and not any(busy() for busy in tuple(self._busy)):
                with self._writing:
                    for _ in range(min(CHUNK, len(self._noted))):
                        self._write_one()
                time.sleep(BREATH)

    def _write_one(self) -> None:
        level, event, at, fields = self._noted.popleft()
        getattr(log, level)(event, at=at.isoformat(), **fields)
        if self._lost and not self._noted:
            lost, self._lost = self._lost, 0
            log.error("facts_lost", count=lost)


FACTS: Final = FactLog()
note = FACTS.note


# -- the facts ---------------------------------------------------------------------------------
def decided(run: LiveRun) -> None:
    """The legs that all subscribers of a run trade, and the prices of the decision."""
    legs = [f"{leg.label} at {leg.reference_price} ({leg.basis})" for leg in run.resolved.values()]
    note("run_decided", run=run.public_id, entry_at=run.entry_at.isoformat(), legs=legs)


def ordered(execution: LiveExecution, intent: LiveIntent) -> None:
    """An order was decided and is in the database."""
    note(
        "order_decided",
        **_names(execution, intent),
        purpose=intent.purpose,
        reason=intent.reason,
        leg=intent.leg_key,
        symbol=intent.instrument.symbol,
        side=str(intent.side),
        quantity=intent.quantity,
        price=intent.price,
        due_at=intent.due_at.isoformat(),
    )


def sent(execution: LiveExecution | None, intent: LiveIntent, at: dt.datetime) -> None:
    """The first byte of an order has left."""
    late = (at - intent.due_at).total_seconds() * 1000
    note(
        "order_sent",
        **_names(execution, intent),
        send=intent.sends,
        sent_at=at.isoformat(),
        late_ms=round(late, 1),
    )


def progressed(execution: LiveExecution | None, intent: LiveIntent) -> None:
    """Everything about an order that is not logged yet: its answer, its fills, its end."""
    before, now = intent.logged, state_of(intent)
    if before == now:
        return
    intent.logged = now
    answered, filled, state, cause = before
    names = _names(execution, intent)
    words = {"state": intent.state, "cause": intent.cause, "message": intent.message}
    if intent.answered_at != answered:
        good = (
            intent.state not in (lifecycle.UNKNOWN, lifecycle.REJECTED, lifecycle.MISSED)
            and not intent.cause
        )
        note(
            "order_answered",
            INFO if good else WARNING,
            **names,
            broker_order_id=intent.broker_order_id,
            **words,
        )
    elif intent.state == lifecycle.UNKNOWN and state != lifecycle.UNKNOWN:
        note("order_unknown", WARNING, **names, **words)
    elif intent.cause and intent.cause != cause and not intent.is_final:
        note("order_waits", WARNING, **names, **words)
    if intent.filled_quantity != filled:
        note(
            "order_filled",
            **names,
            filled=intent.filled_quantity,
            of=intent.quantity,
            price=intent.average_price,
        )
    ended = intent.is_final and state != intent.state and intent.state != lifecycle.FILLED
    if ended and intent.answered_at == answered:
        # Exits are routinely cancelled to get a new price.
        ordinary = intent.cause == "NOT_FILLED" and intent.purpose != lifecycle.ENTRY
        note("order_ended", INFO if ordinary else WARNING, **names, **words)


def change_asked(execution: LiveExecution, intent: LiveIntent, change: Change) -> None:
    """A price change of a resting order was requested and is in the database."""
    note(
        "change_asked",
        **_names(execution, intent),
        number=len(intent.changes),
        before=change.before,
        price=change.price,
        source=change.source,
        age=change.age,
    )


def change_answered(execution: LiveExecution, intent: LiveIntent, change: Change) -> None:
    """The broker's answer to a change, or why it did not leave."""
    note(
        "change_answered",
        INFO if change.state in (TAKEN, DONE) else WARNING,
        **_names(execution, intent),
        price=change.price,
        state=change.state,
        cause=change.cause,
        message=change.message,
    )


def became(execution: LiveExecution, status: str, cause: str, message: str, pnl: object) -> None:
    """An execution has a new status: COMMITTED, OPEN, CLOSED, FAILED and so on."""
    failed = status in lifecycle.LOST
    note(
        "execution_status",
        WARNING if failed else INFO,
        run=execution.run.public_id,
        execution=execution.public_id,
        status=status,
        cause=cause,
        message=message,
        **({} if pnl is None else {"pnl": pnl}),
    )


def state_of(intent: LiveIntent) -> tuple[dt.datetime | None, int, str, str]:
    """What :func:`progressed` compares; a loaded intent starts with the state of its row."""
    return intent.answered_at, intent.filled_quantity, intent.state, intent.cause


def _names(execution: LiveExecution | None, intent: LiveIntent) -> dict[str, str]:
    if execution is None:
        return {"tag": intent.tag}
    return {"run": execution.run.public_id, "execution": execution.public_id, "tag": intent.tag}
