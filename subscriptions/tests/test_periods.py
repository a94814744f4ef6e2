"""Billing periods from the anchor, in both directions."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subscriptions.periods import (
    add_months,
    anchor_after_pause,
    next_billing_date,
    period,
    period_on,
)

anchors = st.dates(dt.date(2020, 1, 1), dt.date(2040, 12, 31))
numbers = st.integers(0, 240)


def test_the_end_of_january() -> None:
    anchor = dt.date(2026, 1, 31)
    assert [add_months(anchor, n) for n in range(5)] == [
        dt.date(2026, 1, 31),
        dt.date(2026, 2, 28),
        dt.date(2026, 3, 31),
        dt.date(2026, 4, 30),
        dt.date(2026, 5, 31),
    ]
    assert add_months(dt.date(2028, 1, 31), 1) == dt.date(2028, 2, 29)


def test_the_example_of_the_contract() -> None:
    anchor = dt.date(2026, 11, 21)
    assert next_billing_date(anchor, anchor) == dt.date(2026, 12, 21)


@given(anchors, numbers)
def test_periods_follow_each_other_without_gap_or_overlap(anchor: dt.date, number: int) -> None:
    this, after = period(anchor, number), period(anchor, number + 1)
    assert this.start < this.end == after.start
    assert 28 <= (this.end - this.start).days <= 31


@given(anchors, st.integers(0, 7000))
def test_every_day_is_in_exactly_one_period(anchor: dt.date, days: int) -> None:
    day = anchor + dt.timedelta(days=days)
    current = period_on(anchor, day)
    assert current.start <= day < current.end
    assert current == period(anchor, current.number)
    neighbours = [period(anchor, current.number + 1)]
    if current.number:
        neighbours.append(period(anchor, current.number - 1))
    assert not any(other.start <= day < other.end for other in neighbours)


@given(anchors, numbers)
def test_a_start_is_on_the_anchors_day_or_the_months_last(anchor: dt.date, number: int) -> None:
    start = period(anchor, number).start
    if start.day != anchor.day:
        assert (start + dt.timedelta(days=1)).day == 1
        assert start.day < anchor.day


def test_no_period_before_the_anchor() -> None:
    with pytest.raises(ValueError, match="before the anchor"):
        period_on(dt.date(2026, 1, 2), dt.date(2026, 1, 1))
    with pytest.raises(ValueError, match="no period"):
        period(dt.date(2026, 1, 2), -1)


def test_resuming_inside_the_paid_period_keeps_the_anchor() -> None:
    anchor = dt.date(2026, 1, 10)
    assert anchor_after_pause(anchor, dt.date(2026, 1, 20), dt.date(2026, 2, 9)) == anchor


def test_resuming_after_it_begins_again() -> None:
    anchor, resumed_on = dt.date(2026, 1, 10), dt.date(2026, 2, 10)
    assert anchor_after_pause(anchor, dt.date(2026, 1, 20), resumed_on) == resumed_on


@given(anchors, st.integers(0, 900), st.integers(0, 900))
def test_no_period_begins_during_a_pause(anchor: dt.date, active: int, away: int) -> None:
    """Whatever the pause: no period of the anchor in force starts in (pause, resume)."""
    paused = anchor + dt.timedelta(days=active)
    resumed = paused + dt.timedelta(days=away)
    fresh = anchor_after_pause(anchor, paused, resumed)
    assert period_on(fresh, resumed).start <= paused or fresh == resumed
