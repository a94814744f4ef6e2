"""What one subscriber trades: whole lots, no slice above a limit, groups in order."""

from __future__ import annotations

from collections import defaultdict
from decimal import ROUND_FLOOR, Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from brokers.base import Side
from brokers.pace import Window
from execution.plan import PlanError, ResolvedLeg, plan_entry, slices
from execution.tests.strategies import multipliers, premiums, strategy_specs
from marketplace.definition import StrategySpec
from marketplace.leg_order import order_groups
from marketplace.tests.factories import IRON_CONDOR_LEGS, leg_spec, strategy_spec
from subscriptions.capacity import EntryPace
from subscriptions.sizing import changed_ratio

lot_sizes = st.sampled_from([1, 15, 30, 65, 75])


def resolve(
    strategy: StrategySpec, *, lot_size: int = 65, freeze: int = 1800, last: str = "100"
) -> dict[str, ResolvedLeg]:
    """Every leg resolved to a contract of its own."""
    return {
        leg.key: ResolvedLeg(
            leg_key=leg.key,
            contract_id=number,
            label=leg.key,
            tick_size=Decimal("0.05"),
            lot_size=lot_size,
            freeze_quantity=freeze,
            reference_price=Decimal(last),
            bid=None,
            ask=None,
        )
        for number, leg in enumerate(strategy.legs, start=1)
    }


@given(
    strategy=strategy_specs(),
    multiplier=multipliers,
    lot_size=lot_sizes,
    freeze=st.integers(1, 5000),
    max_lots=st.none() | st.integers(1, 40),
    last=premiums,
)
def test_slices_add_up_to_whole_lots_below_every_limit(
    strategy: StrategySpec,
    multiplier: Decimal,
    lot_size: int,
    freeze: int,
    max_lots: int | None,
    last: Decimal,
) -> None:
    lots = {
        leg.key: int((leg.lots * multiplier).to_integral_value(ROUND_FLOOR))
        for leg in strategy.legs
    }
    assume(all(lots.values()))
    assume(changed_ratio(strategy.legs, multiplier) is None)
    assume(freeze >= lot_size)
    resolved = resolve(strategy, lot_size=lot_size, freeze=freeze, last=str(last))
    orders = plan_entry(strategy, resolved, multiplier, max_lots)
    total: dict[str, int] = defaultdict(int)
    numbers: dict[str, list[int]] = defaultdict(list)
    for order in orders:
        total[order.leg_key] += order.quantity
        numbers[order.leg_key].append(order.slice)
        assert 0 < order.quantity <= freeze
        assert order.quantity % lot_size == 0
        if max_lots is not None:
            assert order.quantity <= max_lots * lot_size
        spec = strategy.legs[order.leg_index]
        assert (order.leg_key, str(order.side)) == (spec.key, spec.side)
        assert order.reference_price == last
        assert order.price >= last if order.side is Side.BUY else order.price <= last
    assert total == {key: count * lot_size for key, count in lots.items()}
    # I1 (one intent per place in the plan): they are distinct, without holes
    assert all(places == list(range(len(places))) for places in numbers.values())
    # sending order: group by group
    assert [order.group for order in orders] == sorted(order.group for order in orders)


@given(strategy=strategy_specs(), multiplier=st.decimals("0.01", "0.99", places=2))
def test_a_leg_without_lots_refuses_the_plan(strategy: StrategySpec, multiplier: Decimal) -> None:
    assume(any(leg.lots * multiplier < 1 for leg in strategy.legs))
    with pytest.raises(PlanError) as caught:
        plan_entry(strategy, resolve(strategy), multiplier, None)
    assert caught.value.cause == "LOTS_ZERO"


@given(lot_size=lot_sizes, freeze=st.integers(0, 100))
def test_a_lot_that_no_order_may_hold_refuses_the_plan(lot_size: int, freeze: int) -> None:
    assume(freeze < lot_size)
    with pytest.raises(PlanError) as caught:
        list(slices(lot_size, lot_size, freeze, None))
    assert caught.value.cause == "FREEZE"


@given(quantity=st.integers(1, 20_000), freeze=st.integers(1, 2000), max_lots=st.integers(1, 2000))
def test_odd_units_are_sliced_too(quantity: int, freeze: int, max_lots: int) -> None:
    """What somebody else left of a position need not be whole lots."""
    pieces = list(slices(quantity, 1, freeze, max_lots))
    assert sum(pieces) == quantity
    assert all(0 < piece <= min(freeze, max_lots) for piece in pieces)


def test_known_slices() -> None:
    assert list(slices(40 * 65, 65, 1800, None)) == [1755, 845]  # 27 whole lots fit 1,800
    assert list(slices(40 * 65, 65, 1800, 10)) == [650, 650, 650, 650]
    assert list(slices(65, 65, 1800, None)) == [65]


@given(strategy=strategy_specs(max_legs=6))
def test_groups_follow_the_order_rule(strategy: StrategySpec) -> None:
    groups = order_groups(strategy.legs, strategy.order_rule)
    assert len(groups) == len(strategy.legs)
    assert min(groups) == 0
    if strategy.order_rule == "PARALLEL":
        assert set(groups) == {0}
    elif strategy.order_rule == "AS_LISTED":
        assert groups == list(range(len(groups)))
    else:
        for leg, group in zip(strategy.legs, groups, strict=True):
            others = {other.side for other in strategy.legs}
            assert group == (1 if leg.side == "SELL" and "BUY" in others else 0)


def test_the_hedges_of_an_iron_condor_go_first() -> None:
    strategy = strategy_spec(IRON_CONDOR_LEGS, order_rule="BUY_FIRST")
    orders = plan_entry(strategy, resolve(strategy), Decimal(2), None)
    assert [(o.group, str(o.side), o.quantity) for o in orders] == [
        (0, "BUY", 130),
        (0, "BUY", 130),
        (1, "SELL", 130),
        (1, "SELL", 130),
    ]


def test_a_half_multiplier_rounds_down() -> None:
    strategy = strategy_spec([leg_spec(lots=3)])
    (order,) = plan_entry(strategy, resolve(strategy), Decimal("0.50"), None)
    assert order.quantity == 65


# -- what is refused before anything is sent -----------------------------------------------------
def test_a_ratio_of_2_to_1_is_not_traded_3_to_1() -> None:
    """Selling 2 and buying 1 is refused at one and a half. A new version changed the ratio for a
    subscriber whose multiplier had fitted before."""
    strategy = strategy_spec([leg_spec("SELL", lots=2, key="two"), leg_spec("BUY", key="one")])
    with pytest.raises(PlanError) as caught:
        plan_entry(strategy, resolve(strategy), Decimal("1.50"), None)
    assert caught.value.cause == "RATIO_CHANGED"
    assert caught.value.message == "two and one: 2:1 x 1.5 -> 3:1."
    assert len(plan_entry(strategy, resolve(strategy), Decimal(2), None)) == 2, "the control"


@given(strategy=strategy_specs(), multiplier=multipliers)
def test_what_is_planned_has_the_ratio_that_was_written(
    strategy: StrategySpec, multiplier: Decimal
) -> None:
    zero = any(leg.lots * multiplier < 1 for leg in strategy.legs)
    if zero or changed_ratio(strategy.legs, multiplier):
        with pytest.raises(PlanError) as caught:
            plan_entry(strategy, resolve(strategy), multiplier, None)
        assert caught.value.cause == ("LOTS_ZERO" if zero else "RATIO_CHANGED")
        return
    orders = plan_entry(strategy, resolve(strategy), multiplier, None)
    units: dict[int, int] = defaultdict(int)
    for order in orders:
        units[order.leg_index] += order.quantity
    first = strategy.legs[0]
    for index, leg in enumerate(strategy.legs):
        assert units[index] * first.lots == units[0] * leg.lots


def test_more_slices_than_fit_the_grace_are_refused() -> None:
    """All 130 slices are refused in a grace of 12 s, instead of 108 bought and unwound."""
    strategy = strategy_spec([leg_spec("BUY", key="long"), leg_spec("SELL", key="short")])
    pace = EntryPace((Window(1.0, 10),), 12.0)
    with pytest.raises(PlanError) as caught:
        plan_entry(strategy, resolve(strategy), Decimal(65), 1, pace)
    assert caught.value.cause == "TOO_MANY_ORDERS"
    assert caught.value.message.startswith("130 orders")
    # 8 a second beside the reserves for exits and jitter; a second each for the change of groups
    # and the last order's way
    assert len(plan_entry(strategy, resolve(strategy), Decimal(40), 1, pace)) == 80


def test_more_slices_than_the_column_holds_are_refused() -> None:
    """A multiplier of 33,000 with one lot an order is refused before slice 32,768. Both pass the
    API; the slice did not pass the column, and nobody's run was committed."""
    strategy = strategy_spec([leg_spec()])
    with pytest.raises(PlanError) as caught:
        plan_entry(strategy, resolve(strategy), Decimal(33_000), 1)
    assert caught.value.cause == "TOO_MANY_ORDERS"
    assert "33000 orders" in caught.value.message


def test_a_milliard_of_orders_is_refused_without_making_one() -> None:
    strategy = strategy_spec([leg_spec(lots=5_000)])
    with pytest.raises(PlanError, match="4999999950 orders"):
        plan_entry(strategy, resolve(strategy), Decimal("999999.99"), 1)
