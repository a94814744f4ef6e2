"""A factor of five is a change; beyond it the form asks twice."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any, Final

import pytest

from quantleap.core.guardrails import DatedChange, is_beyond

TODAY: Final = dt.date(2026, 8, 4)


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


def change(**fields: Any) -> DatedChange[int]:
    """300 after 250, for tomorrow; nothing is stored from that day."""
    terms: dict[str, Any] = {
        "noun": "share",
        "after": 300,
        "effective_from": TODAY + dt.timedelta(days=1),
        "reason": "",
        "large_change": False,
        "same_day": None,
        "before": 250,
    }
    return DatedChange(**terms | fields)


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({}, set()),
        ({"before": None, "after": 9}, set()),
        ({"before": 3000}, {"large_change"}),
        ({"before": 3000, "large_change": True}, set()),
        ({"same_day": 250}, {"reason"}),
        ({"same_day": 250, "reason": " "}, {"reason"}),
        ({"same_day": 250, "reason": "A zero was missing"}, set()),
        ({"same_day": 0, "before": 0}, {"reason", "large_change"}),
        ({"same_day": 250, "effective_from": TODAY}, {"reason"}),
        (
            {
                "same_day": 250,
                "effective_from": TODAY - dt.timedelta(days=1),
                "reason": "A zero was missing",
            },
            {"effective_from"},
        ),
        ({"effective_from": TODAY - dt.timedelta(days=1)}, set()),
    ],
)
def test_what_a_dated_value_must_say(fields: dict[str, Any], refused: set[str]) -> None:
    """A second value of one day needs a reason, and the day must not be over."""
    assert set(change(**fields).refusals(TODAY, str)) == refused
