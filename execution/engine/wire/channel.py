"""The channel of one broker account row: its session, connections, and queue of orders to send.

Several rows may belong to one real account (:mod:`execution.engine.memory.actors`): they share its
pacer.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import structlog

from brokers import pace, transport_async
from brokers.base import BrokerAdapter, HttpRequest, HttpResponse, Session
from brokers.pace import ORDER_CALLS, Call, Pacer, Urgency
from brokers.real_account import RealAccount
from brokers.routes import Route
from brokers.transport_sync import Limits
from execution import lifecycle
from execution.causes import BROKER_DOWN, EARLY, WAITS
from execution.engine.runtime.call_slots import CallSlots
from execution.engine.wire.connection import Answer, Connection, Deadlines, TooLate
from execution.engine.wire.sockets import NotConnected, Target
from execution.pacing import ENTRIES, EXITS
from execution.state import LiveIntent, LiveRun
from execution.throttling import RETRY_AFTER, TOO_MANY, asked_wait
from quantleap.core import clock

log = structlog.get_logger(__name__)
#: Seconds until an order that waits for another one is checked again.
ASK_AGAIN: Final = 0.02

CONNECTIONS_PER_ACCOUNT: Final = 2
#: Seconds for which a permission to send is valid: after a freeze it is checked again.
PERMIT_SECONDS: Final = 0.05
_OK: Final = 200
#: Computed once: every send checks its lane, and a thousand leave in one moment.
_PLACE: Final = Call.PLACE
_ENTRY: Final = pace.lane(Call.PLACE, ENTRIES)
_EXIT: Final = pace.lane(Call.PLACE, EXITS)


@dataclass(frozen=True, slots=True)
class Shot:
    """One account's first order at T, with its connection."""

    channel: Channel
    connection: Connection
    intent: LiveIntent
    run: LiveRun


class Channel:
    """Sends one account's orders in order, paced, over warm connections.

    ``why_not_send(intent, now)`` is called at the last moment (monotonic seconds): '' or the
    reason why not (fence lost, kill switch). Only channels send orders, so
    I5 (never more than planned or held) is checked there.
    """

    def __init__(
        self,
        *,
        account_id: int,
        real: RealAccount,
        shard: int,
        session: Session,
        adapter: BrokerAdapter,
        route: Route,
        pacer: Pacer,
        timeout: float,
        drop_after: float,
        slots: CallSlots,
        loop: asyncio.AbstractEventLoop,
        deadlines: Deadlines,
        why_not_send: Callable[[LiveIntent, float], str],
        on_sent: Callable[[LiveIntent, float], None],
        on_answer: Callable[[LiveIntent, Answer], None],
        on_not_sent: Callable[[LiveIntent, str, str], None],
        on_late: Callable[[LiveIntent, float], None] = lambda _intent, _mono: None,
    ) -> None:
        """``on_late`` is called with an order that left at the given moment (monotonic seconds),
        long after ``why_not_send``, because the process had frozen."""
        self.account_id = account_id
        self.real = real
        self.shard = shard
        self.session = session
        self.adapter = adapter
        self.route = route
        self.target = Target.of(route.base_url, route.source)
        self._timeout = timeout
        self._loop = loop
        self._why_not_send = why_not_send
        self._on_sent = on_sent
        self._on_answer = on_answer
        self._on_not_sent = on_not_sent
        self._on_late = on_late
        self._connections = [
            Connection(self.target, loop, deadlines, drop_after=drop_after)
            for _ in range(CONNECTIONS_PER_ACCOUNT)
        ]
        self.pacer = pacer
        self._exits: deque[LiveIntent] = deque()
        self._entries: deque[LiveIntent] = deque()
        #: Orders that wait for another one of ours, set aside so that those behind need not wait.
        self._aside: list[LiveIntent] = []
        self._wakeup: asyncio.TimerHandle | None = None
        self._wakes_at = 0.0
        self._connecting = False
        self._fault = ""
        self._slots = slots
        self._warming = asyncio.Lock()
        self._closed = False
        self.last_used = clock.monotonic()
        #: Consecutive reads without an answer, managed by BrokerCalls.
        self.unanswered = 0

    def restore(self, intents: Iterable[LiveIntent]) -> None:
        """Do nothing: the broker's own book has what an earlier process sent."""

    async def warm_up(self, connections: int = CONNECTIONS_PER_ACCOUNT) -> bool:
        """Open connections ahead of T; return whether at least one is open."""
        # Two runs that enter at the same second both warm up. A second connect would replace a
        # socket that the loop still watches, and libuv would abort the process.
        async with self._warming:
            for connection in self._connections[:connections]:
                if connection.is_open:
                    continue
                try:
                    await self._slots.carry(functools.partial(self._connect, connection))
                except NotConnected as error:
                    self._fault = str(error)
                    log.warning("connect_failed", account=self.account_id, reason=self._fault)
                    break
        return self.is_connected

    async def _connect(self, connection: Connection) -> None:
        """Connect; if the channel was closed meanwhile, close the late connection here."""
        await connection.connect()
        if self._closed:
            connection.close("executor stops")

    def close(self) -> None:
        """Drop all connections: orders in flight become UNKNOWN, queued ones were never sent."""
        self._closed = True
        self._give_back()
        for connection in self._connections:
            connection.close("executor stops")

    def retire(self) -> None:
        """Send nothing new; wait for answers in flight until their time-out, then close."""
        self._closed = True
        self._give_back()
        if any(connection.is_open and not connection.is_idle for connection in self._connections):
            self._loop.call_later(self._timeout + 1, self.close)
        else:
            self.close()

    def _give_back(self) -> None:
        if self._wakeup is not None:
            self._wakeup.cancel()
            self._wakeup = None
        self._refuse_all("")

    def _refuse_all(self, fault: str) -> None:
        self._take_up()
        while queue := self._exits or self._entries:
            self._on_not_sent(queue.popleft(), BROKER_DOWN, fault)

    def throttled(self, response: HttpResponse, call: Call, message: str = "") -> None:
        """Pause after the broker refused a ``call`` with "too many requests"."""
        wait = self._hold_still(response, call, message)
        log.warning("broker_throttles", account=self.account_id, call=call, wait_s=round(wait, 3))

    def _hold_still(self, response: HttpResponse, call: Call, message: str = "") -> float:
        cool_down = self.adapter.capabilities.cool_down if call in ORDER_CALLS else 1
        wait = asked_wait(response.headers, now=clock.now(), cool_down=float(cool_down))
        now = clock.monotonic()
        self.pacer.refused(now, call, message, wait)
        if RETRY_AFTER in response.headers:
            self.pacer.hold(call, now + wait)
        return wait

    def submit(self, intent: LiveIntent) -> None:
        """Queue one order whose SENDING row is committed, and send what may leave now."""
        self.load(intent)
        self.drain()

    def load(self, intent: LiveIntent) -> None:
        """Queue one order, for T or for now, without sending anything yet."""
        if intent.purpose == lifecycle.ENTRY:
            self._entries.append(intent)
            # Compute the pacing before T, so that it need not be computed at T.
            self.pacer.free_from(_ENTRY)
        else:
            self._exits.append(intent)

    @property
    def is_connected(self) -> bool:
        """Whether a connection is open, busy or not."""
        return any(connection.is_open for connection in self._connections)

    @property
    def is_waiting(self) -> bool:
        """Whether orders are queued."""
        return bool(self._exits or self._entries)

    def holds(self, intent: LiveIntent) -> bool:
        """Whether this order is queued here."""
        return intent in self._exits or intent in self._entries or intent in self._aside

    def drain(self) -> None:
        """Send as much of the queues as pacing and connections allow, exits first."""
        if self._aside:
            self._take_up()
        self._drain()
        if self._aside:
            self._wake_at(clock.monotonic() + ASK_AGAIN)

    def _take_up(self) -> None:
        """Put orders set aside back at the head of their queues, in order."""
        aside, self._aside = self._aside, []
        for intent in reversed(aside):
            (self._entries if intent.purpose == lifecycle.ENTRY else self._exits).appendleft(intent)

    def _drain(self) -> None:
        exits, entries = self._exits, self._entries
        while exits or entries:
            queue, lane = (exits, _EXIT) if exits else (entries, _ENTRY)
            now = clock.monotonic()
            slot = self.pacer.free_from(lane)
            if slot > now:
                self._wake_at(slot)
                return
            connection = self._idle()
            if connection is None:
                if not any(c.is_open for c in self._connections):
                    self._reconnect()
                return
            intent = queue[0]
            reason = self._why_not_send(intent, now)
            if reason == EARLY:
                # It stays queued until it is due: another run may enter a second later.
                self._wake_at(now + max(0.0, intent.due_at.timestamp() - clock.timestamp()))
                return
            queue.popleft()
            if reason == WAITS:
                self._aside.append(intent)
                continue
            if reason:
                self._on_not_sent(intent, reason, "")
                continue
            self._send(connection, queue, intent, now)

    def aim(self, run: LiveRun) -> Shot | None:
        """The order that would leave first, if only its second holds it back; sends nothing.

        :meth:`drain` handles orders that are held back for other reasons.
        """
        now = clock.monotonic()
        connection = self._idle()
        if self._exits or self._aside or not self._entries or connection is None:
            return None
        intent = self._entries[0]
        if intent.due_at > run.entry_at:
            return None  # it belongs to another run that enters later
        if self.pacer.free_from(_ENTRY) > now or not connection.is_writable():
            return None
        if self._why_not_send(intent, now) not in ("", EARLY):
            return None
        return Shot(self, connection, intent, run)

    def shoot(self, shot: Shot, now: float) -> None:
        """Send an aimed order. Nothing may have been awaited since :meth:`aim`."""
        if self.pacer.free_from(_ENTRY) > now:
            return  # the same person's account at another partner was faster
        self._entries.popleft()
        self._send(shot.connection, self._entries, shot.intent, now)

    async def fetch(
        self, clients: transport_async.Clients, request: HttpRequest, limits: Limits
    ) -> HttpResponse:
        """The answer to a read, cancel or change. Raises TransportError if none came in time."""
        return await clients.send(request, self.route, limits=limits)

    async def paced(self, call: Call, urgency: Urgency) -> None:
        """Wait until a call other than an order may leave, and count it as leaving now."""
        while (slot := self.pacer.next_slot(now := clock.monotonic(), call, urgency)) > now:
            await asyncio.sleep(slot - now)
        self.pacer.take(now, call)

    def _is_throttled(self, response: HttpResponse) -> bool:
        """Whether an order was throttled: HTTP 429, or Noren's 400 with its message."""
        if response.status == _OK:
            return False
        return response.status == TOO_MANY or (
            self.adapter.parse_place(response).cause == "RATE_LIMIT"
        )

    def _idle(self) -> Connection | None:
        for connection in self._connections:
            if connection.is_idle:
                return connection
        return None

    def _send(
        self, connection: Connection, queue: deque[LiveIntent], intent: LiveIntent, now: float
    ) -> None:
        def answered(answer: Answer, intent: LiveIntent = intent) -> None:
            if answer.response is not None and self._is_throttled(answer.response):
                # before the next order, which would be throttled too
                self._hold_still(answer.response, Call.PLACE)
            self.drain()  # the next order first: everything else can wait
            self._on_answer(intent, answer)

        try:
            connection.send(intent.raw, answered, now + self._timeout, now + PERMIT_SECONDS)
        except (NotConnected, TooLate):
            # The socket had died unnoticed, or we were frozen since the check: nothing has left.
            # Another socket may be alive, and the order is checked again.
            queue.appendleft(intent)
            return
        sent = clock.monotonic()
        self.pacer.take(sent, _PLACE)
        self.last_used = sent
        self._on_sent(intent, sent)
        if sent - now > PERMIT_SECONDS:
            self._on_late(intent, sent)

    def _wake_at(self, mono: float) -> None:
        """Drain at ``mono`` (monotonic seconds), or earlier if already scheduled earlier."""
        if self._wakeup is not None:
            if self._wakes_at <= mono:
                return
            self._wakeup.cancel()
        self._wakes_at = mono
        self._wakeup = self._loop.call_later(max(0.0, mono - clock.monotonic()), self._wake)

    def _wake(self) -> None:
        self._wakeup = None
        self.drain()

    def _reconnect(self) -> None:
        if not self._connecting:
            self._connecting = True
            self._loop.create_task(self._reconnect_now())

    async def _reconnect_now(self) -> None:
        try:
            opened = await self.warm_up(1)
        finally:
            self._connecting = False
        if opened:
            self.drain()
            return
        self._refuse_all(self._fault)
