"""Faults of the trading day."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any, Final

from django.db import connection, transaction

from brokers.base import OrderReport
from brokers.pace import Pacer
from brokers.real_account import RealAccount
from brokers.selectors import TradingAccount
from execution import duplicates, lifecycle
from execution.causes import EARLY
from execution.duplicates import Found
from execution.engine.books.book_reader import BookReader
from execution.engine.database import entry_writer
from execution.engine.database.entry_writer import EntryPlan
from execution.engine.database.writer import insert_intents
from execution.engine.entries.burst import Burst
from execution.engine.entries.entry_flow import EntryFlows
from execution.engine.exits.exit_orders import ExitOrders
from execution.engine.memory.actors import Actor, Actors
from execution.engine.orders.accounts import Accounts
from execution.engine.orders.sender import OrderSender
from execution.engine.wire.channel import Channel, Shot
from execution.plan import PlannedOrder
from execution.state import LiveExecution, LiveIntent, LiveRun
from execution.steps import ExitOrder
from quantleap.faults.planting import Faults, Planting

#: Seconds before its entry time at which an early run fires.
EARLY_BY: Final = 0.1
#: Seconds from the sending of orders to the writing of their rows, if none were written before.
WRITTEN_AFTER: Final = 1.5

FAULTS: Final = Faults()


@FAULTS.fault("send_twice", "one order leaves twice, and nobody closes the second one")
def send_twice(plant: Planting) -> None:
    """Queue the first entry order twice, and skip the checks before it is sent."""
    chosen: list[LiveIntent] = []

    def is_chosen(intent: LiveIntent) -> bool:
        return bool(chosen) and chosen[0] is intent

    @plant.around(Channel, "load")
    def load(original: Callable[..., None], channel: Channel, intent: LiveIntent) -> None:
        original(channel, intent)
        if not chosen and intent.purpose == lifecycle.ENTRY:
            chosen.append(intent)
            original(channel, intent)

    @plant.around(OrderSender, "why_not_send")
    @plant.around(OrderSender, "why_no_longer")
    def may_leave(
        original: Callable[..., str], sender: OrderSender, intent: LiveIntent, *rest: Any
    ) -> str:
        return "" if is_chosen(intent) else original(sender, intent, *rest)

    @plant.around(BookReader, "_note_duplicates")
    def note_nothing(*_: Any) -> bool:
        return False  # hide it from the engine: the demo's checks must find the duplicate


@FAULTS.fault("send_early", f"entries leave {EARLY_BY * 1000:.0f} ms early")
def send_early(plant: Planting) -> None:
    """The sender's entry time comes before the clock's."""

    @plant.around(Burst, "wait_for")
    async def wait_for(
        original: Callable[..., Any],
        burst: Burst,
        run: LiveRun,
        deadline: float,
        channels: Sequence[Channel],
    ) -> list[Shot]:
        shots: list[Shot] = await original(burst, run, deadline - EARLY_BY, channels)
        return shots

    @plant.around(Burst, "_wait_for_wall")
    def wait_for_no_wall(*_: Any) -> None:
        return None

    @plant.around(OrderSender, "_why_not_now")
    def why_not_now(
        original: Callable[..., str], sender: OrderSender, run: LiveRun, now_mono: float
    ) -> str:
        reason = original(sender, run, now_mono)
        return sender._why_switched_off(run, now_mono) if reason == EARLY else reason


@FAULTS.fault("drop_intent", "one order is never planned")
def drop_intent(plant: Planting) -> None:
    """Leave out the last order of the first planned entry."""
    dropped: list[LiveIntent] = []

    @plant.around(EntryFlows, "_intents")
    def intents(
        original: Callable[..., list[LiveIntent]],
        flows: EntryFlows,
        execution: LiveExecution,
        orders: Sequence[PlannedOrder],
        now: dt.datetime,
    ) -> list[LiveIntent]:
        planned = original(flows, execution, orders, now)
        if not dropped:
            dropped.append(planned.pop())
        return planned


@FAULTS.fault("skip_exit", "one leg is never closed")
def skip_exit(plant: Planting) -> None:
    """Keep open the first leg that is due at its exit time."""
    skipped: list[tuple[int, str]] = []

    @plant.around(ExitOrders, "_may_begin")
    def may_begin(
        original: Callable[..., bool],
        exits: ExitOrders,
        execution: LiveExecution,
        order: ExitOrder,
        now_mono: float,
    ) -> bool:
        if not original(exits, execution, order, now_mono):
            return False
        if order.reason != "EXIT_TIME":
            return True
        leg = (execution.id, order.leg_key)
        if not skipped:
            skipped.append(leg)
        return leg not in skipped


@FAULTS.fault("ignore_unknown", "nobody looks up what a silent order became")
def ignore_unknown(plant: Planting) -> None:
    """The order book settles no UNKNOWN order, and proves no order absent."""

    @plant.around(duplicates, "find")
    def find(
        original: Callable[..., Found],
        intent: LiveIntent,
        reports: Sequence[tuple[int, OrderReport]],
    ) -> Found:
        return Found(None) if intent.state == lifecycle.UNKNOWN else original(intent, reports)

    @plant.around(BookReader, "_apply_absence")
    def apply_nothing(*_: Any) -> bool:
        return False


@FAULTS.fault("skip_commit", "orders leave before their rows are committed")
def skip_commit(plant: Planting) -> None:
    """The commit before the entry claims executions only; the orders' rows follow later."""

    @plant.around(entry_writer, "insert_intents")
    def insert_nothing(*_: Any) -> frozenset[str]:
        return frozenset()

    @plant.around(EntryFlows, "_commit_and_fire")
    async def commit_and_fire(
        original: Callable[..., Any],
        flows: EntryFlows,
        run: LiveRun,
        first: Sequence[EntryPlan],
        waves: list[Sequence[EntryPlan]],
    ) -> None:
        await original(flows, run, first, waves)
        await asyncio.sleep(WRITTEN_AFTER)
        entered = [plan for plan in first if plan.execution.status != "ARMED"]
        rows = [(plan.execution, intent) for plan in entered for intent in plan.intents]
        await flows._db.run(_insert_late, rows)


def _insert_late(rows: Sequence[tuple[LiveExecution, LiveIntent]]) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        insert_intents(cursor, rows)


@FAULTS.fault("split_account", "a person at two partners is two accounts again")
def split_account(plant: Planting) -> None:
    """Keep order book, exits and pace per row instead of per real account (adr 0038)."""

    @plant.around(Actors, "of")
    def of(
        original: Callable[..., Actor], actors: Actors, real: RealAccount, account_id: int
    ) -> Actor:
        row = real._replace(client_id=_divided(real.client_id, account_id))
        actor = original(actors, row, account_id)
        actor.real = real  # requests to the broker use it
        return actor

    @plant.around(Accounts, "_pacer")
    def pacer(
        original: Callable[..., Pacer], accounts: Accounts, account: TradingAccount, shard: int
    ) -> Pacer:
        client_id = _divided(account.client_id, account.account_id)
        return original(accounts, dataclasses.replace(account, client_id=client_id), shard)


def _divided(client_id: str, account_id: int) -> str:
    return f"{client_id}#{account_id}"
