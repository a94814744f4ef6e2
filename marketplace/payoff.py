"""Profit and loss of a strategy against the index level. Pure estimates, for pictures only.

Floats are fine here, because nothing is booked or traded from these figures. Premiums are market
quotes if known, otherwise Black-Scholes (no dividends) with one volatility for all strikes.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

RATE: Final = 0.065
VOLATILITY: Final = 0.14
YEAR: Final = dt.timedelta(days=365)
GRID: Final = 121
REACH: Final = 0.06


@dataclass(frozen=True, slots=True)
class OptionLeg:
    """An option as held. ``units`` are lots x lot size; strike and premium in rupees per unit.

    ``years`` are what remains to its expiry at the picture's expiry (0 for the nearest one).
    """

    sign: int
    option_type: str
    strike: float
    premium: float
    units: int
    years: float = 0.0


@dataclass(frozen=True, slots=True)
class Payoff:
    """``points`` are (index level, rupees); a limit is None if profit or loss is unlimited."""

    points: tuple[tuple[float, float], ...]
    break_evens: tuple[float, ...]
    max_profit: float | None
    max_loss: float | None
    net_premium: float


def _normal(value: float) -> float:
    return 0.5 * (1.0 + math.erf(value / math.sqrt(2.0)))


def black_scholes(
    option_type: str, spot: float, strike: float, years: float, volatility: float = VOLATILITY
) -> float:
    """Premium of a CE or PE in rupees per unit; its intrinsic value once ``years`` is 0."""
    sign = 1.0 if option_type == "CE" else -1.0
    if years <= 0 or volatility <= 0 or spot <= 0 or strike <= 0:
        return max(0.0, sign * (spot - strike))
    spread = volatility * math.sqrt(years)
    upper = (math.log(spot / strike) + (RATE + volatility**2 / 2) * years) / spread
    discounted = strike * math.exp(-RATE * years)
    return sign * (spot * _normal(sign * upper) - discounted * _normal(sign * (upper - spread)))


def profit_at(legs: Sequence[OptionLeg], spot: float) -> float:
    """Rupees won or lost if the index is at ``spot`` at the nearest expiry."""
    return sum(
        leg.sign
        * leg.units
        * (black_scholes(leg.option_type, spot, leg.strike, leg.years) - leg.premium)
        for leg in legs
    )


def _break_even(curve: Callable[[float], float], low: float, high: float) -> float:
    """Where ``curve`` crosses zero between two levels of opposite sign (bisection)."""
    for _ in range(60):
        middle = (low + high) / 2
        if (curve(low) < 0) == (curve(middle) < 0):
            low = middle
        else:
            high = middle
    return (low + high) / 2


def payoff(legs: Sequence[OptionLeg], spot: float) -> Payoff:
    """The curve around ``spot``, its break-evens, limits and net premium (received: positive)."""

    def curve(level: float) -> float:
        return profit_at(legs, level)

    strikes = [leg.strike for leg in legs]
    low = max(0.0, min([spot * (1 - REACH), *(strike * 0.985 for strike in strikes)]))
    high = max([spot * (1 + REACH), *(strike * 1.015 for strike in strikes)])
    levels = sorted({low + (high - low) * step / (GRID - 1) for step in range(GRID)} | set(strikes))
    points = tuple((level, curve(level)) for level in levels)
    crossings = tuple(
        _break_even(curve, left, right)
        for (left, before), (right, after) in itertools.pairwise(points)
        if (before < 0) != (after < 0)
    )
    best, worst = _limits(legs, [curve(0.0), *(value for _, value in points)])
    premium = -sum(leg.sign * leg.units * leg.premium for leg in legs)
    return Payoff(points, crossings, best, worst, premium)


def _limits(
    legs: Sequence[OptionLeg], values: Sequence[float]
) -> tuple[float | None, float | None]:
    """Best and worst result; None if calls are net long or short, because a rise is then
    unlimited."""
    calls = sum(leg.sign * leg.units for leg in legs if leg.option_type == "CE")
    best = None if calls > 0 else max(values)
    worst = None if calls < 0 else min(values)
    return best, worst
