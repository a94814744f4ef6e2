"""The only sender of orders: sends what the database granted, if it still may, and takes answers.

Everything runs in the executor's loop thread. Channels call :meth:`OrderSender.why_not_send` at the
last moment and report what left, what did not, and what the broker answered.
"""

from __future__ import annotations

import datetime as dt
from random import Random

from brokers.base import BrokerInstrument, OrderRequest, Outcome, Product, SendResult
from brokers.pace import Call
from brokers.registry import get_adapter
from execution import lifecycle, transitions
from execution.alarms import SELF_TRADE, SESSION_OVER
from execution.causes import (
    BROKER_DOWN,
    CONTROL_UNREACHABLE,
    EARLY,
    FENCED,
    GRACE_OVER,
    SESSION_EXPIRED,
    STALE,
)
from execution.engine.memory.channels import Channels
from execution.engine.memory.ownership import Ownership
from execution.engine.memory.reading_list import ReadingList
from execution.engine.memory.trading_day import TradingDay
from execution.engine.memory.work_list import WorkList
from execution.engine.orders.contract_names import ContractNames
from execution.engine.orders.self_trades import SelfTrades
from execution.engine.runtime import facts
from execution.engine.runtime.kill_switch_watch import KillSwitchWatch
from execution.engine.wire.connection import Answer, serialise
from execution.send_gate import why_not_enter, why_not_leave
from execution.state import LiveExecution, LiveIntent, LiveRun
from execution.tags import MAX_SENDS, make_tag
from execution.throttling import next_try
from execution.withdrawals import cause_of_missing
from quantleap.core import clock


class OrderSender:
    """Handles orders from the committed row to the broker's answer."""

    def __init__(
        self,
        *,
        day: TradingDay,
        ownership: Ownership,
        channels: Channels,
        names: ContractNames,
        self_trades: SelfTrades,
        control: KillSwitchWatch,
        control_age: float,
        work: WorkList,
        reading: ReadingList,
        random: Random,
    ) -> None:
        """``control_age``: seconds for which a reading of the kill switches is valid."""
        self._day = day
        self._ownership = ownership
        self._channels = channels
        self._names = names
        self._self_trades = self_trades
        self._control = control
        self._control_age = control_age
        self._work = work
        self._reading = reading
        self._random = random
        self._sent: list[tuple[LiveIntent, float]] = []
        self._fenced: dict[str, tuple[LiveIntent, int]] = {}

    def dispatch(self, intent: LiveIntent) -> None:
        """Send an order whose SENDING row is committed."""
        execution = self._day.executions.get(intent.execution_id)
        if execution is None:
            return
        if not self.prepare(execution, intent) or not self._channels.submit(execution, intent):
            self.on_not_sent(intent, self._channels.problems.get(intent.account_id, ""))

    def prepare(self, execution: LiveExecution, intent: LiveIntent) -> bool:
        """Serialise the intent's next send; False if its account has no channel or the contract no
        name.

        An entry that was serialised before T for the same channel and tag is kept.
        """
        channel = self._channels.by_account.get(execution.account_id)
        name = self._names.of(execution.broker, intent.contract_id)
        if channel is None or name is None:
            return False
        request = order_request(intent, name)
        made_for = channel, request.tag
        if intent.purpose == lifecycle.ENTRY and intent.raw_for == made_for:
            return True
        intent.instrument = name
        intent.raw = serialise(
            channel.adapter.place_order(channel.session, request), channel.target
        )
        intent.raw_for = made_for
        return True

    def why_not_send(self, intent: LiveIntent, now_mono: float) -> str:
        """'' if this order may leave now, else why not. Called at the last moment.

        The last guard of I5 (never more than planned or held) and I7 (no entry outside its window).
        """
        if not self._ownership.owns_at(intent.shard, now_mono):
            return FENCED
        execution = self._day.executions.get(intent.execution_id)
        if execution is None or intent.state != lifecycle.SENDING or intent.sends > MAX_SENDS:
            return STALE
        run = execution.run
        if intent.purpose != lifecycle.ENTRY:
            if clock.timestamp() >= run.closes_unix:
                return SESSION_OVER
            reason = why_not_leave(execution, intent, now_mono)
            return reason or self._self_trades.why_wait(execution, intent, now_mono)
        reason = why_not_enter(execution, intent) or self._why_not_now(run, now_mono)
        if reason == GRACE_OVER and self._self_trades.is_waiting(execution, intent):
            return SELF_TRADE
        return reason or self._self_trades.why_wait(execution, intent, now_mono)

    def why_no_longer(self, intent: LiveIntent, run: LiveRun, now_mono: float) -> str:
        """:meth:`why_not_send` for an entry that passed it, with nothing awaited since: only clock,
        lease and kill switch may have changed."""
        if not self._ownership.still_owns_at(intent.shard, now_mono):
            return FENCED
        return self._why_not_now(run, now_mono)

    def _why_not_now(self, run: LiveRun, now_mono: float) -> str:
        now = clock.timestamp()
        if now >= run.closes_unix:
            return SESSION_OVER
        if now < run.entry_unix:
            return EARLY
        if now > run.grace_unix:
            return GRACE_OVER
        return self._why_switched_off(run, now_mono)

    def _why_switched_off(self, run: LiveRun, now_mono: float) -> str:
        return self._control.current.blocked(run.template_id, now_mono, self._control_age)

    def on_sent(self, intent: LiveIntent, mono: float) -> None:
        """The first byte of this send has left."""
        intent.sent_mono = mono
        self._sent.append((intent, clock.timestamp()))

    @property
    def has_sent(self) -> bool:
        """Whether something has left since the last :meth:`note_sent`."""
        return bool(self._sent)

    def note_sent(self) -> list[LiveIntent]:
        """Do the bookkeeping of :meth:`on_sent` that must not cost time between two sends; return
        the intents that have left since the last call, to be written."""
        left, self._sent = self._sent, []
        for intent, unix in left:
            # Keep the time of the first send: a later one says nothing about punctuality.
            at = dt.datetime.fromtimestamp(unix, dt.UTC)
            intent.sent_at = intent.sent_at or at
            facts.sent(self._day.executions.get(intent.execution_id), intent, at)
        return [intent for intent, _ in left]

    def on_not_sent(self, intent: LiveIntent, reason: str, message: str = "") -> None:
        """Note that an order was provably not sent: sendable again or missed, by ``reason``;
        ``message`` is text.

        This is the proof that I3 (no second send without proof) requires.
        """
        if reason == STALE or intent.state != lifecycle.SENDING:
            return
        if reason == FENCED:
            token = self._ownership.tokens.get(intent.shard)
            if token is not None:
                self._fenced[intent.code] = (intent, token)
            return  # perhaps another executor's: the row stays SENDING until we know
        now, now_mono = clock.now(), clock.monotonic()
        if reason in (BROKER_DOWN, EARLY, CONTROL_UNREACHABLE):
            jitter = self._random.random()
            cause = reason if reason == CONTROL_UNREACHABLE else BROKER_DOWN
            transitions.not_sent(intent, cause, message, at=now, now_mono=now_mono, jitter=jitter)
        else:
            intent.cause = cause_of_missing(intent, reason) or SESSION_EXPIRED
            transitions.finish(intent, lifecycle.MISSED, now, now_mono)
        self._work.changed(intent)

    def is_fenced(self, intent: LiveIntent) -> bool:
        """Whether the fence holds this order back."""
        return intent.code in self._fenced

    def unfence(self) -> None:
        """Release orders that the fence held back, once the heartbeat is fresh and the lease is
        still the same: then no other executor owned the shard in between, and nothing was sent."""
        for code, (intent, token) in list(self._fenced.items()):
            now_token = self._ownership.tokens.get(intent.shard)
            if now_token == token and not self._ownership.owns(intent.shard):
                continue
            del self._fenced[code]
            if now_token == token and intent.state == lifecycle.SENDING:
                intent.state = lifecycle.PLANNED
                intent.sends -= 1
                self._work.changed(intent)

    def on_answer(self, intent: LiveIntent, answer: Answer) -> None:
        """Classify the broker's answer or a broken connection, write it, and read the book soon."""
        channel = self._channels.by_account.get(intent.account_id)
        execution = self._day.executions.get(intent.execution_id)
        if answer.response is None or execution is None:
            result = SendResult(Outcome.UNKNOWN, message=answer.error)
        else:
            # Not the channel's adapter: the channel may have been retired in between.
            result = get_adapter(execution.broker).parse_place(answer.response)
            if result.cause == "RATE_LIMIT" and channel is not None:
                channel.throttled(answer.response, Call.PLACE, result.message)
        transitions.apply_answer(
            intent,
            result,
            at=clock.now(),
            now_mono=answer.at,
            jitter=self._random.random(),
            wait=self._held_still(intent, result, answer.at),
        )
        if intent.cause == SESSION_EXPIRED:
            self._channels.forget(intent.account_id)
        self._work.changed(intent)
        self._reading.soon(intent.account_id)

    def _held_still(self, intent: LiveIntent, result: SendResult, at: float) -> float:
        """Seconds for which a throttling broker holds this order back."""
        channel = self._channels.by_account.get(intent.account_id)
        if channel is None or result.cause != "RATE_LIMIT":
            return 0.0
        execution = self._day.executions.get(intent.execution_id)
        grace_left = None
        if intent.purpose == lifecycle.ENTRY and execution is not None:
            grace_left = execution.run.grace_unix - clock.timestamp()
        asked = max(0.0, channel.pacer.held_until(Call.PLACE) - at)
        return next_try(asked, sends=intent.sends, grace_left=grace_left)


def order_request(intent: LiveIntent, name: BrokerInstrument) -> OrderRequest:
    """The order that the adapter is to place, for the intent's current send."""
    return OrderRequest(
        tag=make_tag(intent.code, max(1, intent.sends)),
        instrument=name,
        side=intent.side,
        quantity=intent.quantity,
        product=Product.INTRADAY,
        price=intent.price,
    )
