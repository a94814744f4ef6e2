"""The listed strike that a rule selects. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from marketplace.definition import OPTIONS, RuleSpec
from marketplace.rules import RuleError, parse_moneyness
from quantleap.core.decimals import trimmed


class StrikeError(ValueError):
    """No listed strike satisfies the rule."""


class LadderError(StrikeError):
    """The list of strikes cannot be right, so no strike of it is used."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One listed strike (rupees) with its contract's lot size (units); None if that is unknown."""

    strike: Decimal
    lot_size: int | None


#: Two neighbouring strikes around the index are closer to each other than this share of it: NSE and
#: BSE list the widest steps, 1,000 points, far from expiry and above 20,000 points.
WIDEST_STEP: Final = Decimal("0.05")
_WAY_OUT: Final = "Import today's contract list again; if it says the same, ask the broker."


def check_ladder(rungs: Sequence[Rung], spot: Decimal, name: str) -> Sequence[Decimal]:
    """The strikes (rupees, ascending) of a ladder that can belong to one product.

    ``name`` identifies the ladder ("SENSEX 13 Sep 2024 CE"). One expiry of one index has one lot
    size, and its strikes lie on both sides of the index level ``spot``. Otherwise another product's
    contracts, or half a list, have come under this name, and LadderError names the contract and the
    rule.
    """
    lots = Counter(rung.lot_size for rung in rungs if rung.lot_size is not None)
    if len(lots) > 1:
        common = lots.most_common(1)[0][0]
        odd = next(rung for rung in rungs if rung.lot_size not in (None, common))
        raise LadderError(
            f"{name} {trimmed(odd.strike)} has a lot of {odd.lot_size} units, others of this "
            f"expiry have {common}: one expiry has one lot. {_WAY_OUT}"
        )
    strikes = sorted({rung.strike for rung in rungs})
    if not strikes:
        raise StrikeError(f"{name}: no strikes are listed")
    if not strikes[0] <= spot <= strikes[-1]:
        raise LadderError(
            f"{name}: the strikes from {trimmed(strikes[0])} to {trimmed(strikes[-1])} "
            f"do not straddle the index at {spot}. {_WAY_OUT}"
        )
    below = max(strike for strike in strikes if strike <= spot)
    above = min(strike for strike in strikes if strike >= spot)
    if above - below > spot * WIDEST_STEP:
        raise LadderError(
            f"{name}: nothing is listed between {trimmed(below)} and "
            f"{trimmed(above)} around the index at {spot}. {_WAY_OUT}"
        )
    return strikes


def at_the_money(strikes: Sequence[Decimal], spot: Decimal) -> Decimal:
    """The listed strike nearest to ``spot`` (rupees); the lower one of two equally near ones."""
    if not strikes:
        raise StrikeError("no strikes are listed")
    return min(strikes, key=lambda strike: (abs(strike - spot), strike))


def strikes_around(
    strikes: Sequence[Decimal], level: Decimal, share: Decimal, option_type: str, rule: RuleSpec
) -> tuple[Decimal, ...]:
    """The strikes (rupees) that ``rule`` can select while the index stays within ``share`` of
    ``level``: the prices to request before the level of the entry second is known.

    StrikeError as :func:`select_strike`, at either end.
    """
    ends = [
        select_strike(strikes, level * (1 + sign * share), option_type, rule) for sign in (-1, 1)
    ]
    return tuple(strike for strike in sorted(set(strikes)) if min(ends) <= strike <= max(ends))


def select_strike(
    strikes: Sequence[Decimal], spot: Decimal, option_type: str, rule: RuleSpec
) -> Decimal:
    """The strike (rupees) that ``rule`` selects for a CE or PE at ``spot``.

    STRIKE_TYPE counts *listed* strikes from the at-the-money one, because steps differ between near
    and far strikes: out of the money is up for a call, down for a put. StrikeError if the list does
    not reach that far, or for a kind or option type without a strike.
    """
    if rule.kind != "STRIKE_TYPE":
        raise StrikeError(f"strike kind {rule.kind} is not known")
    if option_type not in OPTIONS:
        raise StrikeError(f"{option_type} has no strike")
    try:
        steps = parse_moneyness(rule.params.get("moneyness", ""))
    except RuleError as error:
        raise StrikeError(error.message) from error
    ladder = sorted(set(strikes))
    place = ladder.index(at_the_money(ladder, spot)) + (steps if option_type == "CE" else -steps)
    if not 0 <= place < len(ladder):
        listed = f"{ladder[0]} to {ladder[-1]}"
        raise StrikeError(f"{rule.params['moneyness']} {option_type} at {spot} is beyond {listed}")
    return ladder[place]
