"""The content of a template as plain values. Pure: no ORM, no clock.

A :class:`Definition` is what publishing freezes and what a run trades. Its JSON form has the same
names; times are ``HH:MM:SS`` (IST), and every number in a rule's params is a string, so that no
float ever stands between an author's 25.05 and the engine's.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

SIDES: Final = ("BUY", "SELL")
OPTIONS: Final = ("CE", "PE")
OPTION_TYPES: Final = (*OPTIONS, "FUT")
EXPIRIES: Final = ("WEEKLY", "MONTHLY")
PRODUCTS: Final = ("INTRADAY",)
ORDER_RULES: Final = ("BUY_FIRST", "AS_LISTED", "PARALLEL")
SQUARE_OFFS: Final = ("PARTIAL", "COMPLETE")
MOVES_TO_COST: Final = ("OFF", "ALL_LEGS", "SL_LEGS_ONLY")
LEG_FAILURES: Final = ("UNWIND_FILLED", "KEEP_HEDGES", "ALERT")
DAYS_OF_WEEK: Final = 7


class DefinitionError(ValueError):
    """The JSON is not a definition; ``path`` says where (``strategies.0.legs.1.side``)."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


@dataclass(frozen=True, slots=True)
class RuleSpec:
    """A rule by kind. marketplace.rules defines the kinds and the meaning of their params."""

    kind: str
    params: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LegSpec:
    """One leg. ``lots`` are base lots (before a subscriber's multiplier)."""

    key: str
    side: str
    option_type: str
    lots: int
    expiry: str
    strike: RuleSpec
    stop: RuleSpec | None
    target: RuleSpec | None


@dataclass(frozen=True, slots=True)
class StrategySpec:
    """One strategy. Times IST; ``weekdays`` 0 = Monday, empty = every trading day."""

    key: str
    name: str
    underlying: str
    entry_time: dt.time
    exit_time: dt.time
    weekdays: tuple[int, ...]
    special_sessions: bool
    product: str
    order_rule: str
    square_off: str
    move_to_cost: str
    leg_failure: str
    legs: tuple[LegSpec, ...]


@dataclass(frozen=True, slots=True)
class Definition:
    """All strategies of one template version."""

    strategies: tuple[StrategySpec, ...]


def leg_label(leg: LegSpec) -> str:
    """A leg as a trading desk would call it: ``SELL CE OTM4 WEEKLY``, ``BUY FUT MONTHLY``."""
    words = [leg.side, leg.option_type, _strike_word(leg), leg.expiry]
    return " ".join(word for word in words if word)


def _strike_word(leg: LegSpec) -> str:
    if leg.option_type == "FUT":
        return ""
    if leg.strike.kind == "STRIKE_TYPE":
        return leg.strike.params.get("moneyness", "?")
    values = ",".join(leg.strike.params.values())
    return f"{leg.strike.kind}({values})"


# -- to JSON ------------------------------------------------------------------------------------


def _rule_json(rule: RuleSpec | None) -> dict[str, Any] | None:
    return None if rule is None else {"kind": rule.kind, "params": dict(rule.params)}


def leg_json(leg: LegSpec) -> dict[str, Any]:
    """One leg as in the JSON form of a definition."""
    return {
        "key": leg.key,
        "side": leg.side,
        "option_type": leg.option_type,
        "lots": leg.lots,
        "expiry": leg.expiry,
        "strike": _rule_json(leg.strike),
        "stop": _rule_json(leg.stop),
        "target": _rule_json(leg.target),
    }


def strategy_json(strategy: StrategySpec) -> dict[str, Any]:
    """One strategy as in the JSON form of a definition."""
    return {
        "key": strategy.key,
        "name": strategy.name,
        "underlying": strategy.underlying,
        "entry_time": strategy.entry_time.isoformat("seconds"),
        "exit_time": strategy.exit_time.isoformat("seconds"),
        "weekdays": list(strategy.weekdays),
        "special_sessions": strategy.special_sessions,
        "product": strategy.product,
        "order_rule": strategy.order_rule,
        "square_off": strategy.square_off,
        "move_to_cost": strategy.move_to_cost,
        "leg_failure": strategy.leg_failure,
        "legs": [leg_json(leg) for leg in strategy.legs],
    }


def definition_json(definition: Definition) -> dict[str, Any]:
    """The JSON form; ``parse_definition`` reads it back to an equal value."""
    return {"strategies": [strategy_json(strategy) for strategy in definition.strategies]}


# -- from JSON ----------------------------------------------------------------------------------


def _object(value: Any, path: str, fields: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise DefinitionError(path, "must be an object")
    wrong = sorted(set(fields) ^ {str(name) for name in value})
    if wrong:
        what = "missing" if wrong[0] in fields else "unknown"
        raise DefinitionError(f"{path}.{wrong[0]}", f"{what} field")
    return value


def _list(value: Any, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise DefinitionError(path, "must be a list")
    return value


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str) or not value:
        raise DefinitionError(path, "must be a text")
    return value


def _choice(value: Any, path: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise DefinitionError(path, f"must be one of {', '.join(allowed)}")
    return str(value)


def _flag(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise DefinitionError(path, "must be true or false")
    return value


def _whole_number(value: Any, path: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise DefinitionError(path, f"must be a whole number from {low} to {high}")
    return value


_WALL_TIME: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d):([0-5]\d)", re.ASCII)


def _wall_time(value: Any, path: str) -> dt.time:
    match = _WALL_TIME.fullmatch(_text(value, path))
    if match is None:
        raise DefinitionError(path, "must be a time HH:MM:SS")
    hour, minute, second = match.groups()
    return dt.time(int(hour), int(minute), int(second))


def parse_rule(value: Any, path: str = "rule") -> RuleSpec:
    """Read ``{"kind": …, "params": {…}}``; every param must be text."""
    fields = _object(value, path, ("kind", "params"))
    params = fields["params"]
    if not isinstance(params, Mapping):
        raise DefinitionError(f"{path}.params", "must be an object")
    texts = {str(name): _text(param, f"{path}.params.{name}") for name, param in params.items()}
    return RuleSpec(_text(fields["kind"], f"{path}.kind"), texts)


def _optional_rule(value: Any, path: str) -> RuleSpec | None:
    return None if value is None else parse_rule(value, path)


_MAX_LOTS: Final = 100_000
_LEG_FIELDS: Final = tuple(LegSpec.__dataclass_fields__)
_STRATEGY_FIELDS: Final = tuple(StrategySpec.__dataclass_fields__)


def _parse_leg(value: Any, path: str) -> LegSpec:
    fields = _object(value, path, _LEG_FIELDS)
    return LegSpec(
        key=_text(fields["key"], f"{path}.key"),
        side=_choice(fields["side"], f"{path}.side", SIDES),
        option_type=_choice(fields["option_type"], f"{path}.option_type", OPTION_TYPES),
        lots=_whole_number(fields["lots"], f"{path}.lots", 1, _MAX_LOTS),
        expiry=_choice(fields["expiry"], f"{path}.expiry", EXPIRIES),
        strike=parse_rule(fields["strike"], f"{path}.strike"),
        stop=_optional_rule(fields["stop"], f"{path}.stop"),
        target=_optional_rule(fields["target"], f"{path}.target"),
    )


def _parse_strategy(value: Any, path: str) -> StrategySpec:
    fields = _object(value, path, _STRATEGY_FIELDS)
    days = _list(fields["weekdays"], f"{path}.weekdays")
    return StrategySpec(
        key=_text(fields["key"], f"{path}.key"),
        name=_text(fields["name"], f"{path}.name"),
        underlying=_text(fields["underlying"], f"{path}.underlying"),
        entry_time=_wall_time(fields["entry_time"], f"{path}.entry_time"),
        exit_time=_wall_time(fields["exit_time"], f"{path}.exit_time"),
        weekdays=tuple(_whole_number(day, f"{path}.weekdays", 0, DAYS_OF_WEEK - 1) for day in days),
        special_sessions=_flag(fields["special_sessions"], f"{path}.special_sessions"),
        product=_choice(fields["product"], f"{path}.product", PRODUCTS),
        order_rule=_choice(fields["order_rule"], f"{path}.order_rule", ORDER_RULES),
        square_off=_choice(fields["square_off"], f"{path}.square_off", SQUARE_OFFS),
        move_to_cost=_choice(fields["move_to_cost"], f"{path}.move_to_cost", MOVES_TO_COST),
        leg_failure=_choice(fields["leg_failure"], f"{path}.leg_failure", LEG_FAILURES),
        legs=tuple(
            _parse_leg(leg, f"{path}.legs.{index}")
            for index, leg in enumerate(_list(fields["legs"], f"{path}.legs"))
        ),
    )


def parse_definition(value: Any) -> Definition:
    """Read the decoded JSON form. DefinitionError names the first wrong path.

    Checks shape and types only; marketplace.validation checks whether it can be traded.
    """
    fields = _object(value, "definition", ("strategies",))
    strategies = _list(fields["strategies"], "strategies")
    return Definition(
        tuple(_parse_strategy(item, f"strategies.{i}") for i, item in enumerate(strategies))
    )
