"""Prices of exits: from the feed, or from the account's own broker if the feed has none."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import structlog

from brokers.base import Side
from execution import lifecycle, price_changes
from execution.alarms import PRICE_BAND
from execution.engine.exits.account_quotes import AccountQuotes
from execution.engine.memory.actors import Actor
from execution.engine.runtime.database_pool import DatabasePool
from execution.exit_pricing import Known, Reference, Tries, limit, reference
from execution.plan import ResolvedLeg
from execution.pricing import mark, touch
from execution.state import LiveExecution, LiveIntent
from execution.steps import ExitOrder
from execution.unreported import exit_tries
from marketplace.ports import QUOTES, Need, Quote
from quantleap.core import clock

log = structlog.get_logger(__name__)
#: Seconds for which an exit waits for the platform's feed.
WITHIN: Final = 1.0
Quotes = Mapping[int, Quote]


@dataclass(frozen=True, slots=True)
class Heard:
    """Quotes received for one account's exits, by contract id."""

    feed: Quotes
    account: Quotes


class PriceSources:
    """Reads quotes and computes the limit prices of exits."""

    def __init__(self, feeds: DatabasePool, own: AccountQuotes, max_age: float) -> None:
        """``max_age``: seconds after which a quote is too old to be used."""
        self._feeds = feeds
        self._own = own
        self._max_age = max_age

    def ask_feed(self, contract_ids: set[int]) -> asyncio.Future[Quotes]:
        """Start one request to the feed for the exits of many accounts."""
        return asyncio.ensure_future(self._feed(contract_ids))

    async def _feed(self, contract_ids: set[int]) -> Quotes:
        now = clock.now()
        try:
            quotes = await self._feeds.run(
                QUOTES.get().quotes, contract_ids, now=now, need=Need.TRADE
            )
        except Exception as error:  # noqa: BLE001 - no feed may ever keep an exit from leaving
            log.warning("exit_without_quotes", reason=type(error).__name__)
            return {}
        oldest = self._oldest(now)
        return {key: quote for key, quote in quotes.items() if quote.at >= oldest}

    def _oldest(self, now: dt.datetime) -> dt.datetime:
        return now - dt.timedelta(seconds=self._max_age)

    async def heard(
        self,
        actor: Actor,
        feed: asyncio.Future[Quotes],
        legs: Collection[ResolvedLeg],
    ) -> Heard:
        """The feed's quotes if they arrive soon, and the account's own for legs without a price."""
        quotes = await _in_time(feed)
        now = clock.now()
        oldest = self._oldest(now)
        missing = {
            leg.contract_id
            for leg in legs
            if (quote := quotes.get(leg.contract_id)) is None
            or mark(quote, oldest=oldest, tick=leg.tick_size) is None
        }
        if not missing:
            return Heard(quotes, {})
        own = await self._own.of(actor, missing)
        return Heard(quotes, {key: quote for key, quote in own.items() if quote.at >= oldest})

    def price(
        self,
        execution: LiveExecution,
        order: ExitOrder,
        leg: ResolvedLeg,
        heard: Heard,
        position: Decimal | None,
        resting: LiveIntent | None = None,
    ) -> tuple[Decimal, Reference]:
        """Limit of one exit in rupees per unit, and the price that it follows. ``position``: the
        last price in the account's list of positions. ``resting``: the exit to be changed."""
        now = clock.now()
        fill, filled_at = _filled(execution, order.leg_key)
        known = Known(
            decided=leg.reference_price,
            feed=heard.feed.get(leg.contract_id),
            account=heard.account.get(leg.contract_id),
            position=position,
            fill=fill,
            filled_at=filled_at,
        )
        ref = reference(known, now=now, oldest=self._oldest(now), tick=leg.tick_size)
        _note_far_touch(execution, order, ref, leg)
        tries = _tries(exit_tries(execution, order.leg_key), order.side, resting)
        return limit(order.side, ref, tries, leg.tick_size), ref


def _filled(execution: LiveExecution, leg_key: str) -> tuple[Decimal | None, dt.datetime | None]:
    """Average price (rupees per unit) and time (UTC) of a leg's entry; None without fills."""
    entries = [
        i for i in execution.of(lifecycle.ENTRY) if i.leg_key == leg_key and i.filled_quantity
    ]
    units = sum(i.filled_quantity for i in entries)
    if not units:
        return None, None
    spent = sum((i.filled_quantity * i.average_price for i in entries), Decimal(0))
    times = [i.final_at for i in entries if i.final_at is not None]
    return spent / units, max(times, default=None)


def _tries(exits: Collection[LiveIntent], side: Side, resting: LiveIntent | None = None) -> Tries:
    """The earlier tries to close a leg; exits that filled do not count.

    Every price at which an exit has rested counts as a try, including those of ``resting``.
    """
    same = [i for i in exits if i.side is side]
    rested = [i for i in same if i.state == lifecycle.CANCELLED and i.cause != PRICE_BAND]
    rested += [i for i in same if i is resting]
    refused = [i.price for i in same if i.cause == PRICE_BAND]
    refused += [change.price for i in same for change in i.changes if _is_refused(change)]
    newest = max(same, key=lambda intent: intent.attempt_group, default=None)
    last_refused = newest is not None and (
        newest.cause == PRICE_BAND or (bool(newest.changes) and _is_refused(newest.changes[-1]))
    )
    return Tries(
        unfilled=[i.price for i in rested] + [c.before for i in rested for c in i.changes],
        refused=refused,
        last_refused=last_refused,
        allowed=newest.band if newest is not None else None,
        rounds=price_changes.quotes(rested),
    )


def _is_refused(change: price_changes.Change) -> bool:
    """Whether a change was refused for its price."""
    return change.state == price_changes.REFUSED and change.cause == PRICE_BAND


def _note_far_touch(
    execution: LiveExecution, order: ExitOrder, ref: Reference, leg: ResolvedLeg
) -> None:
    """Log that the other side of the book is too far away to trade at."""
    quote = ref.book
    opposite = quote and (quote.ask if order.side is Side.BUY else quote.bid)
    if quote is None or not opposite:
        return
    near = touch(order.side, last=ref.price, bid=quote.bid, ask=quote.ask, tick=leg.tick_size)
    if near is None:
        log.warning(
            "exit_touch_far_away",
            execution=execution.public_id,
            leg=order.leg_key,
            last=str(ref.price),
            touch=str(opposite),
        )


async def _in_time(quotes: asyncio.Future[Quotes]) -> Quotes:
    """The quotes if they arrive soon, else none: a hanging feed must not delay an exit."""
    try:
        return await asyncio.wait_for(asyncio.shield(quotes), WITHIN)
    except TimeoutError:
        log.warning("exit_without_quotes", reason="the feed does not answer")
        return {}
