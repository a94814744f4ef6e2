"""Rules by kind: canonical form, words, and refusals that name the parameter."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.definition import RuleSpec
from marketplace.rules import (
    EXIT_RULES,
    MONEYNESS,
    STRIKE_RULES,
    RuleError,
    RuleKind,
    RuleRegistry,
    check_rule,
    describe_rule,
)
from marketplace.tests.factories import percent, points

SIDES = ("BUY", "SELL")
sides = st.sampled_from(SIDES)
purposes = st.sampled_from(["stop", "target"])


@given(sides, purposes, st.decimals(min_value="0.01", max_value="99.99", places=2))
def test_canonical_form_is_a_fixed_point(side: str, purpose: str, value: Decimal) -> None:
    for rule in (percent(str(value)), points(str(value))):
        once = check_rule(rule, side=side, purpose=purpose)
        assert Decimal(once.params["value"]) == value
        assert check_rule(once, side=side, purpose=purpose) == once


@given(sides, purposes, st.text(max_size=12))
def test_any_text_is_checked_never_a_crash(side: str, purpose: str, text: str) -> None:
    for kind in EXIT_RULES.kinds():
        refused: RuleError | None = None
        rule = RuleSpec(kind.kind, {"value": text})
        try:
            rule = check_rule(rule, side=side, purpose=purpose)
        except RuleError as error:
            refused = error
        if refused is None:
            assert Decimal(rule.params["value"]) > 0
        else:
            assert refused.param == "value"
            assert refused.message


@pytest.mark.parametrize(
    ("side", "purpose", "allowed"),
    [
        ("SELL", "stop", True),
        ("BUY", "target", True),
        ("BUY", "stop", False),
        ("SELL", "target", False),
    ],
)
def test_a_premium_cannot_fall_by_all_of_itself(side: str, purpose: str, allowed: bool) -> None:
    check_rule(percent("99.99"), side=side, purpose=purpose)
    if allowed:
        check_rule(percent(100), side=side, purpose=purpose)
        return
    with pytest.raises(RuleError, match="below 100 percent"):
        check_rule(percent(100), side=side, purpose=purpose)


def test_one_spelling_per_amount() -> None:
    spelled = {
        check_rule(percent(t), side="SELL", purpose="stop").params["value"]
        for t in ("25", "25.0", "25.00", " 25 ", "2.5E1")
    }
    assert spelled == {"25"}


@pytest.mark.parametrize("text", ["0", "-5", "NaN", "Infinity", "1e9", "0.001", "", "twenty"])
def test_refused_values(text: str) -> None:
    with pytest.raises(RuleError):
        check_rule(percent(text), side="SELL", purpose="stop")


def test_kinds_and_params_are_named() -> None:
    with pytest.raises(RuleError, match="TRAIL is unknown; choose PREMIUM_PERCENT"):
        check_rule(RuleSpec("TRAIL", {}), side="SELL", purpose="stop")
    with pytest.raises(RuleError, match="needs a value"):
        check_rule(RuleSpec("PREMIUM_PERCENT", {}), side="SELL", purpose="stop")
    with pytest.raises(RuleError, match="has no unit"):
        check_rule(
            RuleSpec("PREMIUM_PERCENT", {"value": "1", "unit": "x"}), side="SELL", purpose="stop"
        )


def test_moneyness_runs_from_itm20_to_otm30() -> None:
    assert (MONEYNESS[0], MONEYNESS[20], MONEYNESS[-1], len(MONEYNESS)) == (
        "ITM20",
        "ATM",
        "OTM30",
        51,
    )
    for text in MONEYNESS:
        rule = RuleSpec("STRIKE_TYPE", {"moneyness": text.lower()})
        assert check_rule(rule, side="BUY", purpose="strike").params == {"moneyness": text}
    for text in ("OTM31", "ITM21", "OTM0", "OTM04", "", "OTM4 "[::-1]):
        with pytest.raises(RuleError):
            check_rule(RuleSpec("STRIKE_TYPE", {"moneyness": text}), side="BUY", purpose="strike")


def test_words() -> None:
    assert describe_rule(percent(25), side="SELL", purpose="stop") == "stop at entry premium + 25 %"
    assert describe_rule(percent(25), side="BUY", purpose="stop") == "stop at entry premium - 25 %"
    assert describe_rule(points(12), side="SELL", purpose="target") == (
        "target at entry premium - 12 points"
    )
    strike = RuleSpec("STRIKE_TYPE", {"moneyness": "ITM1"})
    assert describe_rule(strike, side="SELL", purpose="strike") == "1 strike in the money"


def test_a_kind_is_registered_once() -> None:
    registry = RuleRegistry("test")
    kind: RuleKind = STRIKE_RULES.kinds()[0]
    registry.register(kind)
    with pytest.raises(RuntimeError, match="already registered"):
        registry.register(kind)
