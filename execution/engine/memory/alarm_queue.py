"""What waits to be told: alarms of this executor until they are written with its next batch.

Said once: an execution remembers what was raised about it until its fact is over, so that whoever
finds the same in every round may say so in every round.
"""

from __future__ import annotations

from collections.abc import Iterable

from execution.alarms import TOLD, Alarm, Key
from execution.engine.database.alarm_writer import About, Cleared, Raised
from execution.engine.database.writer import Batch
from execution.state import LiveExecution


class AlarmQueue:
    """Alarms to be raised and to be cleared, and what of both is already said."""

    def __init__(self) -> None:
        self._raised: dict[tuple[About, Key], Raised] = {}
        self._cleared: dict[tuple[About, Key], Cleared] = {}
        #: Alarms whose cause becomes that of the execution, until its row says so.
        self._causes: dict[int, Alarm] = {}
        # of runs and accounts; an execution knows its own
        self._said: set[tuple[About, Key]] = set()

    def __bool__(self) -> bool:
        return bool(self._raised or self._cleared)

    # -- saying ----------------------------------------------------------------------------------
    def raise_on(self, execution: LiveExecution, alarm: Alarm) -> bool:
        """An alarm about an execution; whether it is new (or told ``again``)."""
        if alarm.key in execution.alarms and not alarm.again:
            return False
        execution.alarms.add(alarm.key)
        if alarm.cause in TOLD:
            self._causes.setdefault(execution.id, alarm)
        self._note(About.of(execution), alarm)
        return True

    def clear_on(self, execution: LiveExecution, cause: str, leg: str, fact: str) -> bool:
        """What an alarm of an execution told of is over; whether one was raised."""
        if (cause, leg) not in execution.alarms:
            return False
        execution.alarms.discard((cause, leg))
        self._end(About.of(execution), (cause, leg), fact)
        return True

    def raise_about(self, about: About, alarm: Alarm) -> bool:
        """An alarm about a run or an account; whether it is new."""
        if (about, alarm.key) in self._said:
            return False
        self._said.add((about, alarm.key))
        self._note(about, alarm)
        return True

    def clear_about(self, about: About, cause: str, fact: str) -> bool:
        """What an alarm about a run or an account told of is over; whether one was raised."""
        if (about, (cause, "")) not in self._said:
            return False
        self._said.discard((about, (cause, "")))
        self._end(about, (cause, ""), fact)
        return True

    def said_about(self) -> frozenset[tuple[About, Key]]:
        """What is raised about runs and accounts."""
        return frozenset(self._said)

    def adopt(self, said: Iterable[tuple[About, Key]]) -> None:
        """What others have raised about runs and accounts that are ours now."""
        self._said.update(said)

    def lose(self, shard: int) -> None:
        """A shard is somebody else's: so are the alarms of its accounts."""
        for keys in (self._said, self._raised, self._cleared):
            for key in [key for key in keys if key[0].shard == shard]:
                keys.discard(key) if isinstance(keys, set) else keys.pop(key)

    def _note(self, about: About, alarm: Alarm) -> None:
        self._raised[about, alarm.key] = Raised(about, alarm)

    def _end(self, about: About, key: Key, fact: str) -> None:
        # An end that comes before its beginning was written: nobody has to be told of either.
        if self._raised.pop((about, key), None) is None:
            self._cleared[about, key] = Cleared(about, *key, fact)

    # -- writing ---------------------------------------------------------------------------------
    def take_cause(self, execution_id: int) -> Alarm | None:
        """The alarm whose cause the execution's row does not say yet."""
        return self._causes.pop(execution_id, None)

    def take(self, batch: Batch) -> None:
        """Everything that is to be written goes into ``batch``."""
        batch.raised += self._raised.values()
        batch.cleared += self._cleared.values()
        self._raised, self._cleared = {}, {}

    def give_back(self, batch: Batch) -> None:
        """``batch`` was not written: what is said by now stands before what was in it."""
        self._raised = {(r.about, r.alarm.key): r for r in batch.raised} | self._raised
        self._cleared = {(c.about, (c.cause, c.leg)): c for c in batch.cleared} | self._cleared
