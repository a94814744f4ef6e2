"""Which listed strike a rule means. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from marketplace.definition import RuleSpec
from marketplace.rules import RuleError, parse_moneyness


class StrikeError(ValueError):
    """No listed strike satisfies the rule."""


def at_the_money(strikes: Sequence[Decimal], spot: Decimal) -> Decimal:
    """The listed strike nearest to ``spot`` (rupees); of two equally near ones the lower."""
    if not strikes:
        raise StrikeError("no strikes are listed")
    return min(strikes, key=lambda strike: (abs(strike - spot), strike))


def select_strike(
    strikes: Sequence[Decimal], spot: Decimal, option_type: str, rule: RuleSpec
) -> Decimal:
    """The strike (rupees) that ``rule`` means for a CE or PE at ``spot``.

    STRIKE_TYPE counts *listed* strikes from the at-the-money one, because steps differ between
    near and far strikes: out of the money is up for a call, down for a put. StrikeError when the
    list does not reach that far, or for a kind or option type that has no strike.
    """
    if rule.kind != "STRIKE_TYPE":
        raise StrikeError(f"strike kind {rule.kind} is not known")
    if option_type not in ("CE", "PE"):
        raise StrikeError(f"{option_type} has no strike")
    try:
        steps = parse_moneyness(rule.params.get("moneyness", ""))
    except RuleError as error:
        raise StrikeError(error.message) from error
    ladder = sorted(set(strikes))
    wanted = ladder.index(at_the_money(ladder, spot)) + (steps if option_type == "CE" else -steps)
    if not 0 <= wanted < len(ladder):
        listed = f"{ladder[0]} to {ladder[-1]}"
        raise StrikeError(f"{rule.params['moneyness']} {option_type} at {spot} is beyond {listed}")
    return ladder[wanted]
