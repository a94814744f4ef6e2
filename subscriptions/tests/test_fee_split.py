"""Shares of a fee: floored, and never a paisa too many or too few."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subscriptions.fee_split import DISTRIBUTOR, PLATFORM, PROVIDER, Line, Share, split_fee

FEES = st.decimals("0.01", "99999.99", places=2)
POINTS = st.integers(0, 5000)


def test_999_at_30_percent() -> None:
    assert split_fee(Decimal("999.00"), [Share(DISTRIBUTOR, 7, 3000)]) == (
        Line(DISTRIBUTOR, 7, 3000, Decimal("299.70")),
        Line(PLATFORM, None, 7000, Decimal("699.30")),
    )


def test_without_a_partner_the_platform_has_it_all() -> None:
    whole = (Line(PLATFORM, None, 10_000, Decimal("999.00")),)
    assert split_fee(Decimal("999.00"), []) == whole
    assert split_fee(Decimal("999.00"), [Share(DISTRIBUTOR, 7, 0)]) == whole


@given(fee=FEES, distributor=POINTS, provider=POINTS)
def test_lines_add_up_and_each_share_is_floored(
    fee: Decimal, distributor: int, provider: int
) -> None:
    lines = split_fee(fee, [Share(DISTRIBUTOR, 1, distributor), Share(PROVIDER, 2, provider)])
    assert sum(line.amount for line in lines) == fee
    assert sum(line.basis_points for line in lines) == 10_000
    assert all(line.amount >= 0 for line in lines)
    for line in lines[:-1]:
        exact = fee * line.basis_points / 10_000
        assert line.amount == exact.quantize(Decimal("0.01"), ROUND_FLOOR)


def test_more_than_the_whole_is_refused() -> None:
    with pytest.raises(ValueError, match="10001"):
        split_fee(Decimal(100), [Share(DISTRIBUTOR, 1, 5001), Share(PROVIDER, 2, 5000)])
