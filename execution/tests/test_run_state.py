"""A run said "Armed" long after its entry; now it says what became of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import get_args

import pytest
from django.urls import reverse

from execution.descriptions import NotPriced
from execution.run_state import WAYS_OUT, RunCounts, RunState, RunTimes, run_state

ENTRY = dt.datetime(2026, 9, 8, 3, 50, tzinfo=dt.UTC)
TIMES = RunTimes(ENTRY, ENTRY + dt.timedelta(seconds=30), ENTRY + dt.timedelta(hours=5))
BEFORE, AFTER, LATER = (ENTRY + dt.timedelta(seconds=s) for s in (-60, 5, 600))
OVERDUE = TIMES.exit_at + dt.timedelta(seconds=181)


def state(
    now: dt.datetime, counts: Mapping[str, int], causes: Mapping[str, int] | None = None
) -> RunState:
    counted = RunCounts(by_status=counts, causes=causes or {})
    return run_state("ARMED", "", TIMES, counted, now)


@pytest.mark.parametrize(
    ("now", "counts", "label", "tone"),
    [
        (BEFORE, {"ARMED": 8}, "Armed", "info"),
        (AFTER, {"ARMED": 8}, "Entering", "info"),
        (AFTER, {"COMMITTED": 3, "OPEN": 5}, "Entering", "info"),
        (AFTER, {"OPEN": 8}, "Entered", "good"),
        (AFTER, {"OPEN": 7, "FAILED": 1}, "Entered", "warn"),
        (AFTER, {"OPEN": 4, "FAILED": 4}, "Entered", "bad"),
        (AFTER, {"MISSED": 8}, "Missed", "bad"),
        (AFTER, {"MISSED": 4, "FAILED": 4}, "Failed", "bad"),
        (AFTER, {"WITHDRAWN": 8}, "Withdrawn", "warn"),
        (AFTER, {"WITHDRAWN": 7, "OPEN": 1}, "Entered", "good"),
        (AFTER, {"WITHDRAWN": 7, "MISSED": 1}, "Missed", "bad"),
        (AFTER, {}, "No subscribers", ""),
        (BEFORE, {}, "Armed", "info"),
        (LATER, {"EXITING": 2, "CLOSED": 6}, "Exiting", "info"),
        (LATER, {"CLOSED": 8}, "Closed", "good"),
        (LATER, {"ARMED": 8}, "Stuck", "bad"),
        (LATER, {"ARMED": 1, "OPEN": 7}, "Stuck", "bad"),
        (LATER, {"COMMITTED": 1, "OPEN": 7}, "Stuck", "bad"),
        (OVERDUE, {"OPEN": 1, "CLOSED": 7}, "Stuck", "bad"),
        (OVERDUE, {"CLOSED": 8}, "Closed", "good"),
    ],
    ids=str,
)
def test_what_became_of_a_run(
    now: dt.datetime, counts: dict[str, int], label: str, tone: str
) -> None:
    outcome = state(now, counts)
    assert (outcome.label, outcome.tone) == (label, tone)
    assert bool(outcome.alarm) == (tone == "bad")


def test_the_most_frequent_cause_is_the_reason() -> None:
    outcome = state(AFTER, {"MISSED": 2, "FAILED": 1}, {"MARGIN": 1, "NO_QUOTE": 2})
    assert outcome.cause == "NO_QUOTE"
    assert outcome.alarm == "3 of 3 subscribers did not enter."


def test_whoever_paused_is_neither_lost_nor_the_reason() -> None:
    counts = RunCounts(
        by_status={"WITHDRAWN": 7, "OPEN": 2, "FAILED": 1},
        causes={"MARGIN": 1},
        withdrawn={"PAUSED": 7},
    )
    outcome = run_state("ENTERED", "", TIMES, counts, AFTER)
    assert (outcome.cause, outcome.alarm) == ("MARGIN", "")


def test_a_run_that_was_withdrawn_says_why() -> None:
    counts = RunCounts(by_status={"WITHDRAWN": 8}, withdrawn={"KILL_SWITCH": 8})
    assert run_state("ARMED", "", TIMES, counts, AFTER).cause == "KILL_SWITCH"


def test_a_run_outside_the_session_is_missed_with_its_cause() -> None:
    outcome = run_state("MISSED", "OUTSIDE_SESSION", TIMES, RunCounts(subscribed=True), BEFORE)
    assert (outcome.label, outcome.tone, outcome.cause) == ("Missed", "bad", "OUTSIDE_SESSION")
    assert outcome.alarm


def test_a_missed_run_that_nobody_follows_needs_no_person() -> None:
    outcome = run_state("MISSED", "OUTSIDE_SESSION", TIMES, RunCounts(), BEFORE)
    assert (outcome.label, outcome.tone, outcome.alarm) == ("Missed, no subscribers", "", "")
    assert outcome.cause == "OUTSIDE_SESSION"


def test_an_unpriced_run_led_nowhere() -> None:
    """Seen: its link led to nothing, or to a list that nobody can change."""
    assert set(get_args(NotPriced)) <= set(WAYS_OUT)
    lists = ("admin:brokers_contractlistimport_changelist", "Contract lists")
    assert WAYS_OUT["CONTRACT_LIST"] == WAYS_OUT["NO_CONTRACT"] == lists
    for page, _ in WAYS_OUT.values():
        assert reverse(page)
