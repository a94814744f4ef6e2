"""Strategies described in words, for the catalogue, the publish page and the history. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from marketplace.definition import LegSpec, RuleSpec, StrategySpec, leg_label
from marketplace.rules import RuleError, describe_rule

WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
ORDER_RULE_WORDS: Final[Mapping[str, str]] = {
    "BUY_FIRST": "Bought legs are placed first, sold legs when they are filled.",
    "AS_LISTED": "Legs are placed one after another, as listed.",
    "PARALLEL": "All legs are placed at once.",
}
SQUARE_OFF_WORDS: Final[Mapping[str, str]] = {
    "PARTIAL": (
        "A leg that hits its stop or target is closed alone; "
        "a bought leg takes along the sold legs that only it hedges."
    ),
    "COMPLETE": "When one leg hits its stop or target, all legs are closed.",
}
MOVE_TO_COST_WORDS: Final[Mapping[str, str]] = {
    "OFF": "",
    "ALL_LEGS": (
        "When one leg stops, the stops of all other legs move to their entry price; "
        "a bought leg keeps its own while it hedges a sold one."
    ),
    "SL_LEGS_ONLY": (
        "When one leg stops, the other legs' stops move to their entry price; "
        "legs without a stop stay without, and a bought leg keeps its own while it hedges a sold "
        "one."
    ),
}
LEG_FAILURE_WORDS: Final[Mapping[str, str]] = {
    "UNWIND_FILLED": "If a leg cannot be entered, what was filled is closed again.",
    "KEEP_HEDGES": "If a leg cannot be entered, sold legs are closed and bought legs kept.",
    "ALERT": "If a leg cannot be entered, the rest stays and a person is alerted.",
}


def weekday_words(days: tuple[int, ...]) -> str:
    """``Mon, Tue`` or ``every trading day``."""
    return ", ".join(WEEKDAYS[day] for day in days) or "every trading day"


def rule_words(rule: RuleSpec | None, *, side: str, purpose: str) -> str:
    """A rule in words, ``none`` if there is none; an unknown kind is named, not hidden."""
    if rule is None:
        return "none"
    try:
        return describe_rule(rule, side=side, purpose=purpose)
    except RuleError:
        return f"{rule.kind} {dict(rule.params)}"


def leg_words(leg: LegSpec) -> str:
    """A leg with its rules: ``SELL CE ATM WEEKLY, 1 lot, stop at entry premium + 25 %``."""
    lots = "1 lot" if leg.lots == 1 else f"{leg.lots} lots"
    parts = [leg_label(leg), lots]
    for purpose, rule in (("stop", leg.stop), ("target", leg.target)):
        if rule is not None:
            parts.append(rule_words(rule, side=leg.side, purpose=purpose))
    return ", ".join(parts)


def strategy_words(strategy: StrategySpec) -> list[str]:
    """The strategy's rules, one sentence each."""
    days = weekday_words(strategy.weekdays)
    lines = [
        f"Enters at {strategy.entry_time:%H:%M:%S} and exits by {strategy.exit_time:%H:%M:%S} "
        f"IST, {days}.",
        ORDER_RULE_WORDS.get(strategy.order_rule, strategy.order_rule),
        SQUARE_OFF_WORDS.get(strategy.square_off, strategy.square_off),
        MOVE_TO_COST_WORDS.get(strategy.move_to_cost, strategy.move_to_cost),
        LEG_FAILURE_WORDS.get(strategy.leg_failure, strategy.leg_failure),
    ]
    if strategy.special_sessions:
        lines.append("Also trades in special sessions (Budget day, Muhurat).")
    return [line for line in lines if line]
