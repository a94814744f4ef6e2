"""The last trade of a contract: the price that brokers report, however long ago it was.

Most strikes far from the money do not trade on most days: brokers then report the last close as
their price, beside a current quote. So does the simulator: beyond :data:`TRADED_WITHIN` of the
index nothing has traded today, unless an order here did.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from brokers.simulator.contracts import UNDERLYINGS, Contract
from brokers.simulator.exchange import Exchange
from quantleap.core.clock import IST

#: Share of the index (now, or at its start) within which the market trades every strike.
TRADED_WITHIN: Final = 0.05
#: Lots of a contract that the market trades in a day.
LOTS_A_DAY: Final = 4000


@dataclass(frozen=True, slots=True)
class LastTrade:
    """Price in rupees, time, units traded today; ``today`` false: ``price`` is an earlier close."""

    price: Decimal
    at: dt.datetime
    volume: int
    today: bool


def last_trade(exchange: Exchange, contract: Contract, t: float) -> LastTrade:
    """The last trade of ``contract`` at unix second ``t`` (of the market)."""
    market = exchange.market
    if _is_traded(exchange, contract, t):
        at = dt.datetime.fromtimestamp(t, IST)
        price = market.quote(contract, t).last
        return LastTrade(price, at, contract.lot_size * LOTS_A_DAY, today=True)
    ours = exchange.book.last_trades.get(contract.token)
    if ours is not None:
        return LastTrade(ours.price, ours.at.astimezone(IST), ours.quantity, today=True)
    price, closed = market.previous_close(contract, t)
    return LastTrade(price, dt.datetime.fromtimestamp(closed, IST), 0, today=False)


def _is_traded(exchange: Exchange, contract: Contract, t: float) -> bool:
    if contract.kind == "FUT":
        return True
    levels = (
        exchange.market.spot(contract.underlying, t),
        UNDERLYINGS[contract.underlying].base_spot,
    )
    return any(abs(contract.strike - level) <= level * TRADED_WITHIN for level in levels)
