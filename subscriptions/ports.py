"""What subscriptions asks of what is above it: billing and the trading day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, Protocol, TypeVar

from django.db.models import QuerySet

from quantleap.core.registry import Port
from subscriptions.models import Subscription

S = TypeVar("S", bound="QuerySet[Subscription]")


class PaymentStatus(StrEnum):
    """In the order of what counts: an older unpaid invoice goes before a newer paid one.

    CREDITED: the newest was taken back as a whole.
    """

    NOT_REQUIRED = "NOT_REQUIRED"
    NOT_INVOICED = "NOT_INVOICED"
    OVERDUE = "OVERDUE"
    DUE = "DUE"
    PAID = "PAID"
    CREDITED = "CREDITED"


@dataclass(frozen=True, slots=True)
class BalanceDue:
    """``amount`` rupees with tax over all unpaid invoices, the first of them due by ``due_by``.

    Among them that of the period in which the subscription went on, whoever's it is. A period that
    is due and that no run has invoiced yet is NOT_INVOICED, never PAID.
    ``invoiceable`` False: nobody knows the customer's state, and invoices are withheld until then.
    ``next_period``: see :meth:`Billing.next_period`.
    """

    status: PaymentStatus
    due_by: dt.date | None = None
    amount: Decimal | None = None
    invoiceable: bool = True
    next_period: dt.date | None = None


@dataclass(frozen=True, slots=True)
class RevenueShares:
    """Shares of what was paid and not given back (rupees before tax)."""

    partner: Decimal
    platform: Decimal


class Billing(Protocol):
    """What a step in a subscription's life means for its bill, and what its customer owes.

    Dates are IST. The methods that write do so in the caller's transaction.
    """

    def open_segments(self, subscriptions: Collection[Subscription]) -> None:
        """Bill new, saved subscriptions from their anchors.

        Whoever has begun a month of the template before continues it, from its anchor, which is
        written here (docs/adr/0054).
        """
        ...

    def stop(self, subscription_ids: Collection[int], *, on: dt.date) -> None:
        """Bill no period that begins after ``on``; one stopped for an earlier day keeps it."""
        ...

    def resume(
        self, subscriptions: Collection[Subscription], *, on: dt.date
    ) -> Mapping[int, dt.date]:
        """Bill again from ``on``: subscription key -> the anchor from which it counts now."""
        ...

    def expect_credits(
        self, cancelled: Iterable[Subscription], *, on: dt.date, now: dt.datetime
    ) -> None:
        """Note whose days after ``on`` are to be credited: their template was withdrawn."""
        ...

    def refuse_debtor(self, subscription: Subscription, today: dt.date) -> None:
        """PaymentDue (409) if the customer may not subscribe anew before they have paid.

        The subscription is saved, its customer loaded, and it has no segment yet.
        """
        ...

    def with_balance_due(self, rows: S) -> S:
        """The same rows with what :meth:`balance_due` needs; no query of its own."""
        ...

    def balance_due(self, subscription: Subscription, today: dt.date) -> BalanceDue:
        """What the customer has to pay as of ``today``, the customer loaded.

        One query where the row does not come from :meth:`with_balance_due`.
        """
        ...

    def next_period(self, subscription: Subscription, today: dt.date) -> dt.date | None:
        """First day of the period that is billed next, as things stand on ``today``.

        None where nothing will be billed: free, test environment, paused (nobody knows until
        when), cancelled, not renewed, and where a suspended partner's customers trade until a day
        before it. One query where the row does not come from :meth:`with_balance_due`.
        """
        ...

    def shares_to_date(self, subscription_id: int, payee: int | None) -> RevenueShares:
        """What a subscription brought ``payee`` (a partner's key) and the platform so far."""
        ...


class EntryGate(Protocol):
    """Withdraws the next entry of a subscription that leaves: I7 (no entry outside its window)."""

    def withdraw_armed(
        self, subscription_ids: Collection[int], *, reason: str, now: dt.datetime
    ) -> bool:
        """Withdraw what is armed, in the caller's transaction.

        Returns ``next_entry_affected``: False when an entry was already committed, which then
        goes out.
        """
        ...

    def request_exit(
        self,
        subscription_ids: Collection[int],
        *,
        reason: str,
        now: dt.datetime,
        account_id: int | None = None,
    ) -> int:
        """Ask for the exit of all open positions, or of those in one broker account; idempotent.

        How many executions it reaches.
        """
        ...


class Activity(Protocol):
    """What was traded for a subscription, as the API shows it."""

    def last_executions(self, subscription_id: int, limit: int) -> list[dict[str, Any]]:
        """At most ``limit`` executions, newest first."""
        ...

    def performance(self, subscription_id: int) -> Mapping[str, Decimal | None]:
        """``total_pnl`` in rupees and ``roi_percentage``; None where nothing is known yet."""
        ...


class _NothingTrades:
    """Without an execution room nothing was committed: whoever leaves misses the next entry."""

    def withdraw_armed(
        self, subscription_ids: Collection[int], *, reason: str, now: dt.datetime
    ) -> bool:
        del subscription_ids, reason, now
        return True

    def request_exit(
        self,
        subscription_ids: Collection[int],
        *,
        reason: str,
        now: dt.datetime,
        account_id: int | None = None,
    ) -> int:
        del subscription_ids, reason, now, account_id
        return 0


class _NothingTraded:
    """Without an execution room there is no history."""

    def last_executions(self, subscription_id: int, limit: int) -> list[dict[str, Any]]:
        del subscription_id, limit
        return []

    def performance(self, subscription_id: int) -> Mapping[str, Decimal | None]:
        del subscription_id
        return {"total_pnl": None, "roi_percentage": None}


#: No default: a subscription that nobody bills must not come to be.
BILLING: Final[Port[Billing]] = Port("subscriptions.billing")
ENTRY_GATE: Final[Port[EntryGate]] = Port("subscriptions.entry_gate", _NothingTrades())
ACTIVITY: Final[Port[Activity]] = Port("subscriptions.activity", _NothingTraded())
