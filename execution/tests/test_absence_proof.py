"""When a missing tag proves that there is no order: I3 (no second send without proof)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.absence_proof import MIN_READS, MIN_SPAN, AbsenceProof

gaps = st.lists(st.floats(0, 20, allow_nan=False), min_size=1, max_size=12)


@given(gaps=gaps, visibility=st.floats(0, 30), lead=st.floats(0, 10))
def test_absence_needs_reads_a_span_and_the_delay(
    gaps: list[float], visibility: float, lead: float
) -> None:
    """Three reads over five seconds prove that an order is absent, once the delay is over."""
    sent_at = 1000.0
    proof = AbsenceProof(sent_at, visibility)
    at, times = sent_at + lead, []
    for gap in gaps:
        at += gap
        times.append(at)
        proven = proof.missing(at)
        assert proven == (
            len(times) >= MIN_READS and at - times[0] >= MIN_SPAN and at - sent_at >= visibility
        )


@pytest.mark.parametrize(
    ("reads", "visibility", "proven"),
    [
        ([1, 3.5, 6], 0, True),
        ([1, 3.5], 0, False),
        ([1, 6.5], 0, False),  # two reads, however far apart
        ([1, 2, 3, 4, 5], 0, False),  # five reads, 4 s apart
        ([1, 2, 3, 4, 5, 6], 0, True),
        ([1, 3.5, 6], 10, False),  # the broker may show it later than that
        ([1, 3.5, 6, 10], 10, True),
        ([0, 0, 0, 0], 0, False),
    ],
)
def test_known_series(reads: list[float], visibility: float, proven: bool) -> None:
    proof = AbsenceProof(100.0, visibility)
    answers = [proof.missing(100.0 + read) for read in reads]
    assert answers[-1] is proven
    assert not any(answers[:-1])
