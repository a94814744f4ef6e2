"""Changes the price of resting exits: witnesses, price, row, send gate, broker.

I2 (written before it is sent) and I5 (never more than planned or held) hold for changes too.

As for a new exit, nothing leaves unwritten, on an old grant, or beyond what the account still
holds. Unlike a new exit, a change can never fill more than the order was for, whatever its outcome
(:mod:`execution.price_changes`). The book, which is read afterwards, shows the outcome.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

import structlog

from brokers.base import HttpRequest, Outcome, PriceChange, SendResult
from brokers.pace import Call
from brokers.real_account import RealAccount
from execution import lifecycle, price_changes
from execution.alarms import SELF_TRADE, SESSION_OVER
from execution.causes import FENCED, SESSION_EXPIRED, STALE
from execution.engine.database.writer import Batch
from execution.engine.exits.exit_writer import ExitWriter
from execution.engine.exits.price_sources import Heard, PriceSources, Quotes
from execution.engine.exits.witness_reads import WitnessReads
from execution.engine.memory.channels import Channels
from execution.engine.memory.doubts import Doubts
from execution.engine.memory.ownership import Ownership
from execution.engine.memory.reading_list import ReadingList
from execution.engine.memory.trading_day import TradingDay
from execution.engine.memory.work_list import WorkList
from execution.engine.orders.broker_calls import BrokerCalls
from execution.engine.orders.contract_names import ContractNames
from execution.engine.orders.self_trades import SelfTrades
from execution.engine.runtime import facts
from execution.engine.runtime.database_pool import DatabaseDown
from execution.engine.wire.channel import Channel
from execution.pacing import EXITS
from execution.plan import ResolvedLeg
from execution.price_changes import Change
from execution.send_gate import why_not_change
from execution.state import LiveExecution, LiveIntent
from execution.steps import ExitOrder
from quantleap.core import clock

log = structlog.get_logger(__name__)
AGAIN_AFTER: Final = 0.4
Resting = tuple[LiveExecution, LiveIntent]


class ChangeRequests:
    """Requests at most one change per order at a time; each real account independently."""

    def __init__(
        self,
        *,
        day: TradingDay,
        ownership: Ownership,
        channels: Channels,
        names: ContractNames,
        calls: BrokerCalls,
        self_trades: SelfTrades,
        witnesses: WitnessReads,
        prices: PriceSources,
        writer: ExitWriter,
        work: WorkList,
        reading: ReadingList,
        doubts: Doubts,
    ) -> None:
        self._day = day
        self._ownership = ownership
        self._channels = channels
        self._names = names
        self._calls = calls
        self._self_trades = self_trades
        self._witnesses = witnesses
        self._prices = prices
        self._writer = writer
        self._work = work
        self._reading = reading
        self._doubts = doubts
        self._busy: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, resting: Iterable[Resting]) -> None:
        """Start changing these orders; skip those that are already being worked on."""
        fresh = [(e, i) for e, i in resting if i.code not in self._busy]
        for _, intent in fresh:
            price_changes.note_wanted(intent, clock.monotonic())
        if fresh:
            self._busy.update(intent.code for _, intent in fresh)
            self._spawn(self._begin(fresh))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _begin(self, resting: Sequence[Resting]) -> None:
        """Load names for all orders together, then handle each real account alone."""
        try:
            for broker in {execution.broker for execution, _ in resting}:
                ids = {i.contract_id for e, i in resting if e.broker == broker}
                await self._names.load(broker, ids)
        except DatabaseDown as error:
            await self._wait_for_database(resting, error)
            return
        by_account: dict[RealAccount, list[Resting]] = defaultdict(list)
        for execution, intent in resting:
            by_account[execution.real].append((execution, intent))
        quotes = self._prices.ask_feed({intent.contract_id for _, intent in resting})
        for account_orders in by_account.values():
            self._spawn(self._account(account_orders, quotes))

    async def _account(self, resting: Sequence[Resting], quotes: asyncio.Future[Quotes]) -> None:
        first = resting[0][0]
        actor = self._day.actors.of(first.real, first.account_id)
        try:
            heard, held = await asyncio.gather(
                self._prices.heard(actor, quotes, [_leg(e, i) for e, i in resting]),
                self._witnesses.held(actor, [intent for _, intent in resting]),
            )
            await self._write(self._changes_to_request(resting, held, heard))
        except DatabaseDown as error:
            await self._wait_for_database(resting, error)
        finally:
            self._let_go([(e, i) for e, i in resting if not _is_on_its_way(i)])

    async def _wait_for_database(self, resting: Sequence[Resting], error: DatabaseDown) -> None:
        log.warning("change_waits_for_database", reason=str(error))
        self._doubts.suspect()
        await asyncio.sleep(AGAIN_AFTER)
        self._let_go(resting)

    def _let_go(self, resting: Iterable[Resting]) -> None:
        for execution, intent in resting:
            self._busy.discard(intent.code)
            self._work.schedule([execution])

    # -- requests ------------------------------------------------------------------------------
    def _changes_to_request(
        self, resting: Sequence[Resting], held: set[str], heard: Heard
    ) -> list[tuple[LiveExecution, LiveIntent, Change]]:
        """The changes to request. None for an order whose leg is not known to hold as much, or
        whose price would stay the same: such an order is cancelled."""
        now_mono = clock.monotonic()
        changes = []
        for execution, intent in resting:
            if intent.state not in lifecycle.AT_BROKER:
                continue
            change = self._change(execution, intent, heard) if intent.code in held else None
            if change is None:
                price_changes.note_none(intent, now_mono)
                continue
            intent.granted_mono = now_mono
            changes.append((execution, intent, change))
        return changes

    def _change(self, execution: LiveExecution, intent: LiveIntent, heard: Heard) -> Change | None:
        leg = _leg(execution, intent)
        actor = self._day.actors.of(execution.real, execution.account_id)
        position = self._witnesses.last_price(actor, leg.contract_id)
        price, ref = self._prices.price(
            execution, _as_order(intent), leg, heard, position, resting=intent
        )
        if price == intent.reach == intent.price:
            return None
        return Change(intent.price, price, clock.now(), ref.source, ref.age)

    async def _write(self, changes: Sequence[tuple[LiveExecution, LiveIntent, Change]]) -> None:
        if not changes:
            return
        batch = Batch(
            changing=[(intent, (*intent.changes, change)) for _, intent, change in changes]
        )
        written = await self._writer.write(batch)
        now_mono = clock.monotonic()
        for execution, intent, change in changes:
            if intent.code in written.changing and intent.state in lifecycle.AT_BROKER:
                price_changes.note_asked(intent, change, now_mono)
                facts.change_asked(execution, intent, change)
                self._spawn(self._send(execution, intent, len(intent.changes) - 1))
            else:
                price_changes.note_none(intent, now_mono)

    # -- sending -------------------------------------------------------------------------------
    async def _send(self, execution: LiveExecution, intent: LiveIntent, number: int) -> None:
        try:
            await self._ask(execution, intent, number)
        finally:
            self._busy.discard(intent.code)
            facts.change_answered(execution, intent, intent.changes[number])
            self._work.changed(intent)
            self._reading.soon(intent.account_id)

    async def _ask(self, execution: LiveExecution, intent: LiveIntent, number: int) -> None:
        change = intent.changes[number]
        name = self._names.of(execution.broker, intent.contract_id)
        actor = self._day.actors.of(execution.real, execution.account_id)
        channel = actor.changer(intent.account_id)
        if channel is None or name is None:
            price_changes.note_kept(intent, number, SESSION_EXPIRED, clock.now())
            return
        await channel.paced(Call.CHANGE, EXITS)
        reason = self._why_not(intent, change.price, clock.monotonic())
        if reason:
            price_changes.note_kept(intent, number, reason, clock.now())
            return
        request = channel.adapter.change_order(
            channel.session,
            PriceChange(intent.broker_order_id, name, intent.quantity, change.price),
        )
        result = await self._answer(channel, request)
        now_mono = clock.monotonic()
        price_changes.note_answer(intent, number, result, at=clock.now(), now_mono=now_mono)

    def _why_not(self, intent: LiveIntent, price: Decimal, now_mono: float) -> str:
        """'' if this order may get another price now, else why not; called at the last moment."""
        execution = self._day.executions.get(intent.execution_id)
        if execution is None:
            return STALE
        if not self._ownership.owns_at(intent.shard, now_mono):
            return FENCED
        if clock.timestamp() >= execution.run.closes_unix:
            return SESSION_OVER
        reason = why_not_change(execution, intent, now_mono)
        return reason or (SELF_TRADE if self._self_trades.is_blocked_at(intent, price) else "")

    async def _answer(self, channel: Channel, request: HttpRequest) -> SendResult:
        """The broker's answer. UNKNOWN if none came in time: the change may still be applied."""
        response = await self._calls.fetch(channel, request)
        if response is None:
            return SendResult(Outcome.UNKNOWN, message="no answer in time")
        result = channel.adapter.parse_change(response)
        if result.cause == "RATE_LIMIT":
            channel.throttled(response, Call.CHANGE, result.message)
        elif result.cause == SESSION_EXPIRED:
            self._channels.forget_channel(channel)
        return result


def _leg(execution: LiveExecution, intent: LiveIntent) -> ResolvedLeg:
    return execution.run.resolved[intent.leg_key]


def _is_on_its_way(intent: LiveIntent) -> bool:
    return bool(intent.changes) and intent.changes[-1].state == price_changes.ASKED


def _as_order(intent: LiveIntent) -> ExitOrder:
    """The resting exit as an ExitOrder, for pricing, which needs leg and side."""
    return ExitOrder(
        leg_key=intent.leg_key,
        side=intent.side,
        quantity=intent.quantity - intent.filled_quantity,
        purpose=intent.purpose,
        attempt_group=intent.attempt_group,
        reason=intent.reason,
    )
