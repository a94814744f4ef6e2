"""A ladder of strikes that cannot belong to one product is refused by name; every other one is
accepted."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.definition import RuleSpec
from marketplace.strikes import LadderError, Rung, StrikeError, check_ladder, select_strike

ATM = RuleSpec("STRIKE_TYPE", {"moneyness": "ATM"})
SENSEX = [Rung(Decimal(strike), 10) for strike in range(81_200, 82_000, 100)]
SENSEX_50 = [Rung(Decimal(strike), 25) for strike in range(27_200, 27_500, 50)]
SPOT = Decimal("81559")
NAME = "SENSEX 13 Sep 2024 CE"


def test_the_at_the_money_strike_of_sensex() -> None:
    assert select_strike(check_ladder(SENSEX, SPOT, NAME), SPOT, "CE", ATM) == 81_600


def test_sensex_50_beside_sensex_is_refused_and_named() -> None:
    with pytest.raises(LadderError) as refused:
        check_ladder([*SENSEX_50, *SENSEX], SPOT, NAME)
    said = str(refused.value)
    assert said.startswith("SENSEX 13 Sep 2024 CE 27200 has a lot of 25 units, others")
    assert "have 10: one expiry has one lot" in said
    assert "Import today's contract list again" in said


def test_sensex_50_strikes_do_not_fit_the_sensex() -> None:
    """The nearest of its strikes, 27450, was once taken for the at-the-money one."""
    with pytest.raises(LadderError, match="from 27200 to 27450 do not straddle the index at 81559"):
        check_ladder(SENSEX_50, SPOT, NAME)


def test_a_list_with_a_hole_around_the_index_is_refused() -> None:
    far = [Rung(Decimal(strike), 10) for strike in (70_000, 70_100, 95_000)]
    with pytest.raises(LadderError, match="nothing is listed between 70100 and 95000"):
        check_ladder(far, SPOT, NAME)


def test_an_empty_ladder_is_no_contract_rather_than_a_bad_list() -> None:
    with pytest.raises(StrikeError) as refused:
        check_ladder([], SPOT, NAME)
    assert not isinstance(refused.value, LadderError)


def test_a_strike_whose_lot_is_not_known_mixes_nothing() -> None:
    assert check_ladder([*SENSEX, Rung(Decimal(82_000), None)], SPOT, NAME)[-1] == 82_000


steps = st.sampled_from([50, 100, 500, 1000])
lots = st.integers(1, 200)


@given(st.integers(20_000, 100_000), steps, st.integers(1, 40), st.integers(1, 40), lots, st.data())
def test_a_valid_ladder_is_accepted_at_any_index_level(
    middle: int, step: int, below: int, above: int, lot: int, data: st.DataObject
) -> None:
    strikes = [
        Decimal(middle + step * n) for n in range(-min(below, middle // step - 1), above + 1)
    ]
    spot = data.draw(st.decimals(strikes[0], strikes[-1], places=2))
    shuffled = data.draw(st.permutations(strikes))
    if step > spot * Decimal("0.05"):
        return  # nobody lists such steps so near to zero
    taken = check_ladder([Rung(strike, lot) for strike in shuffled], spot, NAME)
    assert list(taken) == strikes
    chosen = select_strike(taken, spot, "CE", ATM)
    assert abs(chosen - spot) == min(abs(strike - spot) for strike in strikes)
    assert abs(chosen - spot) <= step / 2


@given(
    st.integers(20_000, 100_000), steps, st.integers(2, 40), st.decimals("0.01", 10**6, places=2)
)
def test_an_index_outside_of_its_ladder_never_finds_a_strike(
    lowest: int, step: int, count: int, distance: Decimal
) -> None:
    rungs = [Rung(Decimal(lowest + step * n), 10) for n in range(count)]
    for spot in (rungs[0].strike - distance, rungs[-1].strike + distance):
        with pytest.raises(LadderError, match="do not straddle"):
            check_ladder(rungs, spot, NAME)


@given(
    lot=lots,
    other=lots,
    strangers=st.lists(st.integers(1, 200_000), min_size=1, max_size=7, unique=True),
    at=st.integers(0, 8),
)
def test_a_contract_with_another_lot_is_named(
    lot: int, other: int, strangers: list[int], at: int
) -> None:
    """Control: with the same lot the ladder is judged by its strikes alone."""
    own = [Rung(rung.strike, lot) for rung in SENSEX]
    mixed = [*own[:at], *(Rung(Decimal(strike), other) for strike in strangers), *own[at:]]
    if lot == other:
        assert check_ladder(mixed, SPOT, NAME)
        return
    with pytest.raises(LadderError, match=f"has a lot of {other} units") as refused:
        check_ladder(mixed, SPOT, NAME)
    assert any(f" {strike} " in str(refused.value) for strike in strangers)
