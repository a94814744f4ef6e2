"""Never more calls than any window of a broker allows, whoever calls; urgent calls first."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.base import Capabilities
from brokers.pace import (
    JITTER,
    ORDER_CALLS,
    SMALL,
    Call,
    Pacer,
    Urgency,
    Window,
    named_limit,
    room,
)
from brokers.registry import get_adapter
from brokers.zebu.adapter import ZebuAdapter
from brokers.zerodha.adapter import ZerodhaAdapter

CAPABILITIES = [ZebuAdapter().capabilities, ZerodhaAdapter().capabilities]


@dataclass(frozen=True)
class Wish:
    """Somebody asks ``wait`` seconds after the one before, and leaves when it may."""

    wait: float
    call: Call
    urgency: Urgency


# Fractions of a second that floats hold exactly, so that the test's own sums are exact.
WISHES = st.lists(
    st.builds(
        Wish,
        # in bursts, and with pauses between them
        wait=st.one_of(st.just(0), st.integers(0, 64), st.integers(0, 2048)).map(
            lambda n: n / 1024
        ),
        call=st.sampled_from(Call),
        urgency=st.sampled_from(Urgency),
    ),
    max_size=120,
)
WINDOWS = st.lists(
    st.builds(
        Window,
        seconds=st.sampled_from([0.5, 1.0, 4.0, 16.0]),
        limit=st.integers(1, 40),
        calls=st.frozensets(st.sampled_from(Call), min_size=1),
    ),
    min_size=1,
    max_size=4,
)


def leave(pacer: Pacer, wishes: list[Wish]) -> list[tuple[float, Call]]:
    now, left = 5000.0, []
    for wish in wishes:
        now = pacer.next_slot(now + wish.wait, wish.call, wish.urgency)
        pacer.take(now, wish.call)
        left.append((now, wish.call))
    return left


@given(windows=WINDOWS, wishes=WISHES)
def test_no_window_ever_holds_more_than_its_limit(
    windows: list[Window], wishes: list[Wish]
) -> None:
    left = leave(Pacer(windows), wishes)
    for window in windows:
        counted = [at for at, call in left if call in window.calls]
        for first in counted:
            inside = sum(first <= at < first + window.seconds for at in counted)
            assert inside <= room(window.limit, Urgency.FIRST)


@given(windows=WINDOWS, wishes=WISHES, call=st.sampled_from(Call))
def test_a_slot_is_never_later_than_a_window_needs(
    windows: list[Window], wishes: list[Wish], call: Call
) -> None:
    """At once, or exactly when a call of a window that counts it grows old, and a jitter later."""
    pacer = Pacer(windows)
    left = leave(pacer, wishes)
    now = left[-1][0] if left else 5000.0
    for _ in range(40):  # until a window is full, where one counts this call
        if (slot := pacer.next_slot(now, call, Urgency.FIRST)) == now:
            pacer.take(now, call)
            left.append((now, call))
    ends = {
        at + (window.seconds + (JITTER if window.limit > SMALL else 0.0))
        for window in windows
        if call in window.calls
        for at, other in left
        if other in window.calls
    }
    assert slot == now or slot in ends


@given(
    limit=st.integers(10, 400),
    seconds=st.sampled_from([1.0, 60.0]),
    wishes=st.lists(st.integers(0, 64).map(lambda n: n / 1024), min_size=400, max_size=500),
)
def test_reads_and_entries_never_take_what_is_kept_for_exits(
    limit: int, seconds: float, wishes: list[float]
) -> None:
    """However long others have asked for all they could get, an exit leaves at once."""
    pacer, now = Pacer([Window(seconds, limit)]), 0.0
    for number, wait in enumerate(wishes):
        now += wait
        urgency = Urgency.LAST if number % 3 else Urgency.SECOND
        if pacer.next_slot(now, Call.READ, urgency) == now:
            pacer.take(now, Call.READ)
        assert pacer.next_slot(now, Call.CHANGE, Urgency.FIRST) == now


@pytest.mark.parametrize("capabilities", CAPABILITIES, ids=lambda c: c.kind)
def test_fourteen_calls_in_a_second_four_of_them_refused(capabilities: Capabilities) -> None:
    """Bug: orders were paced, the cancels beside them were not. 7 orders and 7 cancels."""
    pacer = Pacer(capabilities.windows)
    calls = [Call.PLACE, Call.CHANGE] * 7
    leaves = [wait_and_take(pacer, 0.0, call) for call in calls]
    assert sum(at < 1.0 for at in leaves) == 9
    alone = Pacer([Window(1.0, 10, frozenset({Call.PLACE}))])  # the old pacer: orders alone
    assert all(wait_and_take(alone, 0.0, call) == 0.0 for call in calls)


def test_540_orders_leave_in_a_minute_where_400_may() -> None:
    """Bug: 9 a second, for a minute and on. No minute window was kept."""
    pacer = Pacer(ZerodhaAdapter().capabilities.windows)
    leaves, now = [], 0.0
    for _ in range(540):
        now = wait_and_take(pacer, now, Call.PLACE)
        leaves.append(now)
    assert sum(at < 60.0 for at in leaves) == 399
    old = Pacer([Window(1.0, 10, ORDER_CALLS)])
    now, leaves = 0.0, []
    for _ in range(540):
        now = wait_and_take(old, now, Call.PLACE)
        leaves.append(now)
    assert sum(at < 60.0 for at in leaves) == 522


def most_at_the_broker(seconds: float, late: float) -> int:
    """Calls in the busiest second at a broker where each first batch is ``late`` on its way."""
    pacer = Pacer([Window(seconds, 10, ORDER_CALLS)])
    now, arrivals = 0.0, []
    for number in range(36):
        now = wait_and_take(pacer, now, Call.PLACE)
        arrivals.append(now + (late if number % 18 < 9 else 0.0))
    arrivals.sort()
    return max(sum(at <= other < at + 1.0 for other in arrivals) for at in arrivals)


def test_batches_a_second_apart_stay_within_the_limit() -> None:
    """Bug: 12 changes of resting exits in 0.986 s. One call is kept back, and a batch has nine.

    The control is the window as the broker words it, where 18 arrive in one second.
    """
    assert most_at_the_broker(1.0, late=0.049) == 9
    assert most_at_the_broker(1.0 - JITTER, late=0.049) == 18


def wait_and_take(pacer: Pacer, now: float, call: Call) -> float:
    slot = pacer.next_slot(now, call, Urgency.FIRST)
    pacer.take(slot, call)
    return slot


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        (
            "Invalid Input :  Order Recieved 11 in a current second exceeds Limit 10 for user",
            (1.0, 10),
        ),
        ("Order Recieved 121 in a current minute exceeds Limit 120 for user", (60.0, 120)),
        ("Order Received 41 in a current minute exceeds limit 40 for user", (60.0, 40)),
        ("Order value exceeds Limit 40 for user", None),
        ("Too many requests", None),
        ("", None),
    ],
)
def test_a_refusal_names_its_window(message: str, limit: tuple[float, int] | None) -> None:
    assert named_limit(message) == limit


def test_a_limit_learned_from_a_refusal_is_kept() -> None:
    pacer = Pacer(ZebuAdapter().capabilities.windows)
    refusal = "Order Recieved 6 in a current second exceeds Limit 5 for user"
    pacer.refused(0.0, Call.READ, refusal)
    assert pacer.next_slot(0.0, Call.PLACE, Urgency.FIRST) == 1.0  # that second is full
    leaves, now = [], 1.0
    for _ in range(20):
        now = wait_and_take(pacer, now, Call.QUOTE)
        leaves.append(now)
    assert leaves[3] == 1.0
    assert leaves[4] == 2.0 + JITTER  # four a second from now on
    pacer.refused(
        100.0, Call.READ, "Order Recieved 999 in a current second exceeds Limit 900 for user"
    )
    assert room_of(pacer) == 4  # a larger one than ours is somebody else's doing


def room_of(pacer: Pacer) -> int:
    count = 0
    while pacer.next_slot(500.0, Call.READ, Urgency.FIRST) == 500.0:
        pacer.take(500.0, Call.READ)
        count += 1
    return count


def test_a_full_minute_is_asked_about_again_within_seconds() -> None:
    pacer = Pacer(ZebuAdapter().capabilities.windows)
    pacer.refused(
        0.0, Call.READ, "Order Recieved 121 in a current minute exceeds Limit 120 for user"
    )
    assert pacer.next_slot(0.0, Call.PLACE, Urgency.FIRST) == 5.0


def test_a_refusal_holds_only_what_shares_its_window() -> None:
    pacer = Pacer(get_adapter("zerodha").capabilities.windows)
    pacer.refused(0.0, Call.QUOTE, "Too many requests")
    assert pacer.next_slot(0.0, Call.QUOTE, Urgency.FIRST) == 1.0
    assert pacer.next_slot(0.0, Call.PLACE, Urgency.FIRST) == 0.0
