"""Stops, targets and move-to-cost, both directions (docs/authoring.md)."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.base import Side
from execution.risk import Watch, move_to_cost, stop_level, target_level, trigger
from execution.tests.strategies import premiums, sides, ticks
from marketplace.definition import RuleSpec

D = Decimal
TICK = D("0.05")
values = st.decimals(D("0.5"), D(400), places=2)
rules = st.builds(
    lambda kind, value: RuleSpec(kind, {"value": str(value)}),
    st.sampled_from(["PREMIUM_PERCENT", "PREMIUM_POINTS"]),
    values,
)
modes = st.sampled_from(["OFF", "ALL_LEGS", "SL_LEGS_ONLY"])


def distance(rule: RuleSpec, reference: Decimal) -> Decimal:
    value = D(rule.params["value"])
    return reference * value / 100 if rule.kind == "PREMIUM_PERCENT" else value


@given(side=sides, reference=premiums, rule=rules, tick=ticks)
def test_a_stop_never_triggers_earlier_than_written(
    side: Side, reference: Decimal, rule: RuleSpec, tick: Decimal
) -> None:
    level = stop_level(side, reference, rule, tick)
    assert level is not None
    assert level % tick == 0
    written = reference - side.sign * distance(rule, reference)
    if side is Side.SELL:  # hurt by a rise
        assert written <= level < written + tick
    else:
        assert written - tick < level <= written


@given(side=sides, reference=premiums, rule=rules, tick=ticks)
def test_a_target_never_triggers_earlier_than_written(
    side: Side, reference: Decimal, rule: RuleSpec, tick: Decimal
) -> None:
    level = target_level(side, reference, rule, tick)
    assert level is not None
    assert level % tick == 0
    written = reference + side.sign * distance(rule, reference)
    if side is Side.SELL:  # helped by a fall
        assert written - tick < level <= written
    else:
        assert written <= level < written + tick


@given(side=sides, reference=premiums, rule=rules, tick=ticks, price=premiums)
def test_at_a_price_short_of_the_written_level_nothing_happens(
    side: Side, reference: Decimal, rule: RuleSpec, tick: Decimal, price: Decimal
) -> None:
    """Also where the written level is below zero: no price ever reaches it."""
    stop = Watch("leg", side, reference, stop_level(side, reference, rule, tick), None)
    loss = side.sign * (reference - price)
    if loss < distance(rule, reference):
        assert trigger(stop, price) is None
    target = Watch("leg", side, reference, None, target_level(side, reference, rule, tick))
    if -loss < distance(rule, reference):
        assert trigger(target, price) is None


@pytest.mark.parametrize(
    ("side", "stop", "target"),
    [(Side.SELL, "125.00", "75.00"), (Side.BUY, "75.00", "125.00")],
)
def test_twenty_five_percent_of_a_hundred(side: Side, stop: str, target: str) -> None:
    for rule in (
        RuleSpec("PREMIUM_PERCENT", {"value": "25"}),
        RuleSpec("PREMIUM_POINTS", {"value": "25"}),
    ):
        assert stop_level(side, D(100), rule, TICK) == D(stop)
        assert target_level(side, D(100), rule, TICK) == D(target)


@pytest.mark.parametrize(
    ("side", "stop", "target"),
    # 25 % of 100.10 is 25.025
    [(Side.SELL, "125.15", "75.05"), (Side.BUY, "75.05", "125.15")],
)
def test_rounding_gives_the_level_more_room(side: Side, stop: str, target: str) -> None:
    rule = RuleSpec("PREMIUM_PERCENT", {"value": "25"})
    assert stop_level(side, D("100.10"), rule, TICK) == D(stop)
    assert target_level(side, D("100.10"), rule, TICK) == D(target)


def test_no_rule_no_level() -> None:
    assert stop_level(Side.SELL, D(100), None, TICK) is None
    assert target_level(Side.BUY, D(100), None, TICK) is None


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown"):
        stop_level(Side.SELL, D(100), RuleSpec("LATER", {"value": "1"}), TICK)


# -- triggers -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("side", "price", "expected"),
    [
        (Side.SELL, "124.95", None),
        (Side.SELL, "125.00", "STOP"),
        (Side.SELL, "140.00", "STOP"),
        (Side.SELL, "75.05", None),
        (Side.SELL, "75.00", "TARGET"),
        (Side.BUY, "75.05", None),
        (Side.BUY, "75.00", "STOP"),
        (Side.BUY, "124.95", None),
        (Side.BUY, "125.00", "TARGET"),
    ],
)
def test_levels_trigger_when_reached(side: Side, price: str, expected: str | None) -> None:
    rule = RuleSpec("PREMIUM_POINTS", {"value": "25"})
    watch = Watch(
        "leg",
        side,
        D(100),
        stop_level(side, D(100), rule, TICK),
        target_level(side, D(100), rule, TICK),
    )
    assert trigger(watch, D(price)) == expected


@given(side=sides, level=premiums, price=premiums)
def test_a_stop_beats_a_target(side: Side, level: Decimal, price: Decimal) -> None:
    """Both reached by one quote: the careful one counts."""
    both = Watch("leg", side, level, level, level)
    reached = trigger(Watch("leg", side, level, level, None), price)
    assert reached != "TARGET"
    if reached == "STOP":
        assert trigger(both, price) == "STOP"


@given(side=sides, reference=premiums, price=premiums)
def test_a_leg_triggers_once(side: Side, reference: Decimal, price: Decimal) -> None:
    assert trigger(Watch("leg", side, reference, price, price, triggered=True), price) is None


# -- move to cost -------------------------------------------------------------------------------
watches = st.lists(
    st.builds(
        Watch,
        leg_key=st.just(""),
        side=sides,
        reference=premiums,
        stop=st.none() | premiums,
        target=st.none(),
        triggered=st.booleans(),
    ),
    min_size=1,
    max_size=5,
).map(
    lambda drawn: [
        Watch(f"leg-{n}", w.side, w.reference, w.stop, w.target, w.triggered)
        for n, w in enumerate(drawn)
    ]
)


@given(watches=watches, mode=modes)
def test_move_to_cost_never_loosens(watches: list[Watch], mode: str) -> None:
    stopped = watches[0].leg_key
    moved = move_to_cost(watches, stopped, mode)
    assert stopped not in moved
    for watch in watches:
        if watch.leg_key not in moved:
            continue
        new = moved[watch.leg_key]
        assert new == watch.reference
        assert not watch.triggered
        if watch.stop is not None:
            assert new < watch.stop if watch.side is Side.SELL else new > watch.stop


@given(watches=watches, mode=modes)
def test_move_to_cost_moves_exactly_who_it_shall(watches: list[Watch], mode: str) -> None:
    moved = move_to_cost(watches, watches[0].leg_key, mode)
    for watch in watches[1:]:
        looser = watch.stop is None or (
            watch.stop > watch.reference
            if watch.side is Side.SELL
            else watch.stop < watch.reference
        )
        expected = (
            mode != "OFF"
            and not watch.triggered
            and looser
            and (watch.stop is not None or mode == "ALL_LEGS")
        )
        assert (watch.leg_key in moved) == expected


@given(watches=watches, mode=modes)
def test_moving_twice_changes_nothing(watches: list[Watch], mode: str) -> None:
    first = move_to_cost(watches, watches[0].leg_key, mode)
    after = [
        Watch(w.leg_key, w.side, w.reference, first.get(w.leg_key, w.stop), w.target, w.triggered)
        for w in watches
    ]
    assert move_to_cost(after, watches[0].leg_key, mode) == {}
