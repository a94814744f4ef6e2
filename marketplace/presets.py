"""Presets: well-known strategies from which to start a template. Pure.

A preset only fills an empty form; what is saved is the content of the form.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from marketplace.definition import Definition, LegSpec, RuleSpec, StrategySpec

ENTRY: Final = dt.time(9, 20)
EXIT: Final = dt.time(15, 15)


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """A preset; ``slug`` for the page's address, ``name`` and ``tags`` for the catalogue."""

    slug: str
    label: str
    description: str
    name: str
    tags: tuple[str, ...]
    definition: Definition


def _leg(
    side: str, option_type: str, moneyness: str, expiry: str, stop: RuleSpec | None = None
) -> LegSpec:
    strike = RuleSpec("STRIKE_TYPE", {"moneyness": moneyness})
    return LegSpec("", side, option_type, 1, expiry, strike, stop, None)


def _strategy(
    name: str,
    legs: tuple[LegSpec, ...],
    *,
    underlying: str = "NIFTY",
    square_off: str = "PARTIAL",
    move_to_cost: str = "OFF",
) -> Definition:
    strategy = StrategySpec(
        key="",
        name=name,
        underlying=underlying,
        entry_time=ENTRY,
        exit_time=EXIT,
        weekdays=(),
        special_sessions=False,
        product="INTRADAY",
        order_rule="BUY_FIRST",
        square_off=square_off,
        move_to_cost=move_to_cost,
        leg_failure="UNWIND_FILLED",
        legs=legs,
    )
    return Definition((strategy,))


_STOP_25: Final = RuleSpec("PREMIUM_PERCENT", {"value": "25"})

STARTING_POINTS: Final = (
    StartingPoint(
        "iron_condor",
        "Iron condor",
        "Sells a strangle, buys the wings: loss limited on both sides.",
        "NIFTY Iron Condor - Weekly",
        ("NIFTY", "WEEKLY", "IRON_CONDOR"),
        _strategy(
            "Iron condor",
            (
                _leg("BUY", "PE", "OTM8", "WEEKLY"),
                _leg("SELL", "PE", "OTM4", "WEEKLY"),
                _leg("SELL", "CE", "OTM4", "WEEKLY"),
                _leg("BUY", "CE", "OTM8", "WEEKLY"),
            ),
            square_off="COMPLETE",
        ),
    ),
    StartingPoint(
        "short_straddle",
        "Short straddle",
        "Sells call and put at the money, 25 % stop on each, the other moves to cost.",
        "NIFTY Short Straddle - 25 % stops",
        ("NIFTY", "WEEKLY", "STRADDLE"),
        _strategy(
            "Short straddle",
            (
                _leg("SELL", "CE", "ATM", "WEEKLY", _STOP_25),
                _leg("SELL", "PE", "ATM", "WEEKLY", _STOP_25),
            ),
            move_to_cost="ALL_LEGS",
        ),
    ),
    StartingPoint(
        "bull_call_spread",
        "Bull call spread",
        "Buys a call at the money, sells one further out: a limited bet on a rise.",
        "BANKNIFTY Bull Call Spread - Monthly",
        ("BANKNIFTY", "MONTHLY", "SPREAD"),
        _strategy(
            "Bull call spread",
            (
                _leg("BUY", "CE", "ATM", "MONTHLY"),
                _leg("SELL", "CE", "OTM5", "MONTHLY"),
            ),
            underlying="BANKNIFTY",
            square_off="COMPLETE",
        ),
    ),
    StartingPoint(
        "blank",
        "Blank",
        "One strategy without legs.",
        "",
        (),
        _strategy("Strategy 1", ()),
    ),
)


def starting_point(slug: str) -> StartingPoint:
    """The preset with that slug; the blank one for an unknown slug."""
    return next((point for point in STARTING_POINTS if point.slug == slug), STARTING_POINTS[-1])
