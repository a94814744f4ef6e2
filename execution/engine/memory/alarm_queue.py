"""Alarms of this executor that wait to be written with its next batch.

An alarm is raised once: an execution remembers what was raised about it until the fact is over, so
a check may raise the same alarm in every round.
"""

from __future__ import annotations

from collections.abc import Iterable

from execution.alarms import TOLD, Alarm, Key
from execution.engine.database.alarm_writer import About, Cleared, Raised
from execution.engine.database.writer import Batch
from execution.state import LiveExecution


class AlarmQueue:
    """Alarms to raise and to clear, and those that are already raised."""

    def __init__(self) -> None:
        self._raised: dict[tuple[About, Key], Raised] = {}
        self._cleared: dict[tuple[About, Key], Cleared] = {}
        #: Alarms whose cause becomes the execution's, until its row is written.
        self._causes: dict[int, Alarm] = {}
        # raised about runs and accounts; an execution keeps its own
        self._said: set[tuple[About, Key]] = set()

    def __bool__(self) -> bool:
        return bool(self._raised or self._cleared)

    # -- raising and clearing --------------------------------------------------------------------
    def raise_on(self, execution: LiveExecution, alarm: Alarm) -> bool:
        """Raise an alarm about an execution; return whether it is new (or raised ``again``)."""
        if alarm.key in execution.alarms and not alarm.again:
            return False
        execution.alarms.add(alarm.key)
        if alarm.cause in TOLD:
            self._causes.setdefault(execution.id, alarm)
        self._note(About.of(execution), alarm)
        return True

    def clear_on(self, execution: LiveExecution, cause: str, leg: str, fact: str) -> bool:
        """Clear an alarm of an execution, by ``fact`` (text); return whether one was raised."""
        if (cause, leg) not in execution.alarms:
            return False
        execution.alarms.discard((cause, leg))
        self._end(About.of(execution), (cause, leg), fact)
        return True

    def raise_about(self, about: About, alarm: Alarm) -> bool:
        """Raise an alarm about a run or an account; return whether it is new."""
        if (about, alarm.key) in self._said:
            return False
        self._said.add((about, alarm.key))
        self._note(about, alarm)
        return True

    def clear_about(self, about: About, cause: str, fact: str) -> bool:
        """Clear an alarm about a run or an account; return whether one was raised."""
        if (about, (cause, "")) not in self._said:
            return False
        self._said.discard((about, (cause, "")))
        self._end(about, (cause, ""), fact)
        return True

    def said_about(self) -> frozenset[tuple[About, Key]]:
        """Keys of the raised alarms about runs and accounts."""
        return frozenset(self._said)

    def adopt(self, raised: Iterable[tuple[About, Key]]) -> None:
        """Take over what others have raised about runs and accounts that are ours now."""
        self._said.update(raised)

    def lose(self, shard: int) -> None:
        """Drop the alarms of a lost shard's accounts: they belong to its new owner."""
        for keys in (self._said, self._raised, self._cleared):
            for key in [key for key in keys if key[0].shard == shard]:
                keys.discard(key) if isinstance(keys, set) else keys.pop(key)

    def _note(self, about: About, alarm: Alarm) -> None:
        self._raised[about, alarm.key] = Raised(about, alarm)

    def _end(self, about: About, key: Key, fact: str) -> None:
        # If the alarm ends before it was written, neither its start nor its end is written.
        if self._raised.pop((about, key), None) is None:
            self._cleared[about, key] = Cleared(about, *key, fact)

    # -- writing ---------------------------------------------------------------------------------
    def take_cause(self, execution_id: int) -> Alarm | None:
        """The alarm whose cause the execution's row does not have yet; None: there is none."""
        return self._causes.pop(execution_id, None)

    def take(self, batch: Batch) -> None:
        """Move everything to be written into ``batch``."""
        batch.raised += self._raised.values()
        batch.cleared += self._cleared.values()
        self._raised, self._cleared = {}, {}

    def give_back(self, batch: Batch) -> None:
        """Take back an unwritten ``batch``; what was raised or cleared since takes precedence."""
        self._raised = {(r.about, r.alarm.key): r for r in batch.raised} | self._raised
        self._cleared = {(c.about, (c.cause, c.leg)): c for c in batch.cleared} | self._cleared
