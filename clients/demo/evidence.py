"""Evidence: from the partner's API, the brokers' order books, the ledger and the webhooks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from clients.demo.receiver import Webhook

FINAL: Final = frozenset({"FILLED", "REJECTED", "CANCELLED", "MISSED"})
ENTERED: Final = frozenset({"OPEN", "EXITING", "CLOSED"})
#: The simulator's names for placing, and for changing and cancelling.
ORDER_CALLS: Final = frozenset({"placed", "orders"})
PairKey = tuple[str, str]  # customer's e-mail, strategy's key
Place = tuple[str, str, str]  # broker, client, symbol


@dataclass(frozen=True)
class Order:
    """One order as the partner's API shows it. Quantities in units, instants aware."""

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
        """The code that all sends of one intent share."""
        return code_of(self.tag)

    @property
    def is_resolved(self) -> bool:
        """Whether its end is known (ESCALATED: it is not)."""
        return self.state in FINAL


@dataclass(frozen=True)
class Execution:
    """One subscriber's part in a run as the partner's API shows it."""

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
        """Whether all its orders are resolved."""
        return all(order.is_resolved for order in self.orders)


@dataclass(frozen=True)
class BookOrder:
    """One order in the broker's own book (the oracle).

    Quantities in units, ``price`` the average of its fills in rupees, ``received_at`` in IST,
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
        """The code of its intent; '' for an order that is not ours."""
        return code_of(self.tag)

    @property
    def place(self) -> Place:
        """Broker, client and symbol of its position."""
        return self.broker, self.client_id, self.symbol

    @property
    def signed(self) -> int:
        """Units bought (positive) or sold (negative)."""
        return self.filled if self.side == "BUY" else -self.filled

    @property
    def cash(self) -> Decimal:
        """Rupees received (positive) or paid (negative)."""
        return -self.signed * self.price


@dataclass(frozen=True)
class CountedCall:
    """One call of an account as its broker counted it; ``at`` in IST, ``kind`` the broker's."""

    kind: str
    at: dt.datetime

    @property
    def is_of_an_order(self) -> bool:
        """Whether it placed, changed or cancelled an order, or was refused by the rate limit."""
        return self.kind in ORDER_CALLS


@dataclass(frozen=True)
class Subscription:
    """One subscription as the partner's API shows it at the end of the day."""

    id: str
    status: str


@dataclass(frozen=True)
class StopMove:
    """The stop of a straddle's put before and after the call was stopped, in rupees."""

    email: str
    before: Decimal | None
    after: Decimal | None


@dataclass(frozen=True)
class Invoice:
    """One invoice as the partner's API shows it. Rupees."""

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
    """The ledger as ``manage.py check_ledger`` prints it, from postings and not from invoices.

    ``balances`` by name of the chart of accounts, rupees, debit positive. ``findings``: texts of
    the platform's own check.
    """

    ledger_sum: Decimal
    unbalanced: int
    balances: Mapping[str, Decimal]
    findings: tuple[str, ...]

    def balance(self, name: str) -> Decimal:
        """0.00 for a name without postings."""
        return self.balances.get(name, Decimal("0.00"))


@dataclass(frozen=True)
class Revenue:
    """The partner's report of the month. Rupees."""

    invoices: int
    invoiced: Decimal
    payments: Decimal
    commission: Decimal


@dataclass(frozen=True)
class Document:
    """An invoice's PDF, requested twice by its customer and once by another customer."""

    number: str
    begins: bytes
    size: int
    same_again: bool
    status_for_another: int


@dataclass
class Month:
    """What was observed when the month was billed and paid.

    ``runs``: number of invoices that each run reported. ``billed`` and ``books_billed`` are from
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
    """What was observed of persons who are customers of two partners (clients/demo/twice.py).

    ``executions`` by name of the half, ``calls`` by broker and client, ``executors``: executor name
    -> its shards.
    """

    executions: Mapping[str, Execution] = field(default_factory=dict)
    calls: Mapping[tuple[str, str], Sequence[CountedCall]] = field(default_factory=dict)
    executors: Mapping[str, Collection[int]] = field(default_factory=dict)


@dataclass
class Evidence:
    """All input of the checks. ``symbols``: (broker, option type, strike) -> the broker's name."""

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
    """The 12 characters of a tag that identify the intent ('' for a tag that is not ours)."""
    return tag[1:13] if len(tag) == 14 and tag.startswith("Q") else ""
