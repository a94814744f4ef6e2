"""The story's arithmetic, beside numbers worked out by hand."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest

from clients.demo.story import (
    CONDOR,
    PLANS,
    REFUSED,
    STRADDLE,
    ZEBU,
    ZERODHA,
    Leg,
    expected,
    make_story,
)

CONDOR_PLAN, STRADDLE_PLAN = PLANS


def test_full_story_has_the_customers_that_were_asked_for() -> None:
    story = make_story()
    brokers = Counter(customer.broker for customer in story.customers)
    assert brokers == {ZEBU: 200, ZERODHA: 50}
    assert len({customer.client_id for customer in story.customers}) == 250
    assert {customer.multiplier for customer in story.customers} == {
        Decimal(1),
        Decimal(2),
        Decimal("0.5"),
    }


def test_each_of_five_faults_strikes_one_customer_who_trades() -> None:
    faulty = make_story(24, 8).faulty()
    assert len({fault.name for _, fault in faulty}) == len(faulty) == 5
    assert not any(customer.absent for customer, _ in faulty)


def test_three_customers_do_not_trade_for_three_reasons() -> None:
    absent = [customer.absent for customer in make_story(24, 8).absent()]
    assert sorted(absent) == ["CANCELLED", "PAUSED", "SESSION_EXPIRED"]


def test_half_a_lot_is_illegal_in_a_straddle_only() -> None:
    """Each customer with half a lot may follow the condor."""
    story = make_story(24, 8)
    half = [customer for customer in story.customers if customer.multiplier == Decimal("0.5")]
    assert {plan.key for customer, plan in story.illegal()} == {STRADDLE}
    assert [customer for customer, _ in story.illegal()] == half
    assert all(customer.may_follow(CONDOR_PLAN) for customer in half)


@pytest.mark.parametrize(
    ("spot", "leg", "strike"),
    [
        ("25000", Leg("SELL", "CE", 0, 1), 25000),
        ("25024.95", Leg("SELL", "CE", 0, 1), 25000),
        ("25025", Leg("SELL", "CE", 0, 1), 25000),  # a tie goes down
        ("25025.05", Leg("SELL", "PE", 0, 1), 25050),
        ("25000", Leg("SELL", "CE", 2, 1), 25100),
        ("25000", Leg("BUY", "PE", 4, 1), 24800),
    ],
)
def test_strikes(spot: str, leg: Leg, strike: int) -> None:
    assert leg.strike(Decimal(spot)) == strike


def test_orders_of_one_and_of_many_slices() -> None:
    story = make_story(24, 8)
    sliced = next(c for c in story.customers if c.max_lots_per_order)
    condor = expected(sliced, CONDOR_PLAN)
    assert [order.lots for order in condor.orders] == [3, 1] * 4  # 2 lots x 2, at most 3 an order
    plain = next(c for c in story.customers if c.multiplier == 1 and not c.absent)
    assert [order.lots for order in expected(plain, CONDOR_PLAN).orders] == [2, 2, 2, 2]
    assert [order.lots for order in expected(plain, STRADDLE_PLAN).orders] == [1, 1]


def test_a_refused_customer_keeps_hedges_until_the_unwind() -> None:
    """Both sells are refused for margin, and both bought hedges are filled."""
    story = make_story(24, 8)
    refused = next(customer for customer, fault in story.faulty() if fault is REFUSED)
    assert [plan.key for customer, plan in story.subscriptions() if customer is refused] == [CONDOR]
    endings = Counter((o.leg.side, o.ending) for o in expected(refused, CONDOR_PLAN).orders)
    assert endings == {("SELL", "MARGIN"): 2, ("BUY", "FILLED"): 2}


def test_too_few_customers_for_the_story_are_refused() -> None:
    with pytest.raises(ValueError, match="needs at least"):
        make_story(5, 5)
