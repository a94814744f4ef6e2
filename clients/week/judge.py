"""Checks of an evening. Pure: from the story and the evidence to problems.

The oracle is the brokers' own book. Every check covers one thing; for each there is a control in
the tests that turns only this check false.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from clients.demo.evidence import BookOrder, Place, code_of
from clients.week.story import Day, Follower, Offer, followings

OVER: Final = frozenset({"CLOSED", "FAILED", "MISSED", "WITHDRAWN"})
PAISA: Final = Decimal("0.01")
Problems = Iterator[str]


@dataclass(frozen=True)
class OurOrder:
    """One order as the partner's API shows it."""

    tag: str
    symbol: str
    side: str
    filled: int

    @property
    def signed(self) -> int:
        """Units bought (positive) or sold (negative)."""
        return self.filled if self.side == "BUY" else -self.filled


@dataclass(frozen=True)
class Traded:
    """One execution as the partner's API shows it. ``pnl`` in rupees, None if unknown."""

    follower: Follower
    offer: Offer
    status: str
    cause: str
    pnl: Decimal | None
    orders: tuple[OurOrder, ...] = ()

    @property
    def name(self) -> str:
        """The name in the report."""
        return f"{self.follower.name}, {self.offer.plan.key}"

    @property
    def is_over(self) -> bool:
        """Whether nothing of it can be open."""
        return self.status in OVER

    def open_places(self) -> set[Place]:
        """Places where its own orders do not net to zero."""
        customer = self.follower.customer
        held: Counter[str] = Counter()
        for order in self.orders:
            held[order.symbol] += order.signed
        return {(customer.broker, customer.client_id, symbol) for symbol in held if held[symbol]}


@dataclass(frozen=True)
class Evening:
    """All evidence of one evening.

    ``executors``: those of the installation's worker that ran on this day, in order;
    ``expected_executors``: their number in the story. ``stray``: orders of a day when the exchange
    was closed.
    """

    day: Day
    executions: Sequence[Traded] = ()
    book: Sequence[BookOrder] = ()
    net: Mapping[Place, int] = field(default_factory=dict)
    #: Executions of earlier days that are not over.
    left_open: Sequence[Traded] = ()
    executors: Sequence[str] = ()
    expected_executors: int = 1
    stray: int = 0

    @property
    def hand(self) -> list[BookOrder]:
        """Orders that customers placed in their broker's app."""
        return [order for order in self.book if not order.code and order.filled]

    def by_code(self) -> dict[str, list[BookOrder]]:
        """The brokers' orders of each intent."""
        orders_by_code: dict[str, list[BookOrder]] = defaultdict(list)
        for order in self.book:
            if order.code:
                orders_by_code[order.code].append(order)
        return orders_by_code


# -- the checks: each yields problems
# ---------------------------------------------------------------
def everyone_traded_or_is_named(evening: Evening) -> Problems:
    """Every subscription has an execution, closed without a cause or with the story's."""
    seen = {
        (id(execution.follower), execution.offer.plan.key): execution
        for execution in evening.executions
    }
    for follower, offer in followings():
        execution = seen.get((id(follower), offer.plan.key))
        excuse = evening.day.excused(follower)
        if execution is None:
            yield f"{follower.name}, {offer.plan.key}: no execution"
        elif excuse:
            if execution.cause != excuse:
                yield (
                    f"{execution.name}: {execution.status} {execution.cause or 'no cause'}, "
                    f"the story: {excuse}"
                )
        elif execution.status != "CLOSED" or execution.cause:
            yield f"{execution.name}: {execution.status} {execution.cause or 'no cause'}"


def nothing_open_without_a_name(evening: Evening) -> Problems:
    """Everything open in the evening, here or at a broker, has a cause that a person can read.

    A position is explained by an execution that has it open, not by another problem of the same
    account; in this story customers open no position by hand.
    """
    named: set[Place] = set()
    for execution in (*evening.executions, *evening.left_open):
        if execution.cause:
            named |= execution.open_places()
        elif not execution.is_over:
            yield f"{execution.name}: {execution.status} in the evening, and nobody says why"
    for place, quantity in evening.net.items():
        if quantity and place not in named:
            yield f"{' '.join(place)}: {quantity} units open at the broker, and nobody says why"


def books_agree(evening: Evening) -> Problems:
    """Our orders and the brokers' are the same, with the same fills."""
    theirs = evening.by_code()
    ours = {
        code_of(o.tag): (execution, o) for execution in evening.executions for o in execution.orders
    }
    for code, rows in theirs.items():
        if code not in ours:
            yield f"{rows[0].client_id}: the broker's {rows[0].tag} is unknown here"
    for code, (execution, order) in ours.items():
        at_broker = sum(row.filled for row in theirs.get(code, ()))
        if order.filled != at_broker:
            yield (
                f"{execution.name}: {order.tag} filled {order.filled} here, "
                f"{at_broker} at the broker"
            )


def positions_agree(evening: Evening) -> Problems:
    """The brokers' positions are our fills plus the customers' trades by hand."""
    held: Counter[Place] = Counter()
    for order in evening.book:
        held[order.place] += order.signed
    for place in sorted({*held, *evening.net}):
        if held[place] != evening.net.get(place, 0):
            yield f"{' '.join(place)}: fills {held[place]}, position {evening.net.get(place, 0)}"


def profit_is_true_or_null(evening: Evening) -> Problems:
    """P&L equals the result of the broker's trades to the paisa; unknown only with a cause."""
    theirs = evening.by_code()
    for execution in evening.executions:
        if execution.pnl is None:
            if execution.status == "CLOSED" and not execution.cause:
                yield f"{execution.name}: closed without a P&L, and nobody says why"
            continue
        rows = [row for order in execution.orders for row in theirs.get(code_of(order.tag), ())]
        truth = sum((row.cash for row in rows), Decimal(0)).quantize(PAISA)
        if sum(row.signed for row in rows):
            yield f"{execution.name}: a P&L of {execution.pnl} for what is not flat at the broker"
        elif execution.pnl.quantize(PAISA) != truth:
            yield f"{execution.name}: P&L {execution.pnl}, the broker's trades come to {truth}"


def nothing_twice(evening: Evening) -> Problems:
    """No intent has two orders with fills."""
    for code, rows in evening.by_code().items():
        if sum(row.filled > 0 for row in rows) > 1:
            yield f"{rows[0].client_id}: {len(rows)} orders of {code} filled"


def nothing_early(evening: Evening) -> Problems:
    """No order reached a broker before its strategy's entry second."""
    theirs = evening.by_code()
    for execution in evening.executions:
        entry = dt.datetime.combine(evening.day.date, execution.offer.hours.entry)
        for order in execution.orders:
            for row in theirs.get(code_of(order.tag), ()):
                wall = row.received_at.replace(tzinfo=None)
                if wall < entry:
                    yield f"{execution.name}: {order.tag} arrived at {wall:%H:%M:%S.%f}"


def one_executor_lived(evening: Evening) -> Problems:
    """The executor ran all day, unless the story stops it."""
    if len(evening.executors) != evening.expected_executors:
        names = ", ".join(evening.executors)
        yield f"executors of the day: {names}; the story has {evening.expected_executors}"


def closed_days_are_quiet(evening: Evening) -> Problems:
    """There are no orders on the preceding days on which the exchange was closed."""
    if evening.stray:
        yield f"{evening.stray} orders on a closed day"


CHECKS: Final = (
    everyone_traded_or_is_named,
    nothing_open_without_a_name,
    books_agree,
    positions_agree,
    profit_is_true_or_null,
    nothing_twice,
    nothing_early,
    one_executor_lived,
    closed_days_are_quiet,
)


def judge(evening: Evening) -> dict[str, list[str]]:
    """Problems by check; an empty list: the check passed."""
    return {check.__name__: list(check(evening)) for check in CHECKS}
