"""Financial years, document numbers and amounts in words."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subscriptions.billing.invoicing.amount_in_words import amount_in_words, number_in_words
from subscriptions.billing.invoicing.number_format import (
    CREDIT_NOTE,
    INVOICE,
    document_number,
    financial_year,
    prefix,
)

DAYS = st.dates(dt.date(2000, 4, 1), dt.date(2098, 3, 31))


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (dt.date(2026, 3, 31), "2025-26"),
        (dt.date(2026, 4, 1), "2026-27"),
        (dt.date(2027, 1, 1), "2026-27"),
        (dt.date(2099, 12, 31), "2099-00"),
    ],
)
def test_financial_years(day: dt.date, expected: str) -> None:
    assert financial_year(day) == expected


@given(day=DAYS)
def test_a_financial_year_begins_on_the_first_of_april(day: dt.date) -> None:
    before = day - dt.timedelta(days=1)
    changes = (day.month, day.day) == (4, 1)
    assert (financial_year(day) != financial_year(before)) == changes


@given(day=DAYS, seq=st.integers(1, 99_999_999), series=st.sampled_from([INVOICE, CREDIT_NOTE]))
def test_numbers_satisfy_rule_46(day: dt.date, seq: int, series: str) -> None:
    number = document_number(series, financial_year(day), seq)
    assert re.fullmatch(r"[A-Za-z0-9/-]{1,16}", number)
    assert number.startswith(prefix(series, financial_year(day)))
    assert int(number[5:]) == seq


def test_numbers_as_written() -> None:
    assert document_number(INVOICE, "2026-27", 123) == "QL26-00000123"
    assert document_number(CREDIT_NOTE, "2026-27", 1) == "CN26-00000001"
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="no number"):
            document_number(INVOICE, "2026-27", wrong)


@given(first=st.integers(1, 10**8 - 1), second=st.integers(1, 10**8 - 1))
def test_numbers_sort_as_they_count(first: int, second: int) -> None:
    first_number, second_number = (
        document_number(INVOICE, "2026-27", seq) for seq in (first, second)
    )
    assert (first_number < second_number) == (first < second)


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        ("0", "Rupees Zero Only"),
        ("1", "Rupees One Only"),
        ("0.01", "Rupees Zero and One Paisa Only"),
        ("20.50", "Rupees Twenty and Fifty Paise Only"),
        ("1178.82", "Rupees One Thousand One Hundred Seventy-Eight and Eighty-Two Paise Only"),
        ("100000", "Rupees One Lakh Only"),
        ("12345678", "Rupees One Crore Twenty-Three Lakh Forty-Five Thousand Six Hundred "
         "Seventy-Eight Only"),
        ("2500000000", "Rupees Two Hundred Fifty Crore Only"),
    ],
)  # fmt: skip
def test_amounts_in_words(amount: str, words: str) -> None:
    assert amount_in_words(Decimal(amount)) == words


SIZES = {"Hundred": 100, "Thousand": 1000, "Lakh": 100_000, "Crore": 10_000_000}
UNITS = {number_in_words(number): number for number in range(100)}


def _read(words: str) -> int:
    """Words back to a number, from the largest group down."""
    for name in ("Crore", "Lakh", "Thousand", "Hundred"):
        before, separator, after = words.rpartition(f" {name}")
        if separator:
            return _read(before) * SIZES[name] + (_read(after.strip()) if after else 0)
    return UNITS[words]


@given(number=st.integers(0, 10**12))
def test_words_can_be_read_back(number: int) -> None:
    assert _read(number_in_words(number)) == number


def test_there_are_no_words_below_zero() -> None:
    with pytest.raises(ValueError, match="-1"):
        number_in_words(-1)
