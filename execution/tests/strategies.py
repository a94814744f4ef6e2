"""Hypothesis strategies of prices, ticks and strategies, shared by this room's property tests."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import strategies as st

from brokers.base import Side
from marketplace.definition import LegSpec, StrategySpec
from marketplace.tests.factories import leg_spec, strategy_spec

sides = st.sampled_from(Side)
ticks = st.sampled_from([Decimal("0.05"), Decimal("0.10"), Decimal("0.25"), Decimal("1.00")])
#: Premiums to the paisa, also off the tick grid: levels are computed, not quoted.
premiums = st.decimals(Decimal("0.05"), Decimal(3000), places=2)
multipliers = st.decimals(Decimal("0.10"), Decimal(20), places=2)
order_rules = st.sampled_from(["BUY_FIRST", "AS_LISTED", "PARALLEL"])
leg_failures = st.sampled_from(["UNWIND_FILLED", "KEEP_HEDGES", "ALERT"])


@st.composite
def strategy_specs(draw: st.DrawFn, max_legs: int = 4, max_lots: int = 3) -> StrategySpec:
    """A strategy of 1 to ``max_legs`` legs with every order rule and leg-failure policy."""
    count = draw(st.integers(1, max_legs))
    legs: list[LegSpec] = [
        leg_spec(
            draw(st.sampled_from(["BUY", "SELL"])),
            draw(st.sampled_from(["CE", "PE"])),
            lots=draw(st.integers(1, max_lots)),
            key=f"leg-{index}",
        )
        for index in range(count)
    ]
    return strategy_spec(legs, order_rule=draw(order_rules), leg_failure=draw(leg_failures))
