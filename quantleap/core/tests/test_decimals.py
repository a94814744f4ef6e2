"""One spelling for each number, in every text for a person or a broker."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantleap.core.decimals import trimmed

numbers = st.decimals("-99999.99", "99999.99", places=4)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("25.00", "25"),
        ("12.50", "12.5"),
        ("0.05", "0.05"),
        ("0.00", "0"),
        ("100", "100"),
        ("1E+2", "100"),
        ("23450", "23450"),
        ("-7.10", "-7.1"),
    ],
)
def test_no_exponent_and_no_needless_zero(number: str, text: str) -> None:
    assert trimmed(Decimal(number)) == text


@given(numbers)
def test_the_text_is_the_number_however_many_zeros_it_had(number: Decimal) -> None:
    text = trimmed(number)
    assert Decimal(text) == number
    assert trimmed(number.quantize(Decimal("0.000001"))) == text
