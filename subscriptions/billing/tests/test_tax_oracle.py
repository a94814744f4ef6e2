"""GST: halves are equal, one kind of tax, each amount half up to the paisa."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partners.gst_states import in_force
from quantleap.core.money import ZERO
from subscriptions.billing.tests.tax_oracle import Tax, rate_on, tax

VALUES = st.decimals("0", "999999.99", places=2)
RATES = st.decimals("0", "40", places=2)
CODES = st.sampled_from(sorted(in_force(dt.date(2026, 8, 4))))


def _half_up(value: Fraction) -> Fraction:
    """To the paisa, by counting."""
    paise, rest = divmod(value * 100, 1)
    return Fraction(paise + (rest >= Fraction(1, 2)), 100)


def test_999_within_and_across_states() -> None:
    fee, rate = Decimal("999.00"), Decimal("18.00")
    within = tax(fee, rate, supplier_state="33", place_of_supply="33")
    assert (within.cgst, within.sgst, within.igst) == (Decimal("89.91"), Decimal("89.91"), ZERO)
    across = tax(fee, rate, supplier_state="33", place_of_supply="27")
    assert (across.cgst, across.sgst, across.igst) == (ZERO, ZERO, Decimal("179.82"))
    assert within.total == across.total == Decimal("1178.82")


def test_a_half_paisa_goes_up() -> None:
    # 9 % of 0.50 is 0.045
    half = tax(Decimal("0.50"), Decimal(18), supplier_state="33", place_of_supply="33")
    assert half.cgst == half.sgst == Decimal("0.05")


@given(value=VALUES, rate=RATES, supplier=CODES, place=CODES)
def test_every_amount_is_the_exact_one_rounded(
    value: Decimal, rate: Decimal, supplier: str, place: str
) -> None:
    taxed = tax(value, rate, supplier_state=supplier, place_of_supply=place)
    exact = Fraction(value) * Fraction(rate) / 100
    assert taxed.cgst == taxed.sgst
    assert taxed.igst == 0 or taxed.cgst == 0
    assert taxed.total == taxed.taxable + taxed.cgst + taxed.sgst + taxed.igst
    if supplier == place:
        assert (Fraction(taxed.cgst), taxed.igst) == (_half_up(exact / 2), ZERO)
    else:
        assert (Fraction(taxed.igst), taxed.cgst) == (_half_up(exact), ZERO)


@given(value=VALUES, rate=RATES)
def test_two_halves_differ_from_the_whole_by_a_paisa_at_most(value: Decimal, rate: Decimal) -> None:
    within = tax(value, rate, supplier_state="33", place_of_supply="33")
    across = tax(value, rate, supplier_state="33", place_of_supply="27")
    assert abs(within.total - across.total) <= Decimal("0.01")


def test_negative_values_have_no_tax() -> None:
    with pytest.raises(ValueError, match="no tax"):
        tax(Decimal(-1), Decimal(18), supplier_state="33", place_of_supply="33")


DAYS = st.dates(dt.date(2017, 1, 1), dt.date(2035, 1, 1))


@given(rates=st.dictionaries(DAYS, RATES, min_size=1), day=DAYS)
def test_the_newest_rate_that_began_is_in_force(
    rates: dict[dt.date, Decimal], day: dt.date
) -> None:
    begun = [start for start in rates if start <= day]
    if begun:
        assert rate_on(rates.items(), day) == rates[max(begun)]
    else:
        with pytest.raises(LookupError):
            rate_on(rates.items(), day)


def test_a_tax_is_a_value() -> None:
    assert Tax(Decimal(1), Decimal(0), Decimal(0), Decimal(0), Decimal(0)).total == 1
