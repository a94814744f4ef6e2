"""Never more than limit - 1 orders of an account in any second."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.pacing import MARGIN, WINDOW, Pacer

# Fractions of a second that floats hold exactly, so that the test's own sums are exact.
waits = st.lists(st.integers(0, 2048).map(lambda n: n / 1024), max_size=80)


def run(limit: int, waits: list[float], start: float = 5000.0) -> list[float]:
    """Times at which the orders left when each was asked for ``wait`` after the one before."""
    pacer, now, sent = Pacer(limit), start, []
    for wait in waits:
        now = pacer.next_slot(now + wait)
        pacer.take(now)
        sent.append(now)
    return sent


@given(limit=st.integers(1, 25), waits=waits)
def test_no_sliding_second_holds_more_than_the_limit(limit: int, waits: list[float]) -> None:
    most = max(1, limit - MARGIN)
    sent = run(limit, waits)
    assert sent == sorted(sent)
    for first in sent:
        assert sum(first <= time < first + WINDOW for time in sent) <= most


@given(limit=st.integers(2, 25), waits=waits)
def test_a_slot_is_never_later_than_needed(limit: int, waits: list[float]) -> None:
    """Either at once, or exactly a second after the order that fills the window."""
    pacer, now = Pacer(limit), 0.0
    sent: list[float] = []
    for wait in waits:
        asked = now + wait
        now = pacer.next_slot(asked)
        assert now == asked or now == sent[-(limit - MARGIN)] + WINDOW
        pacer.take(now)
        sent.append(now)


@pytest.mark.parametrize("limit", [10, 3])
def test_a_burst_goes_out_at_once_and_the_rest_a_second_later(limit: int) -> None:
    sent = run(limit, [0.0] * (2 * (limit - MARGIN)), start=0.0)
    assert sent == [0.0] * (limit - MARGIN) + [WINDOW] * (limit - MARGIN)
