"""Reading the brokers' books: fills, rejections, and what becomes of UNKNOWN.

Here I3 (no second send without proof) finds its proof.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog

from brokers import aio
from brokers.base import BookRead, HttpRequest, HttpResponse, OrderReport, PositionRead
from brokers.http import Limits, TransportError
from brokers.pace import Call, Urgency
from execution import alarms, duplicates, lifecycle, outcome
from execution.duplicates import Found
from execution.engine.memory.actors import Actor
from execution.engine.runtime import call_slots
from execution.engine.runtime.call_slots import CallSlots
from execution.engine.wire.channel import Channel
from execution.live import LiveIntent
from execution.pacing import EXITS, READS
from execution.progress import STUCK_AFTER
from execution.tags import parse_tag
from quantleap.core import clock

if TYPE_CHECKING:
    from execution.engine.executor import Executor

log = structlog.get_logger(__name__)
T = TypeVar("T")
PERIOD: Final = 0.05
#: Every unfinished order is looked at so often, in seconds; those that a book was asked for sooner.
CHECK_EVERY: Final = 0.5
#: Reads that are begun before the loop turns to what has come in meanwhile.
AT_A_TIME: Final = 16
#: Of a read: a day's book of 3,000 orders is some 3 MB. A larger answer is not read to its end.
LIMITS: Final = Limits(connect=2.0, read=4.0, max_bytes=5 * 1024 * 1024)
#: Orders of one account and day; brokers take 3,000. Longer books are nobody's day.
MOST_ORDERS: Final = 10_000
#: Bytes from which an answer is parsed beside the loop: a thousand orders take a tenth of a second.
LARGE: Final = 32 * 1024
FIRST_READ: Final = 0.12
UNKNOWN_EVERY: Final = 1.5
REST_EVERY: Final = 2.0
#: Where order updates come by themselves: the first look after an answer, and every further one.
CHECKED_AFTER: Final = 1.5
RECONCILED_EVERY: Final = 5.0
STRANDED_AFTER: Final = 5.0
STALE_SENDING: Final = 2.0
#: States that only a book, or an update, ends.
#: Seconds from one cancel of an order that should not be there to the next, doubled up to the last.
STRAY_FIRST: Final = 3.0
STRAY_LAST: Final = 30.0
#: In place of the moment at which a send left: the book has shown it.
SEEN: Final = -1.0


class BookPoller:
    """Reads a book when somebody's order is unfinished there, within the broker's read budget."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        # No bound of its own on connections: those that hang would use it up.
        self._clients = aio.Clients(connections=0)
        self._places: dict[str, CallSlots] = {}
        self._watched: set[Actor] = set()
        self._checked_at = 0.0
        self._failing: dict[int, str] = {}
        self._strays: dict[str, tuple[float, float]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._parser = ThreadPoolExecutor(1, "executor-books")

    async def close(self) -> None:
        """Stop reading."""
        for task in list(self._tasks):
            task.cancel()
        await self._clients.close()
        self._parser.shutdown(wait=False, cancel_futures=True)

    def soon(self, account_id: int) -> None:
        """An order of this account was just answered: its fill should be in the book shortly."""
        actor = self._executor.actors.at(account_id)
        if actor is not None:
            self._watched.add(actor)
            actor.reads = 0
            soon = clock.monotonic() + self._first_look(actor)
            actor.next_read_mono = max(actor.next_read_mono, soon)

    def _first_look(self, actor: Actor) -> float:
        """Seconds until a book is worth reading: later where fills are told without being asked
        for, unless something is unknown, which nobody tells."""
        told = self._executor.updates.trusts(actor)
        unknown = any(intent.state == lifecycle.UNKNOWN for intent in actor.intents.values())
        return CHECKED_AFTER if told and not unknown else FIRST_READ

    def at_once(self, actor: Actor) -> None:
        """Something of this account may have happened unheard: read its book."""
        self._watched.add(actor)
        actor.reads = 0
        actor.next_read_mono = min(actor.next_read_mono, clock.monotonic())

    # -- the loop ----------------------------------------------------------------------------
    async def loop(self) -> None:
        """Read what is due, for ever."""
        while True:
            await self._executor.quiet.over()
            await self._look()
            await asyncio.sleep(PERIOD)

    async def _look(self) -> None:
        """Begin the reads that are due now."""
        now = clock.monotonic()
        if now - self._checked_at >= CHECK_EVERY:
            self._checked_at = now
            self._check(now)
        due: dict[Actor, list[LiveIntent]] = {}
        for actor in list(self._watched):
            if actor.reading or actor.next_read_mono > now:
                continue
            intents = _waiting(actor)
            if intents:
                due[actor] = intents
            else:
                self._watched.discard(actor)
        await self._open_missing(due)
        for number, (actor, intents) in enumerate(due.items(), start=1):
            self._start(actor, intents)
            if number % AT_A_TIME == 0:  # five thousand in one go would hold up every answer
                await asyncio.sleep(0)

    def _check(self, now: float) -> None:
        """Look at everything unfinished: what was lost on its way, and whose book is to be read."""
        late = self._executor.timing.answer_timeout + STALE_SENDING
        for intent in list(self._executor.unfinished.values()):
            if intent.is_final:
                del self._executor.unfinished[intent.code]
            if (
                intent.state == lifecycle.SENDING
                and intent.sent_mono
                and now - intent.sent_mono > late
            ):
                outcome.become_unknown(intent, now)
                self._executor.rounds.changed(intent)
            elif self._is_stranded(intent):
                self._executor.rounds.sending.on_not_sent(intent, "BROKER_DOWN")
            if intent.state in lifecycle.MAY_REST:
                actor = self._executor.actors.at(intent.account_id)
                if actor is not None:
                    self._watched.add(actor)

    def watch(self, intent: LiveIntent) -> None:
        """Read this intent's book for as long as another order of it may turn up there."""
        actor = self._executor.actors.at(intent.account_id)
        if actor is not None:
            self._watched.add(actor)

    def _is_stranded(self, intent: LiveIntent) -> bool:
        """Whether an order of ours is past its time and waits nowhere to be sent: whatever lost it,
        it has provably not left. Seen: 12 orders SENDING for ever, without a cause or an alarm."""
        if intent.state != lifecycle.SENDING or intent.sent_mono:
            return False
        executor = self._executor
        if (executor.now() - intent.due_at).total_seconds() < STRANDED_AFTER:
            return False
        channel = executor.accounts.channels.get(intent.account_id)
        waits = channel is not None and channel.holds(intent)
        return not waits and not executor.rounds.sending.is_fenced(intent)

    async def _open_missing(self, waiting: Mapping[Actor, Sequence[LiveIntent]]) -> None:
        """Look again for the sessions of rows that have none, of all of them at once."""
        executor = self._executor
        owners = {
            intent.execution_id
            for actor, intents in waiting.items()
            for intent in intents
            if intent.account_id not in actor.channels
            and intent.execution_id in executor.executions
        }
        if owners:
            await executor.accounts.open_for([executor.executions[key] for key in owners])

    def _start(self, actor: Actor, intents: Sequence[LiveIntent]) -> None:
        channel = actor.reader()
        if channel is None:
            return
        actor.reading = True
        self._spawn(self._read(actor, channel, intents))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self, actor: Actor, channel: Channel, intents: Sequence[LiveIntent]) -> None:
        try:
            await self._book(channel, READS)
            self._escalate(intents)
        finally:
            actor.reading = False
            actor.reads += 1
            actor.next_read_mono = clock.monotonic() + self._pause(actor, channel, intents)

    async def _book(self, channel: Channel, urgency: Urgency) -> BookRead:
        """One look at the order book, noted with our own orders."""
        actor = self._executor.actors.of(channel.real, channel.account_id)
        await actor.rested()
        await channel.paced(Call.READ, urgency)
        request = channel.adapter.order_book(channel.session)
        response, started = await self._placed(channel, request, urgency)
        if response is None:
            return BookRead(ok=False)
        book = await self._parsed(channel.adapter.parse_order_book, response, actor)
        if len(book.orders) > MOST_ORDERS:
            log.warning("book_too_long", account=channel.account_id, orders=len(book.orders))
            return BookRead(ok=False)
        if book.ok:
            actor.read_mono = started
            self._apply(channel, book.orders, started)
        elif book.cause == "SESSION_EXPIRED":
            self.forget(channel)
        elif book.cause == "RATE_LIMIT":
            channel.throttled(response, Call.READ, book.message)
        return book

    def forget(self, channel: Channel) -> None:
        """Its session has ended, unless another one has taken its place meanwhile."""
        if self._executor.accounts.channels.get(channel.account_id) is channel:
            self._executor.accounts.forget_session(channel.account_id)

    def _pause(self, actor: Actor, channel: Channel, intents: Sequence[LiveIntent]) -> float:
        budget = 1 / float(channel.adapter.capabilities.book_reads_per_second)
        if any(intent.state == lifecycle.UNKNOWN for intent in intents):
            return max(budget, UNKNOWN_EVERY)
        watched = any(duplicates.is_watched(intent) for intent in intents)
        if self._executor.updates.trusts(actor) and not watched:
            return RECONCILED_EVERY
        return max(budget, min(REST_EVERY, 0.25 * float(2**actor.reads)))

    # -- what a book says --------------------------------------------------------------------
    def _apply(self, channel: Channel, orders: Sequence[OrderReport], started: float) -> None:
        executor = self._executor
        now, now_mono = executor.now(), clock.monotonic()
        by_code: dict[str, list[tuple[int, OrderReport]]] = defaultdict(list)
        for report in orders:
            tag = parse_tag(report.tag)
            if tag is not None:
                by_code[tag.code].append((tag.attempt, report))
        actor = executor.actors.of(channel.real, channel.account_id)
        for intent in list(actor.intents.values()):
            if intent.is_unsent:
                continue
            reports = by_code.get(intent.code, ())
            found = duplicates.find(intent, reports)
            changed = False
            if found.own is not None:
                filled = intent.filled_quantity
                self._measure(channel, intent, reports, started)
                changed = outcome.apply_report(intent, found.own, at=now, now_mono=now_mono)
                if intent.filled_quantity > filled:
                    executor.updates.compare(actor, found.own)
                if changed and outcome.is_changed(intent, found.own):
                    executor.rounds.alarm(
                        intent.execution_id,
                        alarms.CHANGED_OUTSIDE,
                        leg=intent.leg_key,
                        words=f"{found.own.quantity} units instead of {intent.quantity}",
                        order=intent.tag,
                    )
                changed = self._note_duplicates(channel, intent, found) or changed
            else:
                changed = self._apply_absence(channel, intent, started, now, now_mono)
            if changed:
                executor.rounds.changed(intent)
            if duplicates.looked(intent, started):
                executor.rounds.ask([intent.execution_id])
            if duplicates.is_watched(intent):
                self._watched.add(actor)

    def _apply_absence(
        self,
        channel: Channel,
        intent: LiveIntent,
        started: float,
        now: dt.datetime,
        now_mono: float,
    ) -> bool:
        """The book does not show the order: whether that changes what we know of it."""
        executor = self._executor
        self._note_missing(intent, started, now_mono)
        return outcome.apply_absence(
            intent,
            read_started_mono=started,
            visibility_delay=executor.visibility.delay(channel.adapter),
            at=now,
            now_mono=now_mono,
            jitter=executor.random.random(),
        )

    def _note_missing(self, intent: LiveIntent, started: float, now_mono: float) -> None:
        """A successful read without the order: by this it is measured how late the book is."""
        last = max(intent.sent_mono, intent.unknown_since_mono)
        if intent.state in lifecycle.MAY_REST and 0 < last <= started:
            intent.hidden.setdefault(intent.sends, last)
        if (
            intent.state in lifecycle.AT_BROKER
            and intent.sent_mono
            and now_mono - intent.sent_mono > STUCK_AFTER
        ):
            # Accepted, and yet the book has never shown it: a person has to ask.
            self._executor.rounds.alarm(
                intent.execution_id, "UNRESOLVED", leg=intent.leg_key, order=intent.tag
            )

    def _measure(
        self,
        channel: Channel,
        intent: LiveIntent,
        reports: Sequence[tuple[int, OrderReport]],
        started: float,
    ) -> None:
        """An order that an earlier read lacked is there now: so late is this broker's book."""
        for attempt, _ in reports:
            left = intent.hidden.get(attempt, 0.0)
            intent.hidden[attempt] = SEEN
            if left > 0:
                visibility = self._executor.visibility
                visibility.seen_after(channel.adapter, started - left, intent.tag)

    def _note_duplicates(self, channel: Channel, intent: LiveIntent, found: Found) -> bool:
        """Whether another order of this intent has filled; what rests is cancelled."""
        executor = self._executor
        changed = duplicates.note(intent, found)
        if found.others:
            executor.rounds.alarm(
                intent.execution_id,
                alarms.DUPLICATE,
                leg=intent.leg_key,
                words=", ".join(order.broker_order_id for order in found.others),
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
        if now < following or not self._executor.owns(intent.shard):
            return
        self._strays[order_id] = (now + pause, min(2 * pause, STRAY_LAST))
        log.warning("stray_order_cancelled", tag=intent.tag, order=order_id)
        self._spawn(self._cancel(channel, order_id))

    def _escalate(self, intents: Sequence[LiveIntent]) -> None:
        now, now_mono = self._executor.now(), clock.monotonic()
        for intent in intents:
            if outcome.escalate_if_stuck(intent, at=now, now_mono=now_mono):
                log.error("intent_escalated", tag=intent.tag, account=intent.account_id)
                self._executor.rounds.changed(intent)
            if duplicates.lose_sight(intent, now_mono):
                log.error("intent_out_of_sight", tag=intent.tag, account=intent.account_id)
                self._executor.rounds.ask([intent.execution_id])

    # -- single calls ------------------------------------------------------------------------
    async def orders(self, actor: Actor) -> Sequence[OrderReport] | None:
        """The whole order book now, other people's orders included; None when it was not read.

        What it says of our own orders is noted before it is returned.
        """
        while (channel := actor.reader()) is not None:
            book = await self._book(channel, EXITS)  # an exit waits for it
            if book.ok:
                return book.orders
            if channel is actor.channels.get(channel.account_id):
                return None  # it was not its session that ended: nobody else's is any better
        return None

    async def positions(self, actor: Actor) -> PositionRead | None:
        """Net positions of an account; None when nobody is logged in or there was no answer."""
        while (channel := actor.reader()) is not None:
            await actor.rested()
            await channel.paced(Call.READ, EXITS)  # an exit waits for it
            response, _ = await self._placed(
                channel, channel.adapter.positions(channel.session), EXITS
            )
            if response is None:
                return None
            found = await self._parsed(channel.adapter.parse_positions, response, actor)
            if found.cause != "SESSION_EXPIRED":
                return found
            self.forget(channel)
        return None

    async def quote(self, channel: Channel, request: HttpRequest) -> HttpResponse | None:
        """The answer to a question for prices, within the account's pace; None: there was none."""
        await channel.paced(Call.QUOTE, EXITS)
        response, _ = await self._placed(channel, request, EXITS)
        return response

    async def cancel(self, intent: LiveIntent) -> None:
        """Send a cancel; whatever it answers, the book is read next."""
        actor = self._executor.actors.at(intent.account_id)
        channel = None if actor is None else actor.changer(intent.account_id)
        if channel is not None:
            await self._cancel(channel, intent.broker_order_id)

    async def _cancel(self, channel: Channel, order_id: str) -> None:
        request = channel.adapter.cancel_order(channel.session, order_id)
        await channel.paced(Call.CHANGE, EXITS)
        if not self._executor.owns(channel.shard):
            return  # its order is somebody else's to cancel by now
        response = await self.fetched(channel, request)
        if response is not None:
            # By what it says: Noren's "too many" comes with another status than Kite's.
            said = channel.adapter.parse_cancel(response)
            if said.cause == "RATE_LIMIT":
                channel.throttled(response, Call.CHANGE, said.message)
        self.soon(channel.account_id)

    async def _placed(
        self, channel: Channel, request: HttpRequest, urgency: Urgency
    ) -> tuple[HttpResponse | None, float]:
        """The answer to a read, and when it was asked (monotonic seconds)."""

        async def read() -> tuple[HttpResponse | None, float]:
            started = clock.monotonic()
            return await self.fetched(channel, request), started

        bound = self._places.setdefault(channel.real.broker, CallSlots(*call_slots.READS))
        return await bound.carry(read, urgent=urgency is EXITS)

    async def _parsed(
        self,
        parse: Callable[[HttpResponse], T],
        response: HttpResponse,
        actor: Actor | None = None,
    ) -> T:
        """What an answer says. Large ones are understood beside the loop, one after another, and
        their account rests afterwards."""
        if len(response.body) <= LARGE:
            return parse(response)
        await self._executor.quiet.over()  # a thread would take turns with the orders that leave
        loop = asyncio.get_running_loop()
        found, seconds = await loop.run_in_executor(self._parser, _timed, parse, response)
        if actor is not None:
            actor.worked(seconds)
        return found

    async def fetched(self, channel: Channel, request: HttpRequest) -> HttpResponse | None:
        """The answer, or None when there was none in time (which proves nothing)."""
        account_id = channel.account_id
        try:
            answer = await channel.fetch(self._clients, request, LIMITS)
        except TransportError as error:
            # Said once, not with every reading: a broker that is away is one fact.
            say = log.debug if self._failing.get(account_id) == error.message else log.warning
            say("broker_read_failed", account=account_id, reason=error.message)
            self._failing[account_id] = error.message
            channel.unanswered += 1
            return None
        channel.unanswered = 0
        if self._failing.pop(account_id, ""):
            log.info("broker_answers_again", account=account_id)
        return answer


def _waiting(actor: Actor) -> list[LiveIntent]:
    return [
        intent
        for intent in actor.intents.values()
        if intent.state in lifecycle.MAY_REST or duplicates.is_watched(intent)
    ]


def _timed(parse: Callable[[HttpResponse], T], response: HttpResponse) -> tuple[T, float]:
    """What ``parse`` finds, and the seconds of a core that it took."""
    begun = time.thread_time()
    return parse(response), time.thread_time() - begun
