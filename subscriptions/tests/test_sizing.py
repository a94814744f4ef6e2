"""Lots of a leg, and the multipliers that are refused by name."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.definition import Definition
from marketplace.tests.factories import definition_spec, leg_spec, strategy_spec
from subscriptions.errors import LotsZero, MultiplierNotPositive, RatioChanged
from subscriptions.sizing import (
    EffectiveLots,
    check_multiplier,
    effective_lots,
    leg_lots,
)

base_lots = st.integers(1, 5_000)
multipliers = st.decimals("0.01", "99999.99", places=2)


def spread(*lots: int) -> Definition:
    legs = [
        leg_spec("SELL" if number % 2 == 0 else "BUY", "CE", f"OTM{number}", lots=count)
        for number, count in enumerate(lots, start=0)
    ]
    return definition_spec(strategy_spec(legs))


@given(base_lots, multipliers)
def test_lots_are_the_product_rounded_down(base: int, multiplier: Decimal) -> None:
    lots = leg_lots(base, multiplier)
    assert lots <= base * multiplier < lots + 1


@given(base_lots, multipliers, multipliers)
def test_more_multiplier_never_means_fewer_lots(base: int, first: Decimal, second: Decimal) -> None:
    small, large = sorted((first, second))
    assert leg_lots(base, small) <= leg_lots(base, large)


@given(base_lots, st.integers(1, 1000))
def test_a_whole_multiplier_is_exact(base: int, multiplier: int) -> None:
    assert leg_lots(base, Decimal(multiplier)) == base * multiplier


@given(st.lists(base_lots, min_size=1, max_size=6), multipliers)
def test_a_multiplier_passes_exactly_when_every_ratio_stays(
    lots: list[int], multiplier: Decimal
) -> None:
    """Against the definition of the rule, written out over all pairs."""
    result = [leg_lots(count, multiplier) for count in lots]
    zero = any(count == 0 for count in result)
    changed = any(
        result[a] * lots[b] != result[b] * lots[a]
        for a in range(len(lots))
        for b in range(len(lots))
    )
    try:
        check_multiplier(spread(*lots), multiplier)
    except LotsZero:
        assert zero
    except RatioChanged:
        assert changed
        assert not zero
    else:
        assert not zero
        assert not changed


def test_the_refused_ratio_is_named() -> None:
    with pytest.raises(RatioChanged) as refused:
        check_multiplier(spread(1, 2), Decimal("1.50"))
    assert refused.value.details == {
        "lot_multiplier": "Changes the ratio between legs: "
        "SELL CE OTM0 WEEKLY and BUY CE OTM1 WEEKLY: 1:2 x 1.5 -> 1:3."
    }
    assert refused.value.status == 400


def test_a_multiplier_that_keeps_the_ratio_may_be_broken() -> None:
    check_multiplier(spread(2, 4), Decimal("1.50"))
    check_multiplier(spread(1, 1), Decimal("1.50"))
    check_multiplier(spread(2, 4), Decimal("0.50"))


def test_a_leg_without_lots_is_named() -> None:
    with pytest.raises(LotsZero) as refused:
        check_multiplier(spread(3, 1), Decimal("0.50"))
    assert "BUY CE OTM1 WEEKLY: 1 x 0.5 is less than one lot" in refused.value.message
    assert list(refused.value.details) == ["lot_multiplier"]


@pytest.mark.parametrize("multiplier", ["0", "-1", "-0.01"])
def test_a_multiplier_is_positive(multiplier: str) -> None:
    with pytest.raises(MultiplierNotPositive) as refused:
        check_multiplier(spread(1), Decimal(multiplier))
    assert refused.value.message == "lot_multiplier must be greater than 0"
    assert refused.value.details == {"lot_multiplier": "Must be greater than 0."}


def test_strategies_are_compared_each_for_itself() -> None:
    """Two strategies of a template trade apart: only legs that trade together have a ratio."""
    both = definition_spec(
        strategy_spec([leg_spec(lots=1)], key="one", name="Morning"),
        strategy_spec([leg_spec(lots=2)], key="two", name="Noon"),
    )
    check_multiplier(both, Decimal("1.50"))
    assert effective_lots(both, Decimal("1.50")) == [
        EffectiveLots("Morning: SELL CE ATM WEEKLY", 1),
        EffectiveLots("Noon: SELL CE ATM WEEKLY", 3),
    ]


def test_a_black_box_hides_its_legs() -> None:
    assert effective_lots(spread(1, 2), Decimal(2), hide_legs=True) == [
        EffectiveLots("Leg 1", 2),
        EffectiveLots("Leg 2", 4),
    ]
    with pytest.raises(RatioChanged) as refused:
        check_multiplier(spread(1, 2), Decimal("1.5"), hide_legs=True)
    assert "OTM" not in str(refused.value.details)


def test_a_large_multiplier_is_written_out() -> None:
    with pytest.raises(LotsZero, match=r"x 0\.1 is"):
        check_multiplier(spread(1), Decimal("0.10"))
