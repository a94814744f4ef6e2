"""Pay-off of a strategy if it were entered now: contracts resolved, premiums looked up."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from marketplace.definition import LegSpec, StrategySpec, leg_label
from marketplace.entries import entry_day
from marketplace.expiries import ExpiryError, select_expiry
from marketplace.payoff import YEAR, OptionLeg, Payoff, black_scholes, payoff
from marketplace.ports import QUOTES, Quote
from marketplace.selectors.market import (
    ContractInfo,
    contract_info,
    expiries,
    ladder,
    ladder_name,
    load_calendar,
    strikes,
)
from marketplace.strikes import StrikeError, check_ladder, select_strike
from quantleap.core import clock
from quantleap.core.dates import day_text, moment_text
from quantleap.core.decimals import trimmed

QUOTED: Final = "market quotes"
MODELLED: Final = "Black-Scholes estimate, 14 % volatility"
CLOSE: Final = dt.time(15, 30)


@dataclass(frozen=True, slots=True)
class Picture:
    """A pay-off and the source of its premiums. ``spot`` in index points."""

    strategy: str
    underlying: str
    spot: float
    spot_source: str
    premium_source: str
    expiry: dt.date
    legs: tuple[str, ...]
    payoff: Payoff


class NoPicture(Exception):
    """Nothing can be drawn; the message says why."""


def draw(strategy: StrategySpec, now: dt.datetime) -> Picture:
    """The pay-off of ``strategy`` at its nearest expiry if it were entered at ``now``.

    NoPicture if no contract list is loaded, an expiry or strike is not listed, or there is no leg.
    Without a quote of the index, the middle of the listed strikes replaces it, and the picture says
    so.
    """
    if not strategy.legs:
        raise NoPicture("complete a leg to see its pay-off.")
    day = entry_day(load_calendar(), now) or clock.ist_date(now)  # today if none is known
    listed = expiries(strategy.underlying, day)
    if not listed:
        raise NoPicture(f"No contract list of {strategy.underlying} is loaded.")
    spot, spot_source = _spot(strategy.underlying, listed[0], now)
    resolved = [_contract(strategy.underlying, leg, listed, spot, day) for leg in strategy.legs]
    quotes = QUOTES.get().quotes([contract.id for contract in resolved], now=now)
    first = min(contract.expiry for contract in resolved)
    legs = tuple(
        _option_leg(leg, contract, quotes, float(spot), first, now)
        for leg, contract in zip(strategy.legs, resolved, strict=True)
    )
    quoted = all(contract.id in quotes for contract in resolved)
    return Picture(
        strategy=strategy.name,
        underlying=strategy.underlying,
        spot=float(spot),
        spot_source=spot_source,
        premium_source=QUOTED if quoted else MODELLED,
        expiry=first,
        legs=tuple(
            f"{leg_label(leg)} -> {trimmed(contract.strike)} "
            f"{day_text(contract.expiry, year=False)}"
            for leg, contract in zip(strategy.legs, resolved, strict=True)
        ),
        payoff=payoff(legs, float(spot)),
    )


def _spot(underlying: str, expiry: dt.date, now: dt.datetime) -> tuple[Decimal, str]:
    quote = QUOTES.get().spot([underlying], now=now).get(underlying)
    if quote is not None:
        return quote.last, f"{quote.source}, {moment_text(quote.at, seconds=True, year=False)}"
    listing = strikes(underlying, expiry, "CE")
    if not listing:
        raise NoPicture(f"No strikes of {underlying} are listed.")
    return listing[len(listing) // 2], "no quote: middle of the listed strikes"


def _contract(
    underlying: str, leg: LegSpec, listed: tuple[dt.date, ...], spot: Decimal, day: dt.date
) -> ContractInfo:
    try:
        expiry = select_expiry(listed, leg.expiry, day)
        rungs = ladder(underlying, expiry, leg.option_type, day)
        listing = check_ladder(rungs, spot, ladder_name(underlying, expiry, leg.option_type))
        strike = select_strike(listing, spot, leg.option_type, leg.strike)
    except (ExpiryError, StrikeError) as error:
        raise NoPicture(f"{leg_label(leg)}: {error}.") from error
    contract = contract_info(underlying, expiry, strike, leg.option_type, day)
    if contract is None:
        raise NoPicture(f"{leg_label(leg)}: lot size or freeze quantity is unknown.")
    return contract


def _option_leg(
    leg: LegSpec,
    contract: ContractInfo,
    quotes: Mapping[int, Quote],
    spot: float,
    first: dt.date,
    now: dt.datetime,
) -> OptionLeg:
    strike = float(contract.strike)
    remaining = (clock.at_ist(contract.expiry, CLOSE) - now) / YEAR
    quote = quotes.get(contract.id)
    premium = (
        float(quote.last)
        if quote is not None
        else black_scholes(leg.option_type, spot, strike, max(remaining, 0.0))
    )
    return OptionLeg(
        sign=1 if leg.side == "BUY" else -1,
        option_type=leg.option_type,
        strike=strike,
        premium=premium,
        units=leg.lots * contract.lot_size,
        years=(contract.expiry - first) / YEAR,
    )


def picture_json(picture: Picture) -> dict[str, Any]:
    """The picture for the console and the catalogue: rupees and index points with two decimals."""
    curve = picture.payoff

    def money(value: float | None) -> float | None:
        return None if value is None else round(value, 2)

    return {
        "strategy": picture.strategy,
        "underlying": picture.underlying,
        "expiry": picture.expiry.isoformat(),
        "spot": round(picture.spot, 2),
        "spot_source": picture.spot_source,
        "premium_source": picture.premium_source,
        "simulated": True,
        "net_premium": money(curve.net_premium),
        "max_profit": money(curve.max_profit),
        "max_loss": money(curve.max_loss),
        "break_evens": [round(level, 2) for level in curve.break_evens],
        "points": [[round(level, 2), round(value, 2)] for level, value in curve.points],
    }
