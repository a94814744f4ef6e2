"""How the day's pages write figures."""

from __future__ import annotations

from decimal import Decimal

import pytest

from execution.looks import to_result
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
