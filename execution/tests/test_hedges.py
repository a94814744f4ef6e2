"""A hedge leaves only with what it hedges, or after it (docs/adr/0032)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from brokers.base import Side
from execution import lifecycle
from execution.hedges import leaving_together, needed_hedges, standing_hedges
from execution.next_steps import next_steps
from execution.risk import Watch, move_to_cost
from execution.state import LiveExecution
from execution.steps import Situation
from execution.tests.inmemory import committed
from execution.tests.strategies import strategy_specs
from marketplace.definition import LegSpec, StrategySpec
from marketplace.tests.factories import IRON_CONDOR_LEGS, leg_spec, strategy_spec

legs_of = strategy_specs(max_legs=6).map(lambda strategy: strategy.legs)


def opened(strategy: StrategySpec) -> LiveExecution:
    """Everything filled, OPEN."""
    execution = committed(strategy)
    for intent in execution.intents:
        intent.sends, intent.state, intent.filled_quantity = 1, lifecycle.FILLED, intent.quantity
    execution.status = "OPEN"
    return execution


def steps_of(execution: LiveExecution, **fields: Any) -> list[str]:
    """Legs that leave now."""
    situation = Situation(now_mono=1000.0, grace_over=False, exit_due=False, **fields)
    return [order.leg_key for order in next_steps(execution, situation).exits]


def close(execution: LiveExecution, leg_key: str) -> None:
    """The leg is flat."""
    execution.closed_outside[leg_key] = -execution.open_quantity(leg_key)


def naked(legs: tuple[LegSpec, ...], units: dict[str, int]) -> dict[str, int]:
    """Sold units without a bought one beside them, by option type."""
    uncovered = {}
    for kind in ("CE", "PE"):
        quantities = [units.get(leg.key, 0) for leg in legs if leg.option_type == kind]
        uncovered[kind] = max(0, -sum(quantities))
    return uncovered


def held(legs: tuple[LegSpec, ...]) -> dict[str, int]:
    return {leg.key: leg.lots * Side(leg.side).sign for leg in legs}


# -- as it was seen ------------------------------------------------------------------------------
def test_legs_to_cost_leave_the_other_sides_hedge_alone() -> None:
    """The call was stopped, the put's wing (bought at 20, now 12) was sold "at cost" at once, and
    the sold put stayed naked."""
    legs = strategy_spec(IRON_CONDOR_LEGS).legs
    call, put = (
        next(g for g in legs if (g.side, g.option_type) == ("SELL", t)) for t in ("CE", "PE")
    )
    watches = [Watch(leg.key, Side(leg.side), Decimal(20), None, None) for leg in legs]
    moved = move_to_cost(watches, call.key, "ALL_LEGS", standing_hedges(legs, {call.key}))
    wings = {leg.option_type: leg.key for leg in legs if leg.side == "BUY"}
    assert put.key in moved
    assert wings["PE"] not in moved, "it hedges the sold put that stays"
    assert wings["CE"] in moved, "what it hedged has left"


def test_a_stopped_hedge_takes_along_what_it_hedges() -> None:
    """A hedge that hits its own stop leaves last."""
    execution = opened(strategy_spec(IRON_CONDOR_LEGS))
    legs = execution.run.strategy.legs
    wing = next(leg for leg in legs if (leg.side, leg.option_type) == ("BUY", "PE"))
    put = next(leg for leg in legs if (leg.side, leg.option_type) == ("SELL", "PE"))
    execution.run.leg_exits[wing.key] = "STOP"
    assert steps_of(execution) == [put.key]
    close(execution, put.key)
    assert steps_of(execution) == [wing.key]
    close(execution, wing.key)
    assert steps_of(execution) == [], "the call side stays as it was written"


def test_a_second_hedge_that_covers_nothing_more_leaves_alone() -> None:
    legs = (
        leg_spec("SELL", "CE", key="short"),
        leg_spec("BUY", "CE", "OTM6", key="near"),
        leg_spec("BUY", "CE", "OTM9", key="far"),
    )
    execution = opened(strategy_spec(legs))
    execution.run.leg_exits["far"] = "TARGET"
    assert steps_of(execution) == ["far"]


def test_a_hedge_waits_for_a_sold_entry_that_may_still_fill() -> None:
    execution = opened(
        strategy_spec((leg_spec("BUY", "CE", key="wing"), leg_spec("SELL", "CE", key="short")))
    )
    short = next(i for i in execution.intents if i.leg_key == "short")
    short.state, short.filled_quantity, short.unknown_since_mono = lifecycle.UNKNOWN, 0, 1000.0
    execution.run.leg_exits["wing"] = "STOP"
    assert steps_of(execution) == []


# -- in general ----------------------------------------------------------------------------------
@given(legs=legs_of)
def test_a_needed_hedge_is_one_without_which_more_is_naked(legs: tuple[LegSpec, ...]) -> None:
    """Both directions: every bought leg that would leave more naked is needed, no other one is."""
    units = held(legs)
    needed = needed_hedges(legs, units)
    before = naked(legs, units)
    for leg in legs:
        after = naked(legs, {**units, leg.key: 0})
        worse = leg.side == "BUY" and after[leg.option_type] > before[leg.option_type]
        assert (leg.key in needed) == worse


@given(legs=legs_of, data=st.data())
def test_no_step_leaves_more_naked(legs: tuple[LegSpec, ...], data: st.DataObject) -> None:
    """After any stops, in whichever order exits fill, nothing sold is less covered than before."""
    execution = opened(strategy_spec(legs))
    stopped = data.draw(st.lists(st.sampled_from([leg.key for leg in legs]), unique=True))
    execution.run.leg_exits.update(dict.fromkeys(stopped, "STOP"))
    while leaving := steps_of(execution):
        before = naked(legs, execution.open_legs())
        close(execution, data.draw(st.sampled_from(leaving)))
        after = naked(legs, execution.open_legs())
        assert all(after[kind] <= before[kind] for kind in after)
    for leg_key in stopped:
        assert not execution.open_quantity(leg_key), "a level that was hit is kept"


@given(legs=legs_of, data=st.data())
def test_only_what_a_leaving_hedge_hedges_is_taken_along(
    legs: tuple[LegSpec, ...], data: st.DataObject
) -> None:
    stops = dict.fromkeys(
        data.draw(st.lists(st.sampled_from([leg.key for leg in legs]), unique=True)), "STOP"
    )
    together = leaving_together(legs, held(legs), stops)
    types = {leg.option_type for leg in legs if leg.key in stops and leg.side == "BUY"}
    for leg in legs:
        if leg.key in together and leg.key not in stops:
            assert leg.side == "SELL"
            assert leg.option_type in types
