"""Whether a definition can be traded, as findings that an author can act on. Pure.

The same findings appear beside the form's fields, prevent a publication, and answer the admin API.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from marketplace.calendar import Hours
from marketplace.definition import Definition, LegSpec, RuleSpec, StrategySpec, leg_label
from marketplace.rules import RuleError, check_rule
from marketplace.square_offs import SquareOff, limits

MAX_LEGS: Final = 20
MAX_STRATEGIES: Final = 10


@dataclass(frozen=True, slots=True)
class Market:
    """What is known about the market. An underlying without a contract list is in no mapping.

    ``weekly`` says whether a weekly expiry is listed; ``hours`` are the ordinary session hours in
    force (None: unknown, so not checked), ``square_offs`` the brokers' cut-offs in force;
    ``underlyings`` the tradable symbols.
    """

    underlyings: frozenset[str]
    weekly: Mapping[str, bool] = field(default_factory=dict)
    hours: Hours | None = None
    square_offs: tuple[SquareOff, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. ``leg`` None: it concerns the strategy; both None: the template."""

    strategy: int | None
    leg: int | None
    field: str
    message: str
    place: str = ""

    @property
    def path(self) -> str:
        """Dotted path as in error details: ``strategies.0.legs.1.expiry``."""
        parts: list[str] = []
        if self.strategy is not None:
            parts += ["strategies", str(self.strategy)]
        if self.leg is not None:
            parts += ["legs", str(self.leg)]
        return ".".join([*parts, self.field])

    @property
    def words(self) -> str:
        """The message with the strategy and leg that it is about."""
        return f"{self.place}: {self.message}" if self.place else self.message


def check_definition(definition: Definition, market: Market) -> list[Finding]:
    """Everything wrong with ``definition`` in ``market``; empty when it can be published."""
    if not definition.strategies:
        return [Finding(None, None, "strategies", "Add at least one strategy.")]
    findings: list[Finding] = []
    if len(definition.strategies) > MAX_STRATEGIES:
        message = f"At most {MAX_STRATEGIES} strategies."
        findings.append(Finding(None, None, "strategies", message))
    names: set[str] = set()
    for index, strategy in enumerate(definition.strategies):
        for name, message in strategy_findings(strategy, market):
            findings.append(Finding(index, None, name, message, strategy.name))
        if strategy.name in names:
            message = "Another strategy has this name; choose a different one."
            findings.append(Finding(index, None, "name", message, strategy.name))
        names.add(strategy.name)
        for number, leg in enumerate(strategy.legs):
            place = f"{strategy.name}, leg {number + 1} ({leg_label(leg)})"
            for name, message in leg_findings(leg, strategy.underlying, market):
                findings.append(Finding(index, number, name, message, place))
    return findings


def strategy_findings(strategy: StrategySpec, market: Market) -> Iterator[tuple[str, str]]:
    """(field, message) of what is wrong with a strategy apart from its legs."""
    if not strategy.name.strip():
        yield "name", "Give the strategy a name."
    if strategy.underlying not in market.underlyings:
        known = ", ".join(sorted(market.underlyings)) or "none yet"
        yield "underlying", f"{strategy.underlying} is not traded here; choose one of: {known}."
    yield from time_findings(
        strategy.entry_time, strategy.exit_time, market.hours, market.square_offs
    )
    if len(set(strategy.weekdays)) != len(strategy.weekdays):
        yield "weekdays", "A weekday is named twice."
    if not strategy.legs:
        yield "legs", "Add at least one leg."
    if len(strategy.legs) > MAX_LEGS:
        yield "legs", f"At most {MAX_LEGS} legs."
    has_stop = any(leg.stop is not None for leg in strategy.legs)
    if strategy.move_to_cost != "OFF" and not has_stop:
        yield "move_to_cost", "Needs a leg with a stop; otherwise nothing ever moves to cost."


def time_findings(
    entry: dt.time, leave: dt.time, hours: Hours | None, square_offs: Sequence[SquareOff] = ()
) -> Iterator[tuple[str, str]]:
    """What is wrong with entry and exit times (IST) by the ordinary session hours.

    ``square_offs`` are the brokers' cut-offs in force; each message names the limit.
    """
    if leave <= entry:
        yield "exit_time", f"Must be after the entry time {entry:%H:%M:%S}."
    if hours is None:
        return
    allowed = limits(hours, square_offs)
    if entry < hours.opens:
        yield "entry_time", f"The session opens at {hours.opens:%H:%M} IST."
    elif entry < allowed.earliest:
        yield (
            "entry_time",
            f"Not before {allowed.earliest:%H:%M:%S} IST: {allowed.why_earliest}.",
        )
    if entry >= hours.closes:
        yield "entry_time", f"The session closes at {hours.closes:%H:%M} IST."
    if leave > allowed.latest and leave > entry:
        yield "exit_time", f"Not after {allowed.latest:%H:%M:%S} IST: {allowed.why_latest}."


def leg_findings(leg: LegSpec, underlying: str, market: Market) -> Iterator[tuple[str, str]]:
    """(field, message) of what is wrong with a leg of a strategy on ``underlying``."""
    if leg.lots < 1:
        yield "lots", "At least 1 lot."
    if leg.option_type == "FUT":
        yield "option_type", "Futures legs cannot be traded yet; choose CE or PE."
    if leg.expiry == "WEEKLY" and market.weekly.get(underlying) is False:
        yield "expiry", f"{underlying} has no weekly expiry; choose MONTHLY."
    rules: tuple[tuple[str, RuleSpec | None], ...] = (
        ("strike", leg.strike),
        ("stop", leg.stop),
        ("target", leg.target),
    )
    for purpose, rule in rules:
        if rule is None:
            continue
        try:
            check_rule(rule, side=leg.side, purpose=purpose)
        except RuleError as error:
            yield purpose, error.message
