"""Chooses an account's channel: to its broker, or to the paper book in this process.

The only place that distinguishes the test environment from the live one: I8 (test accounts never
reach a broker). For all other code paper is one more broker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Protocol

from brokers.base import BrokerInstrument, Session
from brokers.pace import Pacer
from brokers.registry import get_adapter
from brokers.routes import Route
from brokers.selectors import TradingAccount
from execution.engine.runtime.call_slots import CONNECTS, CallSlots
from execution.engine.runtime.database_pool import DatabasePool
from execution.engine.wire.channel import Channel
from execution.engine.wire.connection import Answer, Deadlines
from execution.engine.wire.paper_channel import PAPER, PaperChannel, paper_instrument
from execution.engine.wire.sockets import kernel_timeout
from execution.state import LiveExecution, LiveIntent
from execution.timing import Timing
from marketplace.ports import QUOTES, Need, Quote
from quantleap.core import clock
from quantleap.core.tenancy import Environment


def broker_of(environment: str, account_broker: str) -> str:
    """The broker that an execution trades with: in the test environment always paper."""
    return PAPER if environment == Environment.TEST else account_broker


def keeps_own_book(broker: str) -> bool:
    """Whether the book of this broker's accounts is in this process: it needs no login, and every
    fill is known at once."""
    return broker == PAPER


def own_names(broker: str, contract_ids: Collection[int]) -> dict[int, BrokerInstrument] | None:
    """The contract names of an in-process broker; None if a broker's list has the names."""
    if not keeps_own_book(broker):
        return None
    return {key: paper_instrument(key) for key in contract_ids}


class Outlet(Protocol):
    """Decides on every send and receives its outcome (implemented by the order sender)."""

    def why_not_send(self, intent: LiveIntent, now_mono: float) -> str:
        """'' if this order may leave now, else why not."""

    def on_sent(self, intent: LiveIntent, mono: float) -> None:
        """The first byte has left at ``mono`` (monotonic seconds)."""

    def on_answer(self, intent: LiveIntent, answer: Answer) -> None:
        """The broker has answered, or the connection broke."""

    def on_not_sent(self, intent: LiveIntent, reason: str, message: str = "") -> None:
        """The order has provably not left."""


class LateListener(Protocol):
    """Receives orders that left long after their last check."""

    def left_late(self, intent: LiveIntent, mono: float) -> None:
        """An order left at ``mono`` (monotonic seconds) after the process had frozen."""


class ChannelFactory:
    """Creates channels, which all share the deadlines and the connect slots."""

    def __init__(
        self, timing: Timing, feeds: DatabasePool, outlet: Outlet, late: LateListener
    ) -> None:
        self._timing = timing
        self._feeds = feeds
        self._outlet = outlet
        self._late = late
        self._slots = CallSlots(CONNECTS)
        self._deadlines: Deadlines | None = None

    def broker(
        self,
        account: TradingAccount,
        *,
        session: Session,
        route: Route,
        shard: int,
        pacer: Pacer,
    ) -> Channel:
        """The channel of a broker's account, for this session and route."""
        timing, outlet = self._timing, self._outlet
        adapter = get_adapter(account.broker)
        loop = asyncio.get_running_loop()
        return Channel(
            account_id=account.account_id,
            real=account.real,
            shard=shard,
            session=session,
            adapter=adapter,
            pacer=pacer,
            route=route,
            timeout=timing.answer_timeout,
            drop_after=kernel_timeout(
                timing.answer_timeout, timing.visibility(adapter.capabilities)
            ),
            slots=self._slots,
            loop=loop,
            deadlines=self._shared_deadlines(loop),
            why_not_send=outlet.why_not_send,
            on_sent=outlet.on_sent,
            on_answer=outlet.on_answer,
            on_not_sent=outlet.on_not_sent,
            on_late=self._late.left_late,
        )

    def paper(self, execution: LiveExecution) -> PaperChannel:
        """The channel of a test account. ``restore`` rebuilds its book from our own rows."""
        outlet = self._outlet
        loop = asyncio.get_running_loop()
        return PaperChannel(
            account_id=execution.account_id,
            real=execution.real,
            shard=execution.shard,
            quotes=self._feed_quotes,
            loop=loop,
            deadlines=self._shared_deadlines(loop),
            slots=self._slots,
            why_not_send=outlet.why_not_send,
            on_sent=outlet.on_sent,
            on_answer=outlet.on_answer,
            on_not_sent=outlet.on_not_sent,
        )

    def _shared_deadlines(self, loop: asyncio.AbstractEventLoop) -> Deadlines:
        if self._deadlines is None:
            self._deadlines = Deadlines(loop)
        return self._deadlines

    async def _feed_quotes(self, contract_ids: Collection[int]) -> Mapping[int, Quote]:
        return await self._feeds.run(
            QUOTES.get().quotes, contract_ids, now=clock.now(), need=Need.RISK
        )
