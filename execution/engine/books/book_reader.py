"""Reads one order book: fills, rejections, duplicates, and the outcome of UNKNOWN orders.

The proof for I3 (no second send without proof) is found here.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from random import Random
from typing import Final

import structlog

from brokers.base import BookRead, OrderReport, PositionRead
from brokers.pace import Call, Urgency
from execution import alarms, duplicates, lifecycle, transitions
from execution.causes import SESSION_EXPIRED
from execution.duplicates import Found
from execution.engine.books.order_updates import UpdateStreams
from execution.engine.books.visibility import Visibility
from execution.engine.memory.actors import Actor
from execution.engine.memory.channels import Channels
from execution.engine.memory.ownership import Ownership
from execution.engine.memory.reading_list import ReadingList
from execution.engine.memory.trading_day import TradingDay
from execution.engine.memory.work_list import WorkList
from execution.engine.orders.broker_calls import BrokerCalls
from execution.engine.orders.cancels import Cancels
from execution.engine.wire.channel import Channel
from execution.next_steps import STUCK_AFTER
from execution.pacing import EXITS
from execution.state import LiveIntent
from execution.tags import make_tag, parse_tag
from quantleap.core import clock

log = structlog.get_logger(__name__)
#: Most orders of one account and day; brokers take 3,000. A longer book cannot be genuine.
MOST_ORDERS: Final = 10_000
#: Seconds between two cancels of an order that should not be there, doubled up to the second value.
STRAY_FIRST: Final = 3.0
STRAY_LAST: Final = 30.0
#: Instead of the moment at which a send left: the book has shown it.
SEEN: Final = -1.0


class BookReader:
    """Reads an account's book or positions, and applies the book to our own orders."""

    def __init__(
        self,
        *,
        day: TradingDay,
        ownership: Ownership,
        channels: Channels,
        calls: BrokerCalls,
        cancels: Cancels,
        updates: UpdateStreams,
        visibility: Visibility,
        work: WorkList,
        reading: ReadingList,
        random: Random,
    ) -> None:
        self._day = day
        self._ownership = ownership
        self._channels = channels
        self._calls = calls
        self._cancels = cancels
        self._updates = updates
        self._visibility = visibility
        self._work = work
        self._reading = reading
        self._random = random
        self._strays: dict[str, tuple[float, float]] = {}

    # -- reading ---------------------------------------------------------------------------------
    async def read(self, channel: Channel, urgency: Urgency) -> BookRead:
        """Read the order book once and apply it to our own orders."""
        actor = self._day.actors.of(channel.real, channel.account_id)
        await actor.rested()
        await channel.paced(Call.READ, urgency)
        request = channel.adapter.order_book(channel.session)
        response, started = await self._calls.read_in_slot(channel, request, urgency)
        if response is None:
            return BookRead(ok=False)
        book = await self._calls.parse(channel.adapter.parse_order_book, response, actor)
        if len(book.orders) > MOST_ORDERS:
            log.warning("book_too_long", account=channel.account_id, orders=len(book.orders))
            return BookRead(ok=False)
        if book.ok:
            actor.read_mono = started
            self._apply(channel, book.orders, started)
        elif book.cause == SESSION_EXPIRED:
            self._channels.forget_channel(channel)
        elif book.cause == "RATE_LIMIT":
            channel.throttled(response, Call.READ, book.message)
        return book

    async def orders(self, actor: Actor) -> Sequence[OrderReport] | None:
        """The whole order book now, including orders that are not ours; None if it was not read.

        It is applied to our own orders before it is returned.
        """
        while (channel := actor.reader()) is not None:
            book = await self.read(channel, EXITS)  # an exit waits for it
            if book.ok:
                return book.orders
            if channel is actor.channels.get(channel.account_id):
                return None  # its session has not ended: another session would not help
        return None

    async def positions(self, actor: Actor) -> PositionRead | None:
        """Net positions of an account; None without a session or an answer."""
        while (channel := actor.reader()) is not None:
            await actor.rested()
            await channel.paced(Call.READ, EXITS)  # an exit waits for it
            response, _ = await self._calls.read_in_slot(
                channel, channel.adapter.positions(channel.session), EXITS
            )
            if response is None:
                return None
            position_read = await self._calls.parse(
                channel.adapter.parse_positions, response, actor
            )
            if position_read.cause != SESSION_EXPIRED:
                return position_read
            self._channels.forget_channel(channel)
        return None

    # -- applying a book ---------------------------------------------------------------------
    def _apply(self, channel: Channel, orders: Sequence[OrderReport], started: float) -> None:
        now, now_mono = clock.now(), clock.monotonic()
        by_code: dict[str, list[tuple[int, OrderReport]]] = defaultdict(list)
        for report in orders:
            tag = parse_tag(report.tag)
            if tag is not None:
                by_code[tag.code].append((tag.attempt, report))
        actor = self._day.actors.of(channel.real, channel.account_id)
        for intent in list(actor.intents.values()):
            if intent.is_unsent:
                continue
            reports = by_code.get(intent.code, ())
            matches = duplicates.find(intent, reports)
            changed = False
            if matches.own is not None:
                filled = intent.filled_quantity
                self._measure(channel, intent, reports, started)
                changed = transitions.apply_report(intent, matches.own, at=now, now_mono=now_mono)
                if intent.filled_quantity > filled:
                    self._updates.compare(actor, matches.own)
                if changed and transitions.is_changed(intent, matches.own):
                    self._work.alarm(
                        intent.execution_id,
                        alarms.CHANGED_OUTSIDE,
                        leg=intent.leg_key,
                        words=f"{matches.own.quantity} units instead of {intent.quantity}",
                        order=intent.tag,
                    )
                changed = self._note_duplicates(channel, intent, matches) or changed
            else:
                changed = self._apply_absence(channel, intent, started, now, now_mono)
            if changed:
                self._work.changed(intent)
            if duplicates.looked(intent, started):
                self._work.schedule_ids([intent.execution_id])
            if duplicates.is_watched(intent):
                self._reading.watched.add(actor)

    def _apply_absence(
        self,
        channel: Channel,
        intent: LiveIntent,
        started: float,
        now: dt.datetime,
        now_mono: float,
    ) -> bool:
        """Apply a book without the order; return whether that changed the intent."""
        self._note_missing(intent, started, now_mono)
        return transitions.apply_absence(
            intent,
            read_started_mono=started,
            visibility_delay=self._visibility.delay(channel.adapter),
            at=now,
            now_mono=now_mono,
            jitter=self._random.random(),
        )

    def _note_missing(self, intent: LiveIntent, started: float, now_mono: float) -> None:
        """Note a successful read without the order, to measure how late the book is."""
        last = max(intent.sent_mono, intent.unknown_since_mono)
        if intent.state in lifecycle.MAY_REST and 0 < last <= started:
            intent.hidden.setdefault(intent.sends, last)
        if (
            intent.state in lifecycle.AT_BROKER
            and intent.sent_mono
            and now_mono - intent.sent_mono > STUCK_AFTER
        ):
            # Accepted, yet the book has never shown it: a person has to ask the broker.
            self._work.alarm(
                intent.execution_id, "UNRESOLVED", leg=intent.leg_key, order=intent.tag
            )

    def _measure(
        self,
        channel: Channel,
        intent: LiveIntent,
        reports: Sequence[tuple[int, OrderReport]],
        started: float,
    ) -> None:
        """Measure the book's delay by an order that an earlier read lacked."""
        for attempt, _ in reports:
            left = intent.hidden.get(attempt, 0.0)
            intent.hidden[attempt] = SEEN
            if left > 0:
                tag = make_tag(intent.code, attempt)
                self._visibility.seen_after(channel.adapter, started - left, tag)

    def _note_duplicates(self, channel: Channel, intent: LiveIntent, matches: Found) -> bool:
        """Note other orders of this intent and cancel those that rest; return whether the surplus
        grew."""
        changed = duplicates.note(intent, matches)
        if matches.others:
            self._work.alarm(
                intent.execution_id,
                alarms.DUPLICATE,
                leg=intent.leg_key,
                words=", ".join(order.broker_order_id for order in matches.others),
                order=intent.tag,
            )
        if changed:
            log.error(
                "duplicate_orders",
                code=intent.code,
                own=intent.broker_order_id,
                others=intent.surplus_orders,
                surplus=intent.surplus_quantity,
            )
        for order_id in intent.strays:
            self._cancel_stray(channel, intent, order_id)
        return changed

    def _cancel_stray(self, channel: Channel, intent: LiveIntent, order_id: str) -> None:
        now = clock.monotonic()
        following, pause = self._strays.get(order_id, (0.0, STRAY_FIRST))
        if now < following or not self._ownership.owns(intent.shard):
            return
        self._strays[order_id] = (now + pause, min(2 * pause, STRAY_LAST))
        log.warning("stray_order_cancelled", tag=intent.tag, order=order_id)
        self._cancels.begin_stray(channel, order_id)
