"""The runs, executions and orders that this executor holds. The database is the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from execution.engine.memory.actors import Actors
from execution.state import LiveExecution, LiveIntent, LiveRun


class TradingDay:
    """What is held, with indexes for lookups. Used in the loop's thread only."""

    def __init__(self, actors: Actors) -> None:
        self.actors = actors
        self.runs: dict[int, LiveRun] = {}
        self.executions: dict[int, LiveExecution] = {}
        self.unfinished: dict[str, LiveIntent] = {}
        #: Executions and intents whose commit is under way: the recovery must skip them.
        self.entering: set[int] = set()
        self.inserting: set[str] = set()
        self._by_run: dict[int, dict[int, LiveExecution]] = {}
        self._listeners: list[Callable[[int], None]] = []

    def when_forgotten(self, listener: Callable[[int], None]) -> None:
        """Call ``listener`` with the id of every execution that is dropped."""
        self._listeners.append(listener)

    def forget(self, execution: LiveExecution) -> None:
        """Drop an execution that is over or now belongs to another executor."""
        self.executions.pop(execution.id, None)
        for listener in self._listeners:
            listener(execution.id)
        self.actors.of(execution.real, execution.account_id).drop(execution)
        of_run = self._by_run.get(execution.run.id, {})
        of_run.pop(execution.id, None)
        if not of_run:
            self._by_run.pop(execution.run.id, None)
        for intent in execution.intents:
            self.unfinished.pop(intent.code, None)

    def adopt(self, executions: Iterable[LiveExecution]) -> list[LiveExecution]:
        """Hold executions that were loaded or committed; return those that were new.

        Held executions are never overwritten, and none is adopted while its commit is under way,
        because its orders leave by the objects of the commit. Observed: a load in between, and 4 of
        6 orders twice at the broker.
        """
        adopted = []
        for execution in executions:
            if execution.id in self.executions or execution.id in self.entering:
                continue
            adopted.append(execution)
            self.executions[execution.id] = execution
            actor = self.actors.of(execution.real, execution.account_id)
            actor.executions[execution.id] = execution
            self._by_run.setdefault(execution.run.id, {})[execution.id] = execution
            for intent in execution.intents:
                self.hold(intent)
        return adopted

    def hold(self, intent: LiveIntent) -> None:
        """Hold one intent of a held execution; index it while it is unfinished."""
        execution = self.executions[intent.execution_id]
        self.actors.of(execution.real, execution.account_id).hold(intent)
        if not intent.is_final:
            self.unfinished[intent.code] = intent

    def of_account(self, account_id: int) -> list[LiveExecution]:
        """The held executions of one of our account rows."""
        actor = self.actors.at(account_id)
        held = [] if actor is None else list(actor.executions.values())
        return [execution for execution in held if execution.account_id == account_id]

    def of_run(self, run_id: int) -> list[LiveExecution]:
        """The held executions of one run."""
        return list(self._by_run.get(run_id, {}).values())
