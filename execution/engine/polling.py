"""Reading the brokers' books: fills, rejections, and the resolution of UNKNOWN (I3)."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

import structlog

from brokers import aio
from brokers.base import BookRead, BookState, HttpRequest, HttpResponse, OrderReport, PositionRead
from brokers.http import TransportError
from execution import live, outcome
from execution.engine import places, sabotage
from execution.engine.channel import Channel
from execution.engine.places import Places
from execution.live import LiveIntent
from execution.pacing import EXITS, READS, Call, Urgency
from execution.progress import STUCK_AFTER
from execution.tags import parse_tag
from quantleap.core import clock

if TYPE_CHECKING:
    from execution.engine.executor import Executor

log = structlog.get_logger(__name__)
T = TypeVar("T")
PERIOD: Final = 0.05
#: Bytes from which an answer is parsed beside the loop: a thousand orders take a tenth of a second.
LARGE: Final = 32 * 1024
FIRST_READ: Final = 0.12
UNKNOWN_EVERY: Final = 1.5
REST_EVERY: Final = 2.0
STRANDED_AFTER: Final = 5.0
STALE_SENDING: Final = 2.0


class BookPoller:
    """Reads a book when somebody's order is unfinished there, within the broker's read budget."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        # No bound of its own on connections: those that hang would use it up.
        self._clients = aio.Clients(connections=0)
        self._places = Places(places.READS)
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Stop reading."""
        for task in list(self._tasks):
            task.cancel()
        await self._clients.close()

    def soon(self, account_id: int) -> None:
        """An order of this account was just answered: its fill should be in the book shortly."""
        channel = self._executor.accounts.channels.get(account_id)
        if channel is not None:
            channel.reads = 0
            channel.next_read_mono = max(channel.next_read_mono, clock.monotonic() + FIRST_READ)

    # -- the loop ----------------------------------------------------------------------------
    async def loop(self) -> None:
        """Read what is due, for ever."""
        while True:
            await self._executor.quiet.over()
            now = clock.monotonic()
            for account_id, intents in self._waiting(now).items():
                channel = self._executor.accounts.channels.get(account_id)
                if channel is None:
                    await self._open_missing(intents)
                elif not channel.reading and channel.next_read_mono <= now:
                    self._start(channel, intents)
            await asyncio.sleep(PERIOD)

    def _waiting(self, now: float) -> dict[int, list[LiveIntent]]:
        waiting: dict[int, list[LiveIntent]] = defaultdict(list)
        late = self._executor.timing.answer_timeout + STALE_SENDING
        for intent in list(self._executor.unfinished.values()):
            if intent.is_final:
                del self._executor.unfinished[intent.code]
            if intent.state == live.SENDING and intent.sent_mono and now - intent.sent_mono > late:
                outcome.become_unknown(intent, now)
                self._executor.rounds.changed(intent)
            elif self._is_stranded(intent):
                self._executor.rounds.on_not_sent(intent, "BROKER_DOWN")
            if intent.state in (live.UNKNOWN, live.ACCEPTED, live.PARTIAL):
                waiting[intent.account_id].append(intent)
        return waiting

    def _is_stranded(self, intent: LiveIntent) -> bool:
        """Whether an order of ours is past its time and waits nowhere to be sent: whatever lost it,
        it has provably not left. Seen: 12 orders SENDING for ever, without a cause or an alarm."""
        if intent.state != live.SENDING or intent.sent_mono:
            return False
        executor = self._executor
        if (executor.now() - intent.due_at).total_seconds() < STRANDED_AFTER:
            return False
        channel = executor.accounts.channels.get(intent.account_id)
        waits = channel is not None and channel.holds(intent)
        return not waits and not executor.rounds.is_fenced(intent)

    async def _open_missing(self, intents: Sequence[LiveIntent]) -> None:
        executions = self._executor.executions
        owners = [executions[i.execution_id] for i in intents if i.execution_id in executions]
        await self._executor.accounts.open_for(owners)

    def _start(self, channel: Channel, intents: Sequence[LiveIntent]) -> None:
        channel.reading = True
        task = asyncio.create_task(self._read(channel, intents))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self, channel: Channel, intents: Sequence[LiveIntent]) -> None:
        try:
            await self._book(channel, READS)
            self._escalate(intents)
        finally:
            channel.reading = False
            channel.reads += 1
            channel.next_read_mono = clock.monotonic() + self._pause(channel, intents)

    async def _book(self, channel: Channel, urgency: Urgency) -> BookRead:
        """One look at the order book, noted with our own orders."""
        await channel.paced(Call.READ, urgency)
        request = channel.adapter.order_book(channel.session)
        response, started = await self._placed(channel, request)
        if response is None:
            return BookRead(ok=False)
        book = await self._parsed(channel.adapter.parse_order_book, response)
        if book.ok:
            self._apply(channel, book.orders, started)
        elif book.cause == "SESSION_EXPIRED":
            self._executor.accounts.forget_session(channel.account_id)
        elif book.cause == "RATE_LIMIT":
            channel.throttled(response, Call.READ, book.message)
        return book

    def _pause(self, channel: Channel, intents: Sequence[LiveIntent]) -> float:
        budget = 1 / float(channel.adapter.capabilities.book_reads_per_second)
        if any(intent.state == live.UNKNOWN for intent in intents):
            return max(budget, UNKNOWN_EVERY)
        return max(budget, min(REST_EVERY, 0.25 * float(2**channel.reads)))

    # -- what a book says --------------------------------------------------------------------
    def _apply(self, channel: Channel, orders: Sequence[OrderReport], started: float) -> None:
        executor = self._executor
        now, now_mono = executor.now(), clock.monotonic()
        by_code: dict[str, list[tuple[int, OrderReport]]] = defaultdict(list)
        for report in orders:
            tag = parse_tag(report.tag)
            if tag is not None:
                by_code[tag.code].append((tag.attempt, report))
        for intent in list(executor.intents.get(channel.account_id, {}).values()):
            if intent.state in (live.PLANNED, live.SENDING) and intent.sends == 0:
                continue
            found = self._mine(intent, by_code.get(intent.code, ()))
            changed = False
            if found is not None:
                changed = outcome.apply_report(intent, found, at=now, now_mono=now_mono)
                if changed and outcome.is_changed(intent, found):
                    executor.rounds.alarm(
                        intent.execution_id,
                        outcome.CHANGED_OUTSIDE,
                        leg=intent.leg_key,
                        words=f"{found.quantity} units instead of {intent.quantity}",
                        order=intent.tag,
                    )
            elif not sabotage.active(sabotage.IGNORE_UNKNOWN):
                changed = outcome.apply_absence(
                    intent,
                    read_started_mono=started,
                    visibility_delay=self._visibility(channel),
                    at=now,
                    now_mono=now_mono,
                    jitter=executor.random.random(),
                )
                if (
                    intent.state in live.AT_BROKER
                    and intent.sent_mono
                    and now_mono - intent.sent_mono > STUCK_AFTER
                ):
                    # Accepted, and yet the book has never shown it: a person has to ask.
                    executor.rounds.alarm(
                        intent.execution_id, "UNRESOLVED", leg=intent.leg_key, order=intent.tag
                    )
            if changed:
                executor.rounds.changed(intent)

    def _mine(
        self, intent: LiveIntent, reports: Sequence[tuple[int, OrderReport]]
    ) -> OrderReport | None:
        """The report of this intent's newest send, or of an older one that turned out alive."""
        if intent.state == live.UNKNOWN and sabotage.active(sabotage.IGNORE_UNKNOWN):
            return None
        alive = [r for _, r in reports if r.state is not BookState.REJECTED or r.filled_quantity]
        if len(alive) > 1:
            log.error(
                "duplicate_orders", code=intent.code, orders=[r.broker_order_id for r in alive]
            )
            self._executor.rounds.alarm(
                intent.execution_id,
                "DUPLICATE",
                leg=intent.leg_key,
                words=", ".join(str(r.broker_order_id) for r in alive),
                order=intent.tag,
            )
        current = [r for attempt, r in reports if attempt == intent.sends]
        # All sends count: one that is alive beats one that was refused. Seen: the first was hidden,
        # took the margin, and the second was refused for want of it; the position was nobody's.
        if current and (current[0] in alive or not alive):
            return current[0]
        return alive[0] if alive else None

    def _visibility(self, channel: Channel) -> float:
        override = self._executor.timing.visibility_delay
        own = float(channel.adapter.capabilities.visibility_delay)
        return own if override is None else override

    def _escalate(self, intents: Sequence[LiveIntent]) -> None:
        now, now_mono = self._executor.now(), clock.monotonic()
        for intent in intents:
            if outcome.escalate_if_stuck(intent, at=now, now_mono=now_mono):
                log.error("intent_escalated", tag=intent.tag, account=intent.account_id)
                self._executor.rounds.changed(intent)

    # -- single calls ------------------------------------------------------------------------
    async def orders(self, account_id: int) -> Sequence[OrderReport] | None:
        """The whole order book now, other people's orders included; None when it was not read.

        What it says of our own orders is noted before it is returned.
        """
        channel = self._executor.accounts.channels.get(account_id)
        if channel is None:
            return None
        book = await self._book(channel, EXITS)  # an exit waits for it
        return book.orders if book.ok else None

    async def positions(self, account_id: int) -> PositionRead | None:
        """Net positions of an account; None when it has no channel or did not answer."""
        channel = self._executor.accounts.channels.get(account_id)
        if channel is None:
            return None
        await channel.paced(Call.READ, EXITS)  # an exit waits for it
        response, _ = await self._placed(channel, channel.adapter.positions(channel.session))
        if response is None:
            return None
        return await self._parsed(channel.adapter.parse_positions, response)

    async def cancel(self, intent: LiveIntent) -> None:
        """Send a cancel; whatever it answers, the book is read next."""
        channel = self._executor.accounts.channels.get(intent.account_id)
        if channel is None:
            return
        request = channel.adapter.cancel_order(channel.session, intent.broker_order_id)
        await channel.paced(Call.CHANGE, EXITS)
        response = await self._fetch(channel, request)
        if response is not None:
            # By what it says: Noren's "too many" comes with another status than Kite's.
            said = channel.adapter.parse_cancel(response)
            if said.cause == "RATE_LIMIT":
                channel.throttled(response, Call.CHANGE, said.message)
        self.soon(intent.account_id)

    async def _placed(
        self, channel: Channel, request: HttpRequest
    ) -> tuple[HttpResponse | None, float]:
        """The answer to a read, and when it was asked (monotonic seconds)."""

        async def read() -> tuple[HttpResponse | None, float]:
            started = clock.monotonic()
            return await self._fetch(channel, request), started

        return await self._places.carry(read)

    async def _parsed(self, parse: Callable[[HttpResponse], T], response: HttpResponse) -> T:
        if len(response.body) <= LARGE:
            return parse(response)
        await self._executor.quiet.over()  # a thread would take turns with the orders that leave
        return await asyncio.to_thread(parse, response)

    async def _fetch(self, channel: Channel, request: HttpRequest) -> HttpResponse | None:
        """The answer, or None when there was none in time (which proves nothing)."""
        try:
            return await self._clients.send(request, channel.route)
        except TransportError as error:
            log.info("broker_read_failed", account=channel.account_id, reason=error.message)
            return None
