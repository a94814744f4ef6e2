"""Random trading days of one account against a toy broker: the rules hold in every one.

``make stories STORIES=50000 SEED=7`` plays others. A story that breaks prints its seed and course.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from brokers.base import BookState, OrderReport
from execution import duplicates, exit_limits, lifecycle, send_gate, withdrawals, witnesses
from execution import next_steps as next_steps_module
from execution.duplicates import Found
from execution.exit_limits import Grant, Tracked, Witnesses
from execution.state import LiveExecution, LiveIntent
from execution.steps import Situation, Steps
from execution.tags import MAX_SENDS
from execution.tests import toyengine
from execution.tests.judging import Broken
from execution.tests.plantedrules import an_unknown_change_is_done
from execution.tests.stories import play

SEED, STORIES = int(os.environ.get("SEED") or 1), int(os.environ.get("STORIES") or 500)
WITHIN = 500


def test_every_story_ends_flat_or_named() -> None:
    """No story ends with a position turned over."""
    play_all(STORIES, SEED)


def play_all(stories: int, seed: int = 1) -> None:
    for number in range(seed, seed + stories):
        play(number)


def test_a_seed_tells_the_same_story() -> None:
    from execution.tests.stories import Story

    tellings = []
    for _ in range(2):
        story = Story(SEED)
        story.play()
        tellings.append((story.told, [i.state for e in story.engine.executions for i in e.intents]))
    assert tellings[0] == tellings[1]


# -- what was seen, planted back -------------------------------------------------------------------
Plant = Callable[[pytest.MonkeyPatch], None]


def sent_again_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """c1: an exit that provably never left was sent again, and no gate asked anybody."""

    def tend(
        execution: LiveExecution,
        intent: LiveIntent,
        situation: Situation,
        steps: Steps,
    ) -> None:
        if intent.state != lifecycle.PLANNED:
            original(execution, intent, situation, steps)
        elif intent.quantity > -intent.side.sign * execution.open_quantity(intent.leg_key):
            steps.miss.append((intent, "NOT_NEEDED"))
        elif intent.sends >= MAX_SENDS:
            steps.miss.append((intent, intent.cause or "BROKER_DOWN"))
        elif intent.not_before_mono <= situation.now_mono:
            steps.send.append(intent)

    original = next_steps_module._tend_exit
    monkeypatch.setattr(next_steps_module, "_tend_exit", tend)
    monkeypatch.setattr(toyengine, "why_not_leave", lambda *_: "")


def a_profit_of_our_own_fills(monkeypatch: pytest.MonkeyPatch) -> None:
    """c9: what somebody else closed counted as never sold."""
    monkeypatch.setattr(LiveExecution, "profit", LiveExecution.realised_pnl)


def an_alarm_that_is_erased(monkeypatch: pytest.MonkeyPatch) -> None:
    """c9: the next snapshot wrote over "closed outside"."""

    def erased(execution: LiveExecution, gone: dict[str, int]) -> None:
        execution.closed_outside, execution.cause = dict(gone), ""

    class Forgets(set[str]):
        def add(self, cause: str) -> None:
            if cause:
                super().add(cause)

    monkeypatch.setattr(toyengine, "note_outside", erased)
    monkeypatch.setattr(toyengine, "set", Forgets, raising=False)


def entries_are_resolved_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """c10: no leg leaves before every entry is final."""

    def next_steps(execution: LiveExecution, situation: Situation) -> Steps:
        entries = list(execution.of(lifecycle.ENTRY))
        if execution.status != "COMMITTED" or all(intent.is_final for intent in entries):
            return original(execution, situation)
        steps = Steps()
        next_steps_module._enter(
            execution, situation, entries, withdrawals.first_failure(entries), steps
        )
        return steps

    original = next_steps_module.next_steps
    monkeypatch.setattr(toyengine, "next_steps", next_steps)


def a_decided_leg_enters(monkeypatch: pytest.MonkeyPatch) -> None:
    """c10: after a short's stop was decided its planned entry was still sent."""
    for module in (next_steps_module, send_gate, withdrawals):
        monkeypatch.setattr(module, "legs_not_entered", lambda _: ())


def whatever_is_under_way_explains_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """c11: orders under way explained a difference of the other sign, too."""

    def share(legs: list[Tracked], said: Witnesses) -> dict[int, Grant | None]:
        under_way = sum(leg.buying + leg.selling for leg in legs)
        ours = sum(leg.quantity for leg in legs)
        if said.positions is None or abs(said.positions - ours) > under_way:
            return original(legs, said)
        return {leg.key: Grant(abs(leg.quantity), cleared=bool(said.settled)) for leg in legs}

    original = exit_limits.share
    monkeypatch.setattr(witnesses, "share", share)


def the_newest_send_alone_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """d4: a refused second send hid the first one, which was alive."""

    def find(intent: LiveIntent, reports: list[tuple[int, OrderReport]]) -> Found:
        current = [report for send, report in reports if send == intent.sends]
        alive = [r for _, r in reports if r.state is not BookState.REJECTED or r.filled_quantity]
        return Found(next(iter(current or alive), None))

    monkeypatch.setattr(duplicates, "find", find)


def a_queue_that_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """d8: slices left after a margin refusal, and after EXIT_NOW."""
    monkeypatch.setattr(toyengine, "why_not_enter", lambda *_: "")


def a_change_that_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """c1, for changes: an exit is given a better price after the customer has closed by hand."""

    def grants(*args: Any, without: Any = (), **more: Any) -> Any:
        granted = original(*args, without=without, **more)
        if not any(without):
            return granted
        return {leg: Grant(1_000_000) for leg in granted}

    original = witnesses.grants
    monkeypatch.setattr(toyengine, "grants", grants)


PLANTED: dict[str, tuple[Plant, str]] = {
    "a4b": (an_unknown_change_is_done, "exits of|final"),
    "a4b_witness": (a_change_that_asks_nobody, "exits of"),
    "c1": (sent_again_as_it_was, "exits of"),
    "c9_profit": (a_profit_of_our_own_fills, "a profit of"),
    "c9_alarm": (an_alarm_that_is_erased, "nobody was told"),
    "c10": (entries_are_resolved_first, "never left|never over|nobody was told"),
    "c10_entry": (a_decided_leg_enters, "after its leg's exit was decided"),
    "c11": (whatever_is_under_way_explains_it, "exits of|never left"),
    "d4": (the_newest_send_alone_counts, "is open|never left"),
    "d8": (a_queue_that_asks_nobody, "an entry left"),
}


@pytest.mark.parametrize("row", sorted(PLANTED))
def test_what_was_seen_is_found_when_it_is_planted_back(
    row: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant, message = PLANTED[row]
    plant(monkeypatch)
    with pytest.raises(Broken, match=message):
        play_all(WITHIN)


def test_a_control_that_plants_nothing_is_not_found() -> None:
    play_all(50)
