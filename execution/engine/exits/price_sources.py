"""What an exit is priced by: the feed, and the account's own broker where the feed is silent."""

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
    """What was heard of the contracts of one account's exits, by contract."""

    feed: Quotes
    account: Quotes


class PriceSources:
    """Asks for prices, and says at which an exit leaves."""

    def __init__(self, feeds: DatabasePool, own: AccountQuotes, max_age: float) -> None:
        """``max_age``: seconds after which a quote is no price any more."""
        self._feeds = feeds
        self._own = own
        self._max_age = max_age

    def ask_feed(self, contract_ids: set[int]) -> asyncio.Future[Quotes]:
        """Begin to ask the feed, once for the exits of many accounts."""
        return asyncio.ensure_future(self._feed(contract_ids))

    async def _feed(self, contract_ids: set[int]) -> Quotes:
        now = clock.now()
        try:
            found = await self._feeds.run(
                QUOTES.get().quotes, contract_ids, now=now, need=Need.TRADE
            )
        except Exception as error:  # noqa: BLE001 - no feed may ever keep an exit from leaving
            log.warning("exit_without_quotes", reason=type(error).__name__)
            return {}
        oldest = self._oldest(now)
        return {key: quote for key, quote in found.items() if quote.at >= oldest}

    def _oldest(self, now: dt.datetime) -> dt.datetime:
        return now - dt.timedelta(seconds=self._max_age)

    async def heard(
        self,
        actor: Actor,
        feed: asyncio.Future[Quotes],
        legs: Collection[ResolvedLeg],
    ) -> Heard:
        """The feed's quotes if they come soon, and the account's own for what it does not price."""
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
        """Limit of one exit in rupees per unit, and what it follows. ``position``: the last price
        in the account's list of positions. ``resting``: the exit that is to get another price."""
        now = clock.now()
        fill, filled_at = _filled(execution, order.leg_key)
        known = Known(
            decided=leg.last,
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
    """Average price and time of a leg's entry."""
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
    """What the earlier exits of a leg tell of its price; one that filled tells nothing.

    Every price at which one has rested is a try of its own, ``resting``'s too.
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
    """Say that whoever is on the other side is too far away, and that we do not follow."""
    quote = ref.book
    there = quote and (quote.ask if order.side is Side.BUY else quote.bid)
    if quote is None or not there:
        return
    near = touch(order.side, last=ref.price, bid=quote.bid, ask=quote.ask, tick=leg.tick_size)
    if near is None:
        log.warning(
            "exit_touch_far_away",
            execution=execution.public_id,
            leg=order.leg_key,
            last=str(ref.price),
            touch=str(there),
        )


async def _in_time(quotes: asyncio.Future[Quotes]) -> Quotes:
    """The quotes if they come soon, else none: a feed that hangs keeps no exit back."""
    try:
        return await asyncio.wait_for(asyncio.shield(quotes), WITHIN)
    except TimeoutError:
        log.warning("exit_without_quotes", reason="the feed does not answer")
        return {}
