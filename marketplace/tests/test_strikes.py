"""Strikes by moneyness, on regular and on ragged ladders."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.definition import RuleSpec
from marketplace.rules import MONEYNESS, parse_moneyness
from marketplace.strikes import StrikeError, at_the_money, select_strike


def moneyness(text: str) -> RuleSpec:
    return RuleSpec("STRIKE_TYPE", {"moneyness": text})


LADDER = [Decimal(24_000 + 50 * step) for step in range(41)]  # 24,000 to 26,000
ladders = st.lists(
    st.integers(1, 200_000).map(lambda half: Decimal(half) / 2),
    min_size=1,
    max_size=60,
    unique=True,
)
spots = st.decimals(min_value=1, max_value=100_000, places=2)


def test_examples() -> None:
    spot = Decimal("25013.40")
    assert select_strike(LADDER, spot, "CE", moneyness("ATM")) == 25_000
    assert select_strike(LADDER, spot, "CE", moneyness("OTM4")) == 25_200
    assert select_strike(LADDER, spot, "PE", moneyness("OTM4")) == 24_800
    assert select_strike(LADDER, spot, "CE", moneyness("ITM2")) == 24_900
    assert select_strike(LADDER, spot, "PE", moneyness("ITM2")) == 25_100


def test_a_tie_goes_to_the_lower_strike() -> None:
    assert at_the_money(LADDER, Decimal("25025")) == 25_000
    assert at_the_money(LADDER, Decimal("25025.05")) == 25_050


def test_steps_are_listed_strikes_not_rupees() -> None:
    ragged = [Decimal(text) for text in ("24800", "24900", "25000", "25050", "25100", "25500")]
    assert select_strike(ragged, Decimal(25_000), "CE", moneyness("OTM3")) == 25_500
    assert select_strike(ragged, Decimal(25_000), "PE", moneyness("OTM2")) == 24_800


@given(ladders, spots)
def test_at_the_money_is_a_nearest_strike(ladder: list[Decimal], spot: Decimal) -> None:
    chosen = at_the_money(ladder, spot)
    distance = abs(chosen - spot)
    assert all(abs(strike - spot) >= distance for strike in ladder)
    assert all(strike >= chosen for strike in ladder if abs(strike - spot) == distance)


@given(ladders, spots, st.sampled_from(MONEYNESS), st.randoms(use_true_random=False))
def test_calls_and_puts_mirror_each_other(
    ladder: list[Decimal], spot: Decimal, text: str, random: object
) -> None:
    """Shuffling changes nothing; a call's strike for +n is a put's for -n; else both refuse."""
    opposite = MONEYNESS.index("ATM") - parse_moneyness(text)
    shuffled = list(ladder)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    try:
        call = select_strike(shuffled, spot, "CE", moneyness(text))
    except StrikeError:
        call = None
    if 0 <= opposite < len(MONEYNESS):
        try:
            put = select_strike(ladder, spot, "PE", moneyness(MONEYNESS[opposite]))
        except StrikeError:
            put = None
        assert call == put
    if call is not None:
        between = [
            s
            for s in ladder
            if min(call, at_the_money(ladder, spot)) < s <= max(call, at_the_money(ladder, spot))
        ]
        assert len(between) == abs(parse_moneyness(text))


@pytest.mark.parametrize(
    ("strikes", "option_type", "rule"),
    [
        ([], "CE", moneyness("ATM")),
        (LADDER, "CE", moneyness("OTM30")),
        (LADDER[:3], "PE", moneyness("OTM4")),
        (LADDER, "FUT", moneyness("ATM")),
        (LADDER, "CE", moneyness("OTM99")),
        (LADDER, "CE", RuleSpec("STRIKE_TYPE", {})),
        (LADDER, "CE", RuleSpec("DELTA_CLOSEST", {"delta": "20"})),
    ],
)
def test_refusals(strikes: list[Decimal], option_type: str, rule: RuleSpec) -> None:
    with pytest.raises(StrikeError):
        select_strike(strikes, Decimal(25_000), option_type, rule)
