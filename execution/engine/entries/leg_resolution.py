"""From a run's leg rules to contracts and prices: read once, decided once for all subscribers.

The first executor to store the decision decides; the others read it (docs/adr/0021).
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Final

from brokers.base import Side
from execution.descriptions import NotPriced
from execution.engine.database.decisions import decide_entry, decided_legs
from execution.plan import ResolvedLeg
from execution.pricing import mark, touch
from execution.state import LiveRun
from marketplace import selectors as marketplace
from marketplace.definition import LegSpec, leg_label
from marketplace.expiries import ExpiryError, select_expiry
from marketplace.ports import QUOTES, Market, Need, Quote
from marketplace.selectors import ContractInfo
from marketplace.strikes import (
    LadderError,
    StrikeError,
    check_ladder,
    select_strike,
    strikes_around,
)
from quantleap.core import clock

#: How far (as a fraction) the index may move from the last known level to the deciding one.
AROUND: Final = Decimal("0.003")


class NoQuote(Exception):
    """The run cannot be priced or resolved.

    ``cause`` is NO_QUOTE, WIDE_QUOTE (its book is too wide to trade at), NO_CONTRACT (no listed
    contract fits) or CONTRACT_LIST (the contract list cannot be right); ``message`` gives staff the
    details.
    """

    def __init__(self, cause: NotPriced, message: str) -> None:
        super().__init__(message)
        self.cause: NotPriced = cause
        self.message = message

    @property
    def may_pass(self) -> bool:
        """Whether a later quote may help: a contract list does not change within the grace."""
        return self.cause in ("NO_QUOTE", "WIDE_QUOTE")


def decide_legs(
    run: LiveRun, *, owner: str, max_age: float, now: dt.datetime
) -> dict[str, ResolvedLeg]:
    """The legs of the run's ENTRY decision: stored already, or resolved here and stored.

    Raises Missed if the stored decision is to miss the run, NoQuote if none can be taken now.
    """
    legs = decided_legs(run)
    if legs is not None:
        return legs
    return decide_entry(run, resolve_legs(run, now=now, max_age=max_age), owner=owner, now=now)


def resolve_legs(run: LiveRun, *, now: dt.datetime, max_age: float) -> dict[str, ResolvedLeg]:
    """Contracts, dated data and prices of a run's legs from the platform's feed.

    A leg whose last trade is older than ``max_age`` seconds is priced by the middle of its book.
    Raises NoQuote if, when the answer arrives, the index or a leg has no quote younger than that or
    no usable price, or if no listed contract fits. One request covers the level and all likely
    strikes; a second one follows only if the index has moved beyond them.
    """
    source, underlying = QUOTES.get(), run.strategy.underlying
    market = source.read([underlying], _candidates(run), now=now, need=Need.TRADE)
    oldest = market.at - dt.timedelta(seconds=max_age)
    spot = market.spots.get(underlying)
    if spot is None or spot.at < oldest:
        raise NoQuote("NO_QUOTE", _missing(f"level of {underlying}", market))
    contracts = {leg.key: _contract(leg, run, spot) for leg in run.strategy.legs}
    quotes = dict(market.quotes)
    rest = {info.id for info in contracts.values()} - quotes.keys()
    if rest:
        market = source.read((), rest, now=market.at, need=Need.TRADE)
        oldest = market.at - dt.timedelta(seconds=max_age)
        quotes |= market.quotes
    resolved = {}
    for leg in run.strategy.legs:
        info = contracts[leg.key]
        quote = quotes.get(info.id)
        if quote is None or quote.at < oldest:
            raise NoQuote("NO_QUOTE", _missing(f"quote of {leg_label(leg)}", market))
        worth = mark(quote, oldest=oldest, tick=info.tick_size)
        if worth is None:
            raise _unpriced(leg_label(leg), quote)
        _check_book(leg, worth.price, quote, info.tick_size)
        resolved[leg.key] = ResolvedLeg(
            leg_key=leg.key,
            contract_id=info.id,
            label=leg_label(leg),
            tick_size=info.tick_size,
            lot_size=info.lot_size,
            freeze_quantity=info.freeze_quantity,
            reference_price=worth.price,
            bid=quote.bid,
            ask=quote.ask,
            basis=worth.basis,
            age=Decimal(str(round((market.at - worth.at).total_seconds(), 3))),
        )
    return resolved


def _check_book(leg: LegSpec, price: Decimal, quote: Quote, tick: Decimal) -> None:
    """Raise NoQuote(WIDE_QUOTE) if the other side of the book is too far away to trade at.

    All subscribers would pay that price, one after another.
    """
    side = Side(leg.side)
    opposite = quote.ask if side is Side.BUY else quote.bid
    if opposite and touch(side, last=price, bid=quote.bid, ask=quote.ask, tick=tick) is None:
        message = f"{leg_label(leg)}: price {price}, bid {quote.bid}, ask {quote.ask}"
        raise NoQuote("WIDE_QUOTE", message)


def _unpriced(label: str, quote: Quote) -> NoQuote:
    """The error for a fresh quote without a usable price, with a message for staff."""
    traded = "has not traded today"
    if quote.traded_at is not None:
        traded = f"last traded at {clock.to_ist(quote.traded_at):%d %b %H:%M:%S}"
    bid, ask = quote.bid, quote.ask
    if bid is not None and ask is not None:
        shape = "crossed" if bid > ask else "too wide"
        message = f"{label} {traded}, and its book is {shape} (bid {bid}, ask {ask})"
        return NoQuote("NO_QUOTE" if bid > ask else "WIDE_QUOTE", message)
    side = f"bid {bid}" if bid is not None else f"ask {ask}" if ask is not None else "no side"
    return NoQuote("NO_QUOTE", f"{label} {traded}, and its book has {side} only")


def _missing(what: str, market: Market) -> str:
    """A message on what is missing and, by feed, why."""
    return f"no fresh {what}" + (f" ({market.trouble})" if market.trouble else "")


def _candidates(run: LiveRun) -> set[int]:
    """Ids of contracts that the legs may resolve to near the last known level; none without it."""
    underlying, day = run.strategy.underlying, run.trade_date
    level = QUOTES.get().last_level(underlying)
    contract_ids: set[int] = set()
    if level is None:
        return contract_ids
    for leg in run.strategy.legs:
        try:
            expiry = select_expiry(marketplace.expiries(underlying, day), leg.expiry, day)
            listed = marketplace.strikes(underlying, expiry, leg.option_type)
            near = strikes_around(listed, level, AROUND, leg.option_type, leg.strike)
        except (ExpiryError, StrikeError):
            continue  # reported when the leg is resolved
        contract_ids.update(marketplace.contract_ids(underlying, expiry, leg.option_type, near))
    return contract_ids


def _contract(leg: LegSpec, run: LiveRun, spot: Quote) -> ContractInfo:
    underlying, day = run.strategy.underlying, run.trade_date
    try:
        expiry = select_expiry(marketplace.expiries(underlying, day), leg.expiry, day)
        rungs = marketplace.ladder(underlying, expiry, leg.option_type, day)
        name = marketplace.ladder_name(underlying, expiry, leg.option_type)
        strikes = check_ladder(rungs, spot.last, name)
        strike = select_strike(strikes, spot.last, leg.option_type, leg.strike)
    except LadderError as error:
        raise NoQuote("CONTRACT_LIST", str(error)) from error
    except (ExpiryError, StrikeError) as error:
        raise NoQuote("NO_CONTRACT", str(error)) from error
    info = marketplace.contract_info(underlying, expiry, strike, leg.option_type, day)
    if info is None:
        raise NoQuote("NO_CONTRACT", f"{leg_label(leg)}: not in the contract list of {day}")
    return info
