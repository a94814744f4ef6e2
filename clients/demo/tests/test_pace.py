"""Ten orders a second, looked at where they arrive: never cried over jitter, never missed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.demo.pace import JITTER, MOST, SECOND, Crowd, busiest, crowd
from clients.demo.story import IST

BEGIN = dt.datetime(2026, 9, 8, 9, 20, 6, tzinfo=IST)
MILLISECOND = dt.timedelta(milliseconds=1)
JITTER_MS = JITTER // MILLISECOND
gaps = st.lists(st.integers(0, 300), max_size=60)  # milliseconds between two that want to leave


def at(*milliseconds: float) -> list[dt.datetime]:
    return [BEGIN + number * MILLISECOND for number in milliseconds]


def asked(gaps: Sequence[int]) -> list[int]:
    """When each of them wants to leave, in milliseconds."""
    return [sum(gaps[: number + 1]) for number in range(len(gaps))]


def paced(times: Sequence[int], most: int = MOST) -> list[int]:
    """When each of them leaves, with at most so many in any second."""
    left: list[int] = []
    for want in times:
        earliest = left[-most] + 1000 if len(left) >= most else 0
        left.append(max(want, earliest, left[-1] if left else 0))
    return left


@given(gaps, st.data())
def test_what_left_at_the_pace_is_no_crowd_however_it_is_held_up(
    gaps: list[int], data: st.DataObject
) -> None:
    left = paced(asked(gaps))
    late = data.draw(st.lists(st.integers(0, JITTER_MS), min_size=len(left), max_size=len(left)))
    arrived = at(*(sent + held_up for sent, held_up in zip(left, late, strict=True)))
    assert crowd(arrived) is None


@given(gaps, st.integers(0, 59), st.integers(0, 1000 - JITTER_MS - 1))
def test_eleven_that_arrive_together_are_a_crowd(gaps: list[int], place: int, within: int) -> None:
    """The control: planted into a stream that keeps the pace, anywhere."""
    left = paced(asked(gaps))
    begin = left[place % len(left)] if left else 0
    planted = [begin + within * number // MOST for number in range(MOST + 1)]
    excess = crowd(at(*left, *planted))
    assert excess is not None
    assert excess.calls > MOST * excess.seconds


@given(st.lists(st.integers(0, 4000), max_size=45))
def test_both_figures_are_those_of_a_slow_count(times: list[int]) -> None:
    """Every pair of calls, and every second that begins with one."""
    came = sorted(times)
    crowded = any(
        (last - first) >= MOST * whole and came[last] - came[first] < whole * 1000 - JITTER_MS
        for whole in range(1, 5)
        for first in range(len(came))
        for last in range(first, len(came))
    )
    assert (crowd(at(*times)) is not None) is crowded
    assert busiest(at(*times)) == max(
        (sum(begin <= call < begin + 1000 for call in times) for begin in times), default=0
    )


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param([0.0] * 10, None, id="ten at once"),
        pytest.param([0.0] * 11, Crowd(11, 0.0), id="eleven at once"),
        pytest.param([0.0] * 10 + [600.0], None, id="the eleventh at the edge"),
        pytest.param([0.0] * 10 + [599.0], Crowd(11, 0.599), id="the eleventh within it"),
        # fifteen a second, evenly: no eleven of them are close enough, but twenty-one are
        pytest.param(
            [number * 66.0 for number in range(40)], Crowd(21, 1.32), id="fifteen a second"
        ),
        pytest.param([number * 100.0 for number in range(80)], None, id="ten a second"),
    ],
)
def test_crowds(times: list[float], expected: Crowd | None) -> None:
    assert crowd(at(*times)) == expected
    assert crowd(at(*reversed(times))) == expected


def test_two_paces_of_one_account_are_a_crowd_and_one_is_none() -> None:
    """As it was seen: each of two partners' rows kept a pace of its own, eight entries a second."""
    one_pace = paced([0] * 24, most=8)
    assert crowd(at(*one_pace)) is None
    assert busiest(at(*one_pace)) == 8
    two_paces = paced([0] * 12, most=8) * 2
    assert crowd(at(*two_paces)) == Crowd(11, 0.0)
    assert busiest(at(*two_paces)) == 16


def test_the_jitter_is_less_than_the_second() -> None:
    assert dt.timedelta(0) < JITTER < SECOND
