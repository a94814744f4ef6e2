"""Shares add up exactly, rounding is half up, floats stay out (docs/adr/0014)."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantleap.core.money import grouped, rupees, share, split, with_tax

amounts = st.decimals(min_value=0, max_value=10**9, places=2)
shares = st.integers(0, 10_000)


@given(amounts, shares)
def test_the_parts_add_up_and_the_partners_is_floored(amount: Decimal, points: int) -> None:
    partner, platform = split(amount, points)
    assert partner + platform == amount
    assert partner == share(amount, points)
    exact = amount * points / 10_000
    assert Decimal(0) <= exact - partner < Decimal("0.01")
    assert platform >= 0


def test_the_examples_of_the_contract() -> None:
    assert split(Decimal(999), 3000) == (Decimal("299.70"), Decimal("699.30"))
    for within in (True, False):
        total = with_tax(Decimal("999.00"), Decimal(18), within_state=within)
        assert total == Decimal("1178.82")


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=6))
def test_rounding_is_to_the_nearest_paisa_half_away_from_zero(value: Decimal) -> None:
    rounded = rupees(value)
    assert abs(rounded - value) <= Decimal("0.005")
    assert rounded == rounded.quantize(Decimal("0.01"))


@pytest.mark.parametrize(
    ("text", "expected"), [("0.005", "0.01"), ("2.675", "2.68"), ("1", "1.00")]
)
def test_half_goes_up(text: str, expected: str) -> None:
    assert str(rupees(text)) == expected


def test_floats_and_impossible_shares_are_refused() -> None:
    with pytest.raises(TypeError):
        rupees(0.1)  # type: ignore[arg-type]  # what the test is about
    for points in (-1, 10_001):
        with pytest.raises(ValueError, match="basis points"):
            share(Decimal(1), points)


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "₹0.00"),
        ("999.5", "₹999.50"),
        ("1178.82", "₹1,178.82"),
        ("117882", "₹1,17,882.00"),
        ("-12345678.90", "-₹1,23,45,678.90"),
    ],
)
def test_digits_are_grouped_as_in_india(amount: str, shown: str) -> None:
    assert grouped(Decimal(amount), "₹") == shown


@given(st.decimals(min_value=-(10**14), max_value=10**14, places=2))
def test_grouping_loses_nothing(amount: Decimal) -> None:
    shown = grouped(amount)
    assert Decimal(shown.replace(",", "")) == amount
    head, *groups = shown.lstrip("-").partition(".")[0].split(",")
    assert 1 <= len(head) <= 3
    assert [len(group) for group in groups] in ([], [2] * (len(groups) - 1) + [3])
