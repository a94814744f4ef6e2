"""Creates exits: decides how much may be closed and at what price, writes and sends them.

No exit closes more than the account holds: I5 (never more than planned or held).
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import defaultdict
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import structlog

from brokers.base import Side
from brokers.real_account import RealAccount
from execution.alarms import CLOSED_OUTSIDE, UNWRITABLE, Alarm
from execution.engine.database.alarm_writer import About, Raised
from execution.engine.database.refused_rows import REFUSED_AGAIN
from execution.engine.database.writer import Batch, Written
from execution.engine.exits.exit_writer import ExitWriter
from execution.engine.exits.price_sources import Heard, PriceSources, Quotes
from execution.engine.exits.witness_reads import WitnessReads
from execution.engine.memory.actors import Actor
from execution.engine.memory.channels import Channels
from execution.engine.memory.doubts import Doubts
from execution.engine.memory.trading_day import TradingDay
from execution.engine.memory.work_list import WorkList
from execution.engine.orders.accounts import Accounts
from execution.engine.orders.contract_names import ContractNames
from execution.engine.orders.sender import OrderSender
from execution.engine.runtime import facts
from execution.engine.runtime.database_pool import DatabaseDown
from execution.exit_grants import Closing, mark_granted, note_outside, to_close, with_outside
from execution.exit_limits import Grant
from execution.plan import PlannedOrder, ResolvedLeg, slices
from execution.planned_intents import PriceOrigin, Purpose, planned_intent
from execution.pricing import nearest_tick
from execution.state import LiveExecution, LiveIntent
from execution.steps import ExitOrder, StatusChange
from execution.unreported import exit_tries
from execution.witnesses import Leg
from quantleap.core import clock

log = structlog.get_logger(__name__)
AGAIN_AFTER: Final = 0.4
#: Seconds until the positions are read again for units whose fill is unreported.
PERHAPS_AGAIN: Final = 1.5
Exit = tuple[LiveExecution, ExitOrder]


class ExitOrders:
    """Turns exit orders into intents, at most one try per leg at a time."""

    def __init__(
        self,
        *,
        day: TradingDay,
        channels: Channels,
        accounts: Accounts,
        names: ContractNames,
        sender: OrderSender,
        witnesses: WitnessReads,
        prices: PriceSources,
        writer: ExitWriter,
        work: WorkList,
        doubts: Doubts,
    ) -> None:
        self._day = day
        self._channels = channels
        self._accounts = accounts
        self._names = names
        self._sender = sender
        self._witnesses = witnesses
        self._prices = prices
        self._writer = writer
        self._work = work
        self._doubts = doubts
        self._busy: set[tuple[int, str]] = set()
        #: Monotonic seconds until which to skip legs whose exit the database refused, and legs for
        #: which there was no witness.
        self._unwritable_until: dict[Leg, float] = {}
        self._unseen_until: dict[Leg, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def open_exits(self, exits: Iterable[Exit]) -> None:
        """Start closing these legs; skip legs that are already being worked on."""
        now_mono = clock.monotonic()
        fresh = [
            (execution, order)
            for execution, order in exits
            if self._may_begin(execution, order, now_mono)
        ]
        if not fresh:
            return
        self._busy.update((execution.id, order.leg_key) for execution, order in fresh)
        self._spawn(self._close(fresh))

    def _may_begin(self, execution: LiveExecution, order: ExitOrder, now_mono: float) -> bool:
        """Whether closing this leg may start now."""
        leg = (execution.id, order.leg_key)
        return (
            leg not in self._busy
            and not _is_stale(execution, order)
            and self._may_be_tried(leg, now_mono)
        )

    def _may_be_tried(self, leg: Leg, now_mono: float) -> bool:
        return now_mono >= max(
            self._unwritable_until.get(leg, 0.0), self._unseen_until.get(leg, 0.0)
        )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _close(self, exits: Sequence[Exit]) -> None:
        """Load names and channels for all exits together, then handle each real account alone."""
        try:
            for broker in {execution.broker for execution, _ in exits}:
                ids = {self._leg(e, o).contract_id for e, o in exits if e.broker == broker}
                await self._names.load(broker, ids)
            await self._accounts.open_for([e for e, _ in exits])
        except DatabaseDown as error:
            await self._wait_for_database(exits, error)
            return
        by_account: dict[RealAccount, list[Exit]] = defaultdict(list)
        for execution, order in self._reachable(exits):
            by_account[execution.real].append((execution, order))
        if not by_account:
            return
        first: list[list[Exit]] = []
        for account_exits in by_account.values():
            if self._is_asked_again(account_exits):
                self._spawn(self._close_account(account_exits, None))
            else:
                first.append(account_exits)
        if first:
            quotes = self._prices.ask_feed(self._contracts(chain.from_iterable(first)))
            for account_exits in first:
                self._spawn(self._close_account(account_exits, quotes))

    def _is_asked_again(self, exits: Iterable[Exit]) -> bool:
        """Whether all of these were held back at their last try."""
        return all((e.id, order.leg_key) in self._unseen_until for e, order in exits)

    def _contracts(self, exits: Iterable[Exit]) -> set[int]:
        return {self._leg(execution, order).contract_id for execution, order in exits}

    def _reachable(self, exits: Sequence[Exit]) -> list[Exit]:
        """Exits whose account has a channel. The others wait for a login, with an alarm: nothing
        is written that could not be sent."""
        channels = self._channels.by_account
        reachable: list[Exit] = []
        unreachable: list[Exit] = []
        for execution, order in exits:
            has_way = execution.account_id in channels
            (reachable if has_way else unreachable).append((execution, order))
        if unreachable:
            until = clock.monotonic() + AGAIN_AFTER
            self._unseen_until.update({(e.id, order.leg_key): until for e, order in unreachable})
            self._channels.raise_alarms([execution for execution, _ in unreachable])
            self._let_go(unreachable)
        return reachable

    async def _wait_for_database(self, exits: Sequence[Exit], error: DatabaseDown) -> None:
        log.warning("exit_waits_for_database", reason=str(error))
        self._doubts.suspect()
        await asyncio.sleep(AGAIN_AFTER)
        self._let_go(exits)

    def _let_go(self, exits: Sequence[Exit]) -> None:
        self._busy.difference_update((e.id, order.leg_key) for e, order in exits)
        self._work.schedule(e for e, _ in exits)

    async def _close_account(
        self, exits: Sequence[Exit], quotes: asyncio.Future[Quotes] | None
    ) -> None:
        """Close the legs of one real account, independently of the others. Observed: one account's
        positions hung, and the exits of all other accounts left 17.6 s late."""
        first = exits[0][0]
        actor = self._day.actors.of(first.real, first.account_id)
        try:
            allowed, heard = await self._allowed_and_heard(actor, exits, quotes)
            batch, intents = self._batch(exits, allowed, heard)
            if batch:
                await self._write(exits, batch, intents)
        except DatabaseDown as error:
            log.warning("exit_waits_for_database", reason=str(error))
            self._doubts.suspect()
            await asyncio.sleep(AGAIN_AFTER)
        finally:
            self._let_go(exits)

    async def _allowed_and_heard(
        self, actor: Actor, exits: Sequence[Exit], quotes: asyncio.Future[Quotes] | None
    ) -> tuple[Mapping[Leg, Grant | None], Heard]:
        """How much may be closed, and the prices; both are read at once on the first try."""
        if quotes is not None:
            legs = [self._leg(execution, order) for execution, order in exits]
            return await asyncio.gather(
                self._allowed(exits), self._prices.heard(actor, quotes, legs)
            )
        # A repeated exit comes here in every round, for minutes: a feed that takes one request a
        # second would have none left for the exits of other accounts.
        allowed = await self._allowed(exits)
        leaving = [
            (execution, order)
            for execution, order in exits
            if _closing(order, allowed.get((execution.id, order.leg_key))) is not None
        ]
        if not leaving:
            return allowed, Heard({}, {})
        for execution, order in leaving:
            self._unseen_until.pop((execution.id, order.leg_key), None)
        quotes = self._prices.ask_feed(self._contracts(leaving))
        legs = [self._leg(execution, order) for execution, order in leaving]
        return allowed, await self._prices.heard(actor, quotes, legs)

    async def _write(
        self, exits: Sequence[Exit], batch: Batch, intents: Sequence[LiveIntent]
    ) -> None:
        inserting = {intent.code for intent in intents}
        self._day.inserting |= inserting
        try:
            written = await self._writer.write(batch)
        finally:
            self._day.inserting -= inserting
        self._hold_refused(exits, written)
        self._note_outside(batch, written)
        self._dispatch(intents, written)

    def _batch(
        self,
        exits: Sequence[Exit],
        allowed: Mapping[Leg, Grant | None],
        heard: Heard,
    ) -> tuple[Batch, list[LiveIntent]]:
        now, now_mono = clock.now(), clock.monotonic()
        batch = Batch()
        intents: list[LiveIntent] = []
        outside: dict[int, StatusChange] = {}
        for execution, order in exits:
            grant = allowed.get((execution.id, order.leg_key))
            if grant is not None and grant.cleared:
                execution.cleared.add(order.leg_key)
            closing = _closing(order, grant)
            if closing is None:
                pause = AGAIN_AFTER if order.quantity else PERHAPS_AGAIN
                self._unseen_until[execution.id, order.leg_key] = now_mono + pause
                continue
            quantity, outside_units = closing.units, closing.outside
            if outside_units:
                change = outside.setdefault(execution.id, _outside_change(execution))
                _close_outside(change, order, outside_units)
                alarm = Alarm(CLOSED_OUTSIDE, order.leg_key, f"{outside_units} units")
                batch.raised.append(Raised(About.of(execution), alarm))
            fresh = self._intents(execution, order, quantity, heard, now)
            mark_granted(fresh, closing, now_mono)
            intents.extend(fresh)
            batch.inserts.extend((execution, intent) for intent in fresh)
        batch.statuses.extend(outside.values())
        return batch, intents

    @staticmethod
    def _note_outside(batch: Batch, written: Written) -> None:
        """Note outside closures in memory once they are written, not before: the next round closes
        an execution that is flat in memory, and its alarm would then be written in vain."""
        for change in batch.statuses:
            execution = change.execution
            if execution.id in written.statuses and change.closed_outside is not None:
                note_outside(execution, change.closed_outside)

    def _dispatch(self, intents: Sequence[LiveIntent], written: Written) -> None:
        for intent in intents:
            execution = self._day.executions.get(intent.execution_id)
            # If the shard was lost meanwhile, its next owner handles the row; we never send it.
            if intent.code in written.inserted and execution is not None:
                execution.intents.append(intent)
                self._day.hold(intent)
                facts.ordered(execution, intent)
                self._sender.dispatch(intent)

    def _hold_refused(self, exits: Sequence[Exit], written: Written) -> None:
        """Delay exits that the database refused: I2 (written before it is sent) forbids a send.

        An alarm is raised, and the exit is tried again more slowly, with new prices.
        """
        refused = {refusal.execution_id for refusal in written.refused}
        until = clock.monotonic() + REFUSED_AGAIN
        for execution, order in exits:
            if execution.id in refused:
                execution.alarms.add((UNWRITABLE, ""))
                execution.cause = UNWRITABLE
                self._unwritable_until[execution.id, order.leg_key] = until

    @staticmethod
    def _leg(execution: LiveExecution, order: ExitOrder) -> ResolvedLeg:
        return execution.run.resolved[order.leg_key]

    def _intents(
        self,
        execution: LiveExecution,
        order: ExitOrder,
        quantity: int,
        heard: Heard,
        now: dt.datetime,
    ) -> list[LiveIntent]:
        leg = self._leg(execution, order)
        name = self._names.of(execution.broker, leg.contract_id)
        actor = self._day.actors.of(execution.real, execution.account_id)
        position = self._witnesses.last_price(actor, leg.contract_id)
        price, ref = self._prices.price(execution, order, leg, heard, position)
        index = next(
            i for i, spec in enumerate(execution.run.strategy.legs) if spec.key == order.leg_key
        )
        # Units are whole lots by construction; what others' trades left may not be.
        lot = leg.lot_size if quantity % leg.lot_size == 0 else 1
        pieces = slices(quantity, lot, leg.freeze_quantity, execution.max_lots_per_order)
        purpose = Purpose(order.purpose, order.attempt_group, order.reason)
        return [
            planned_intent(
                execution,
                PlannedOrder(
                    leg_key=order.leg_key,
                    leg_index=index,
                    group=0 if order.side is Side.BUY else 1,
                    slice=number,
                    side=order.side,
                    contract_id=leg.contract_id,
                    quantity=piece,
                    price=price,
                    reference_price=nearest_tick(ref.price, leg.tick_size),
                ),
                purpose,
                PriceOrigin(ref.source, ref.age),
                instrument=name,
                due_at=now,
                now=now,
                is_sending=True,
            )
            for number, piece in enumerate(pieces)
        ]

    # -- how much ------------------------------------------------------------------------------
    async def _allowed(self, exits: Sequence[Exit]) -> Mapping[Leg, Grant | None]:
        """Units that each leg of one real account may close; None: not known yet."""
        asked = {(e.id, o.leg_key): self._leg(e, o).contract_id for e, o in exits}
        first = exits[0][0]
        actor = self._day.actors.of(first.real, first.account_id)
        return await self._witnesses.allowed(actor, asked)


def _closing(order: ExitOrder, grant: Grant | None) -> Closing | None:
    """What of an exit may be closed; None: nothing yet, or not known."""
    return None if grant is None else to_close(order, grant)


def _is_stale(execution: LiveExecution, order: ExitOrder) -> bool:
    """Whether the leg has had this exit since it was decided.

    A round writes between deciding and opening exits, and during a slow write an exit that was
    under way may leave and fill. Observed: 352 legs "closed outside" although every exit had
    filled.
    """
    tries = exit_tries(execution, order.leg_key)
    return any(intent.attempt_group >= order.attempt_group for intent in tries)


def _outside_change(execution: LiveExecution) -> StatusChange:
    return StatusChange(
        execution,
        "",
        CLOSED_OUTSIDE,
        closed_outside=dict(execution.closed_outside),
    )


def _close_outside(change: StatusChange, order: ExitOrder, units: int) -> None:
    """Add ``units`` of the leg, which somebody else has closed, to ``change``."""
    change.closed_outside = with_outside(change.closed_outside or {}, order, units)
    log.error(
        "closed_outside",
        execution=change.execution.public_id,
        leg=order.leg_key,
        quantity=units,
    )
