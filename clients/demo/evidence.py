"""What was seen: by the partner's API, at the broker's own book, in the ledger, by the webhooks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from clients.demo.receiver import Webhook

FINAL: Final = frozenset({"FILLED", "REJECTED", "CANCELLED", "MISSED"})
ENTERED: Final = frozenset({"OPEN", "EXITING", "CLOSED"})
#: In the simulator's words: placing; changing and cancelling.
ORDER_CALLS: Final = frozenset({"placed", "orders"})
PairKey = tuple[str, str]  # customer's e-mail, strategy's key
Place = tuple[str, str, str]  # broker, client, symbol


@dataclass(frozen=True)
class Order:
    """One order as the partner's API tells it. Quantities in units, instants aware."""

    tag: str
    purpose: str
    reason: str
    symbol: str
    side: str
    quantity: int
    filled: int
    state: str
    cause: str
    sent_at: dt.datetime | None

    @property
    def code(self) -> str:
        """What all sends of one intent have in common."""
        return code_of(self.tag)

    @property
    def is_resolved(self) -> bool:
        """Whether somebody knows how it ended (ESCALATED means: nobody does)."""
        return self.state in FINAL


@dataclass(frozen=True)
class Execution:
    """One subscriber's part in a run as the partner's API tells it."""

    subscription_id: str
    status: str
    cause: str
    orders: tuple[Order, ...]

    @property
    def entries(self) -> list[Order]:
        """Its entry orders."""
        return [order for order in self.orders if order.purpose == "ENTRY"]

    @property
    def exits(self) -> list[Order]:
        """Its exits and unwinds."""
        return [order for order in self.orders if order.purpose != "ENTRY"]

    @property
    def is_resolved(self) -> bool:
        """Whether all its orders are."""
        return all(order.is_resolved for order in self.orders)


@dataclass(frozen=True)
class BookOrder:
    """One order in the broker's own book (the oracle).

    Quantities in units, ``price`` the average of its fills in rupees, ``received_at`` in India,
    ``app`` the application that placed it.
    """

    broker: str
    client_id: str
    tag: str
    symbol: str
    side: str
    filled: int
    price: Decimal
    status: str
    received_at: dt.datetime
    app: str = ""

    @property
    def code(self) -> str:
        """The intent it belongs to; '' for an order that is not ours."""
        return code_of(self.tag)

    @property
    def place(self) -> Place:
        """Where it counts."""
        return self.broker, self.client_id, self.symbol

    @property
    def signed(self) -> int:
        """Units bought (positive) or sold."""
        return self.filled if self.side == "BUY" else -self.filled

    @property
    def cash(self) -> Decimal:
        """Rupees that it brought (positive) or cost."""
        return -self.signed * self.price


@dataclass(frozen=True)
class CountedCall:
    """One call of an account as its broker counted it; ``at`` in India, ``kind`` in its words."""

    kind: str
    at: dt.datetime

    @property
    def is_of_an_order(self) -> bool:
        """Whether it placed, changed or cancelled one, or was refused for asking too much."""
        return self.kind in ORDER_CALLS


@dataclass(frozen=True)
class Subscription:
    """One subscription as the partner's API tells it at the end of the day."""

    id: str
    status: str


@dataclass(frozen=True)
class StopMove:
    """The stop of a straddle's put before and after the call was stopped, rupees."""

    email: str
    before: Decimal | None
    after: Decimal | None


@dataclass(frozen=True)
class Invoice:
    """One invoice as the partner's API tells it. Rupees."""

    id: str
    number: str
    email: str
    subscription_id: str
    status: str
    period_start: dt.date
    period_end: dt.date
    taxable: Decimal
    cgst: Decimal
    sgst: Decimal
    igst: Decimal
    total: Decimal
    paid: Decimal
    outstanding: Decimal


@dataclass(frozen=True)
class Commission:
    """One row of the partner's commission list. Rupees."""

    id: str
    kind: str
    invoice_id: str
    amount: Decimal


@dataclass(frozen=True)
class Books:
    """The ledger as ``manage.py check_ledger`` tells it, which asks the postings and no invoice.

    ``balances`` by name of the chart of accounts, rupees, debit positive. ``findings``: what the
    platform's own proof says, in its words.
    """

    ledger_sum: Decimal
    unbalanced: int
    balances: Mapping[str, Decimal]
    findings: tuple[str, ...]

    def balance(self, name: str) -> Decimal:
        """0.00 for what was never posted."""
        return self.balances.get(name, Decimal("0.00"))


@dataclass(frozen=True)
class Revenue:
    """The partner's month as his report sums it up. Rupees."""

    invoices: int
    invoiced: Decimal
    payments: Decimal
    commission: Decimal


@dataclass(frozen=True)
class Document:
    """An invoice's PDF, asked for twice by its customer and once by another one."""

    number: str
    begins: bytes
    size: int
    same_again: bool
    status_for_another: int


@dataclass
class Month:
    """What was seen when the month was billed and paid.

    ``runs``: how many invoices each run said it made. ``billed`` and ``books_billed`` are from
    before the first payment, all others from after the last.
    """

    runs: Sequence[int] = ()
    billed: Sequence[Invoice] = ()
    books_billed: Books | None = None
    invoices: Sequence[Invoice] = ()
    books: Books | None = None
    commissions: Sequence[Commission] = ()
    revenue: Revenue | None = None
    documents: Sequence[Document] = ()
    seconds: float = 0.0


@dataclass
class Twice:
    """What was seen of the persons who are customers of two partners (clients/demo/twice.py).

    ``executions`` by name of the half, ``calls`` by broker and client, ``executors``: the shards
    that each executor had, by its name.
    """

    executions: Mapping[str, Execution] = field(default_factory=dict)
    calls: Mapping[tuple[str, str], Sequence[CountedCall]] = field(default_factory=dict)
    executors: Mapping[str, Collection[int]] = field(default_factory=dict)


@dataclass
class Evidence:
    """Everything the checks look at. ``symbols``: (broker, option type, strike) -> name there."""

    spot: Decimal
    lot_size: int
    symbols: Mapping[tuple[str, str, Decimal], str]
    subscriptions: dict[PairKey, Subscription] = field(default_factory=dict)
    executions: dict[PairKey, Execution] = field(default_factory=dict)
    book: Sequence[BookOrder] = ()
    net_positions: Mapping[Place, int] = field(default_factory=dict)
    fault_hits: Mapping[str, int] = field(default_factory=dict)
    refusals: dict[PairKey, str] = field(default_factory=dict)
    next_entry_affected: dict[PairKey, bool] = field(default_factory=dict)
    stop_moves: Sequence[StopMove] = ()
    webhooks: Sequence[Webhook] = ()
    bad_signatures: Sequence[str] = ()
    lateness: Mapping[str, Any] = field(default_factory=dict)
    twice: Twice = field(default_factory=Twice)
    month: Month = field(default_factory=Month)
    seconds: float = 0.0


def code_of(tag: str) -> str:
    """The 12 characters of a tag that name the intent ('' for a tag that is not ours)."""
    return tag[1:13] if len(tag) == 14 and tag.startswith("Q") else ""
