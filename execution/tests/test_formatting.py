"""How the day's pages write figures."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from execution.formatting import to_result, told_change
from execution.price_changes import ASKED, DONE, KEPT, REFUSED, TAKEN, UNKNOWN, Change
from execution.templatetags.trading import price, rupees


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "+0.00"),
        ("999.5", "+999.50"),
        ("117882", "+1,17,882.00"),
        ("-12345678.9", "-1,23,45,678.90"),
    ],
)
def test_a_result_has_its_sign_and_is_grouped_as_in_india(amount: str, shown: str) -> None:
    assert to_result(Decimal(amount)) == rupees(Decimal(amount)) == shown


def test_nothing_is_a_dash() -> None:
    assert (rupees(None), price(None), price("")) == ("–", "–", "–")
    assert price("117882.5") == "1,17,882.50"


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"state": ASKED}, "on its way to the broker."),
        ({"state": TAKEN}, "taken by the broker, and not yet seen in its book."),
        ({"state": DONE}, "and the broker's book shows it."),
        ({"state": REFUSED, "message": "Try <later>"}, "refused by the broker: Try <later>"),
        (
            {"state": UNKNOWN, "message": "no answer in time"},
            "without a usable answer: the order may rest at either price: no answer in time",
        ),
        (
            {"state": KEPT, "cause": "SESSION_OVER"},
            "kept back, so nothing left: The session closed before the position did; a person has"
            " to look.",
        ),
        (
            {"state": KEPT, "cause": "STALE"},
            "kept back, so nothing left: The order was over by then.",
        ),
    ],
    ids=["asked", "taken", "done", "refused", "unknown", "kept", "kept_for_a_reason_of_its_own"],
)
def test_what_became_of_a_change_is_said_in_plain_words(fields: dict[str, Any], shown: str) -> None:
    at = dt.datetime(2026, 9, 8, 9, 45, 3, 120_000, dt.UTC)
    change = Change(Decimal("98.00"), Decimal("99.05"), at, "FEED", **fields)
    assert told_change(change) == f"15:15:03.120: 98.00 to 99.05, {shown}"
