"""A factor of five is a change; beyond it the form asks twice."""

from __future__ import annotations

from decimal import Decimal

import pytest

from quantleap.core.guardrails import is_beyond


@pytest.mark.parametrize(
    ("before", "after", "beyond"),
    [
        ("999", "9.99", True),
        ("9.99", "999", True),
        ("100", "500", False),
        ("500", "100", False),
        ("100", "500.01", True),
        ("500.01", "100", True),
        ("0", "1", True),
        ("1", "0", True),
        ("0", "0", False),
        ("999", "999", False),
    ],
)
def test_beyond_five_times_up_or_down(before: str, after: str, beyond: bool) -> None:
    assert is_beyond(Decimal(before), Decimal(after)) is beyond


def test_basis_points_are_whole_numbers() -> None:
    assert is_beyond(3000, 300)
    assert not is_beyond(3000, 2500)
