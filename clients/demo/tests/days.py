"""Evidence of a perfect day, made up from the story, for tests to spoil."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from itertools import count

from clients.demo.evidence import (
    BookOrder,
    CountedCall,
    Evidence,
    Execution,
    Order,
    StopMove,
    Subscription,
)
from clients.demo.receiver import Webhook
from clients.demo.story import CANCELLED, FILLED, PAUSED, STRADDLE, Expected, Leg, Story
from clients.demo.tests.months import perfect_month
from clients.demo.twice import ACCOUNTS, HALVES, Half, entry_at, exit_at

SPOT = Decimal(25000)
LOT = 65


def paced(begin: dt.datetime, number: int) -> dt.datetime:
    """When the order of this number arrives, eight at a time, a second apart."""
    batch, place = divmod(number, 8)
    return begin + dt.timedelta(seconds=batch, milliseconds=5 * place + 1)


def symbol(broker: str, option_type: str, strike: Decimal) -> str:
    """A name for a contract."""
    return f"{broker}-{strike}{option_type}"


class PerfectDay:
    """Everything as the story has it. ``evidence`` may be changed by the test that asked."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self._numbers = count(1)
        legs = {leg for outcome in story.expected() for leg in outcome.plan.legs}
        self.evidence = Evidence(
            spot=SPOT,
            lot_size=LOT,
            symbols={
                (broker, leg.option_type, leg.strike(SPOT)): symbol(
                    broker, leg.option_type, leg.strike(SPOT)
                )
                for broker in ("zebu", "zerodha")
                for leg in legs
            },
        )
        self.book: list[BookOrder] = []
        self.webhooks: list[Webhook] = []
        for outcome in story.expected():
            self._play(outcome)
        self._play_twice()
        self._bill()
        self.evidence.book = self.book
        self.evidence.webhooks = self.webhooks
        self.evidence.fault_hits = {fault.name: 1 for _, fault in story.faulty()}
        self.evidence.stop_moves = [
            StopMove("customer000@example.com", Decimal("50"), Decimal("40")),
            StopMove("customer001@example.com", Decimal("50"), Decimal("40")),
        ]
        for customer, plan in story.illegal():
            words = ", ".join(leg.label for leg in plan.legs)
            self.evidence.refusals[customer.email, plan.key] = f"lot_multiplier: {words}"

    def _play(self, outcome: Expected) -> None:
        key = (outcome.customer.email, outcome.plan.key)
        sub = f"sub_{outcome.customer.number}_{outcome.plan.key}"
        status = outcome.cause if outcome.status == "WITHDRAWN" else "ACTIVE"
        self.evidence.subscriptions[key] = Subscription(sub, status)
        self._deliver("subscription.created", sub)
        if outcome.cause in (PAUSED, CANCELLED):
            self.evidence.next_entry_affected[key] = True
            self._deliver(f"subscription.{status.lower()}", sub)
        entries = [
            self._order(outcome, planned.leg, planned.lots, planned.ending)
            for planned in outcome.orders
        ]
        exits = [self._exit(outcome, order) for order in entries if order.state == FILLED]
        self.evidence.executions[key] = Execution(
            sub, outcome.status, outcome.cause, tuple(entries + exits)
        )
        if outcome.status == "CLOSED":
            self._deliver("execution.completed", sub, phase="ENTRY")
            self._deliver("execution.completed", sub, phase="EXIT")
        if outcome.status == "FAILED":
            self._deliver("execution.failed", sub, phase="ENTRY")
        for order in entries:
            if order.state == "REJECTED":
                self._deliver("order.rejected", sub, tag=order.tag)

    def _play_twice(self) -> None:
        """Two partners' runs in one account: eight orders a second, entries and exits."""
        calls: dict[tuple[str, str], list[CountedCall]] = {account: [] for account in ACCOUNTS}
        for number, half in enumerate(HALVES):
            entry, leave = entry_at(self.story), exit_at(self.story)
            if half.is_stopped:
                leave -= dt.timedelta(seconds=20)
            first = number % 2 * len(half.customer.slices(half.leg))
            orders = []
            for place, lots in enumerate(half.customer.slices(half.leg)):
                order = self._twin_order(half, lots * LOT)
                orders.append(order)
                self._twin_at_broker(half, order, paced(entry, first + place), calls)
            for place, order in enumerate(list(orders)):
                exit_order = replace(
                    order,
                    tag=f"Q{next(self._numbers):012d}1",
                    purpose="EXIT",
                    reason="STOP" if half.is_stopped else "EXIT_TIME",
                    side="SELL" if order.side == "BUY" else "BUY",
                )
                orders.append(exit_order)
                self._twin_at_broker(half, exit_order, paced(leave, place), calls)
            self.evidence.twice.executions = {
                **self.evidence.twice.executions,
                half.name: Execution(f"sub_{number}", "CLOSED", "", tuple(orders)),
            }
        self.evidence.twice.calls = calls
        self.evidence.twice.executors = {"executor": {4, 5, 6, 7}, "executor2": {0, 1, 2, 3}}

    def _twin_order(self, half: Half, units: int) -> Order:
        strike = half.leg.strike(SPOT)
        return Order(
            tag=f"Q{next(self._numbers):012d}1",
            purpose="ENTRY",
            reason="",
            symbol=symbol(half.customer.broker, half.leg.option_type, strike),
            side=half.leg.side,
            quantity=units,
            filled=units,
            state=FILLED,
            cause="",
            sent_at=entry_at(self.story),
        )

    def _twin_at_broker(
        self,
        half: Half,
        order: Order,
        at: dt.datetime,
        calls: dict[tuple[str, str], list[CountedCall]],
    ) -> None:
        customer = half.customer
        self.book.append(
            BookOrder(
                broker=customer.broker,
                client_id=customer.client_id,
                tag=order.tag,
                symbol=order.symbol,
                side=order.side,
                filled=order.filled,
                price=Decimal(100),
                status="COMPLETE",
                received_at=at,
                app=customer.api_key,
            )
        )
        calls[customer.broker, customer.client_id].append(CountedCall("placed", at))

    def _bill(self) -> None:
        month = self.evidence.month = perfect_month(self.story)
        for invoice in month.invoices:
            sub = invoice.subscription_id
            self._deliver("invoice.issued", sub, invoice_id=invoice.id)
            if invoice.status == "PAID":
                self._deliver("invoice.paid", sub, invoice_id=invoice.id)
        for row in month.commissions:
            self._deliver("commission.accrued", "", commission_id=row.id, invoice_id=row.invoice_id)

    def _deliver(self, kind: str, sub: str, **data: str) -> None:
        number = f"evt_{next(self._numbers)}"
        self.webhooks.append(Webhook(number, kind, {"subscription_id": sub, **data}))

    def _order(self, outcome: Expected, leg: Leg, lots: int, ending: str) -> Order:
        filled = ending == FILLED
        units = lots * LOT
        order = Order(
            tag=f"Q{next(self._numbers):012d}1",
            purpose="ENTRY",
            reason="",
            symbol=symbol(outcome.customer.broker, leg.option_type, leg.strike(SPOT)),
            side=leg.side,
            quantity=units,
            filled=units if filled else 0,
            state=FILLED if filled else "REJECTED",
            cause="" if filled else ending,
            sent_at=self.story.entry_at + dt.timedelta(milliseconds=3),
        )
        self.at_broker(outcome, order, "COMPLETE" if filled else "REJECTED", self.story.entry_at)
        return order

    def _exit(self, outcome: Expected, entry: Order) -> Order:
        stopped = outcome.plan.key == STRADDLE and entry.symbol.endswith("CE")
        order = replace(
            entry,
            tag=f"Q{next(self._numbers):012d}1",
            purpose="EXIT",
            reason="STOP" if stopped else "EXIT_TIME",
            side="SELL" if entry.side == "BUY" else "BUY",
            sent_at=self.story.exit_at,
        )
        self.at_broker(outcome, order, "COMPLETE", self.story.exit_at)
        return order

    def at_broker(self, outcome: Expected, order: Order, status: str, at: dt.datetime) -> None:
        """The broker's side of an order."""
        self.book.append(
            BookOrder(
                broker=outcome.customer.broker,
                client_id=outcome.customer.client_id,
                tag=order.tag,
                symbol=order.symbol,
                side=order.side,
                filled=order.filled,
                price=Decimal(100) if order.filled else Decimal(0),
                status=status,
                received_at=at + dt.timedelta(milliseconds=4),
            )
        )
