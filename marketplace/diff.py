"""The difference between two definitions, field by field, as text. Pure.

Strategies and legs are matched by their keys, which stay the same over all versions, so moving a
leg is a move and not a removal and an addition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from marketplace.definition import Definition, LegSpec, StrategySpec, leg_label
from marketplace.descriptions import leg_words, rule_words, weekday_words


@dataclass(frozen=True, slots=True)
class Change:
    """One change. ``before`` is '' for an addition, ``after`` '' for a removal."""

    place: str
    field: str
    before: str
    after: str


_STRATEGY_FIELDS: Final[tuple[tuple[str, Callable[[StrategySpec], str]], ...]] = (
    ("Name", lambda s: s.name),
    ("Underlying", lambda s: s.underlying),
    ("Entry time", lambda s: s.entry_time.isoformat("seconds")),
    ("Exit time", lambda s: s.exit_time.isoformat("seconds")),
    ("Weekdays", lambda s: weekday_words(s.weekdays)),
    ("Special sessions", lambda s: "yes" if s.special_sessions else "no"),
    ("Product", lambda s: s.product),
    ("Order rule", lambda s: s.order_rule),
    ("Square off", lambda s: s.square_off),
    ("Move to cost", lambda s: s.move_to_cost),
    ("Leg failure", lambda s: s.leg_failure),
)

_LEG_FIELDS: Final[tuple[tuple[str, Callable[[LegSpec], str]], ...]] = (
    ("Side", lambda leg: leg.side),
    ("Option type", lambda leg: leg.option_type),
    ("Lots", lambda leg: str(leg.lots)),
    ("Expiry", lambda leg: leg.expiry),
    ("Strike", lambda leg: rule_words(leg.strike, side=leg.side, purpose="strike")),
    ("Stop", lambda leg: rule_words(leg.stop, side=leg.side, purpose="stop")),
    ("Target", lambda leg: rule_words(leg.target, side=leg.side, purpose="target")),
)


def changes(before: Definition | None, after: Definition) -> list[Change]:
    """Every difference; ``before`` None means a first version."""
    old = {} if before is None else {s.key: s for s in before.strategies}
    new = {s.key: s for s in after.strategies}
    differences: list[Change] = []
    for key, strategy in old.items():
        if key not in new:
            differences.append(Change(strategy.name, "Strategy", strategy.name, ""))
    for key, strategy in new.items():
        if key in old:
            differences.extend(_strategy_changes(old[key], strategy))
        else:
            differences.append(Change(strategy.name, "Strategy", "", strategy.name))
            for number, leg in enumerate(strategy.legs, start=1):
                differences.append(
                    Change(f"{strategy.name}, leg {number}", "Leg", "", leg_words(leg))
                )
    return differences + _order_change("", [*old], [*new], {k: s.name for k, s in new.items()})


def _strategy_changes(old: StrategySpec, new: StrategySpec) -> Iterator[Change]:
    for name, value in _STRATEGY_FIELDS:
        if value(old) != value(new):
            yield Change(new.name, name, value(old), value(new))
    before = {leg.key: leg for leg in old.legs}
    after = {leg.key: leg for leg in new.legs}
    for number, leg in enumerate(old.legs, start=1):
        if leg.key not in after:
            yield Change(f"{new.name}, leg {number}", "Leg", leg_words(leg), "")
    for number, leg in enumerate(new.legs, start=1):
        place = f"{new.name}, leg {number}"
        if leg.key not in before:
            yield Change(place, "Leg", "", leg_words(leg))
            continue
        for name, words in _LEG_FIELDS:
            if words(before[leg.key]) != words(leg):
                yield Change(
                    f"{place} ({leg_label(leg)})", name, words(before[leg.key]), words(leg)
                )
    yield from _order_change(
        new.name, [*before], [*after], {key: leg_label(leg) for key, leg in after.items()}
    )


def _order_change(
    place: str, before: list[str], after: list[str], names: dict[str, str]
) -> list[Change]:
    """A change of order among the items that both have."""
    old = [key for key in before if key in names]
    new = [key for key in after if key in before]
    if old == new:
        return []
    say = " | "
    return [
        Change(place, "Order", say.join(names[k] for k in old), say.join(names[k] for k in new))
    ]
