"""Kinds of strike, stop and target rules: one registered validator per kind. Pure.

A rule is stored as ``{kind, params}`` with text params, so a new kind (PREMIUM_CLOSEST, a trailing
stop) is one more registration here and needs no migration (docs/contributing.md#add-a-strike-rule).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final, Protocol

from marketplace.definition import RuleSpec
from quantleap.core.decimals import trimmed
from quantleap.core.identifiers import ascii_upper

MAX_ITM: Final = 20
MAX_OTM: Final = 30
MAX_POINTS: Final = Decimal(100_000)
MAX_PERCENT: Final = Decimal(10_000)
FULL_PERCENT: Final = Decimal(100)

#: Every moneyness an author can choose, deepest in the money first.
MONEYNESS: Final = (
    *(f"ITM{steps}" for steps in range(MAX_ITM, 0, -1)),
    "ATM",
    *(f"OTM{steps}" for steps in range(1, MAX_OTM + 1)),
)


class RuleError(ValueError):
    """The rule is invalid; ``param`` is the offending parameter ('' for the kind itself)."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param
        self.message = message


@dataclass(frozen=True, slots=True)
class RuleContext:
    """What a validator may need to know about the leg. ``purpose``: strike, stop or target."""

    side: str
    purpose: str


class Validator(Protocol):
    """Checks params and returns them in canonical form (RuleError otherwise)."""

    def __call__(self, params: Mapping[str, str], context: RuleContext, /) -> Mapping[str, str]: ...


class Describer(Protocol):
    """Describes a rule in words, for people who do not read params."""

    def __call__(self, params: Mapping[str, str], context: RuleContext, /) -> str: ...


@dataclass(frozen=True, slots=True)
class RuleKind:
    """One kind: its label in the console, its params, its validator, its description."""

    kind: str
    label: str
    params: tuple[str, ...]
    validate: Validator
    describe: Describer


class RuleRegistry:
    """Kinds by name, in order of registration."""

    def __init__(self, purpose: str) -> None:
        self.purpose = purpose
        self._kinds: dict[str, RuleKind] = {}

    def register(self, kind: RuleKind) -> None:
        """Add a kind; a second one of the same name is a programming error."""
        if kind.kind in self._kinds:
            raise RuntimeError(f"{self.purpose} kind {kind.kind} is already registered")
        self._kinds[kind.kind] = kind

    def kinds(self) -> tuple[RuleKind, ...]:
        """Every kind."""
        return tuple(self._kinds.values())

    def get(self, kind: str) -> RuleKind:
        """The kind of that name; RuleError lists the known ones."""
        rule_kind = self._kinds.get(kind)
        if rule_kind is None:
            known = ", ".join(self._kinds)
            raise RuleError("", f"{kind or 'An empty kind'} is unknown; choose {known}.")
        return rule_kind


STRIKE_RULES: Final = RuleRegistry("strike")
EXIT_RULES: Final = RuleRegistry("stop and target")


def registry_of(purpose: str) -> RuleRegistry:
    """The registry of a purpose (strike, stop, target)."""
    return STRIKE_RULES if purpose == "strike" else EXIT_RULES


def check_rule(rule: RuleSpec, *, side: str, purpose: str) -> RuleSpec:
    """The rule in canonical form; RuleError with a message if it is invalid."""
    kind = registry_of(purpose).get(rule.kind)
    wrong = sorted(set(rule.params) ^ set(kind.params))
    if wrong:
        if wrong[0] in kind.params:
            raise RuleError(wrong[0], f"{kind.label} needs a {wrong[0]}.")
        raise RuleError(wrong[0], f"{kind.label} has no {wrong[0]}.")
    return RuleSpec(rule.kind, kind.validate(rule.params, RuleContext(side, purpose)))


def describe_rule(rule: RuleSpec, *, side: str, purpose: str) -> str:
    """The rule in words: ``stop at premium + 25 %``."""
    return registry_of(purpose).get(rule.kind).describe(rule.params, RuleContext(side, purpose))


def parse_moneyness(text: str) -> int:
    """Strikes away from the money, out of the money positive: OTM4 -> 4, ATM -> 0, ITM2 -> -2.
    RuleError."""
    if text not in MONEYNESS:
        raise RuleError("moneyness", f"Choose ITM{MAX_ITM} to ITM1, ATM, or OTM1 to OTM{MAX_OTM}.")
    if text == "ATM":
        return 0
    steps = int(text[3:])
    return steps if text.startswith("OTM") else -steps


def _positive(params: Mapping[str, str], limit: Decimal, unit: str) -> Decimal:
    """A positive amount with at most two decimals, below ``limit``."""
    text = params["value"].strip()
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise RuleError("value", f"{text or 'Nothing'} is not a number.") from error
    if not value.is_finite() or not 0 < value <= limit:
        raise RuleError("value", f"Must be above 0 and at most {limit} {unit}.")
    if value != value.quantize(Decimal("0.01")):
        raise RuleError("value", "At most two decimals.")
    return value


def falls_to_zero(context: RuleContext) -> bool:
    """Whether the level lies below the entry price, where 100 % is the floor of a premium."""
    return (context.side == "BUY") == (context.purpose == "stop")


def _check_moneyness(params: Mapping[str, str], _context: RuleContext) -> Mapping[str, str]:
    text = ascii_upper(params["moneyness"].strip())
    parse_moneyness(text)
    return {"moneyness": text}


def _say_moneyness(params: Mapping[str, str], _context: RuleContext) -> str:
    steps = parse_moneyness(params["moneyness"])
    if steps == 0:
        return "at the money"
    way = "out of" if steps > 0 else "in"
    noun = "strike" if abs(steps) == 1 else "strikes"
    return f"{abs(steps)} {noun} {way} the money"


def _check_percent(params: Mapping[str, str], context: RuleContext) -> Mapping[str, str]:
    value = _positive(params, MAX_PERCENT, "percent")
    if falls_to_zero(context) and value >= FULL_PERCENT:
        leg = "bought" if context.side == "BUY" else "sold"
        message = f"A {leg} leg's {context.purpose} must be below 100 percent of its premium."
        raise RuleError("value", message)
    return {"value": trimmed(value)}


def _check_points(params: Mapping[str, str], context: RuleContext) -> Mapping[str, str]:
    value = _positive(params, MAX_POINTS, f"points of {context.purpose}")
    return {"value": trimmed(value)}


def _say_level(params: Mapping[str, str], context: RuleContext, unit: str) -> str:
    sign = "-" if falls_to_zero(context) else "+"
    return f"{context.purpose} at entry premium {sign} {params['value']}{unit}"


def _say_percent(params: Mapping[str, str], context: RuleContext) -> str:
    return _say_level(params, context, " %")


def _say_points(params: Mapping[str, str], context: RuleContext) -> str:
    return _say_level(params, context, " points")


STRIKE_RULES.register(
    RuleKind(
        "STRIKE_TYPE", "Strikes from the money", ("moneyness",), _check_moneyness, _say_moneyness
    )
)
EXIT_RULES.register(
    RuleKind("PREMIUM_PERCENT", "Percent", ("value",), _check_percent, _say_percent)
)
EXIT_RULES.register(RuleKind("PREMIUM_POINTS", "Points", ("value",), _check_points, _say_points))
