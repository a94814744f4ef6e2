"""What this room needs from the rooms above it: billing and the trading day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, Protocol, TypeVar

from django.db.models import QuerySet

from quantleap.core.ports import Port
from subscriptions.models import Subscription

S = TypeVar("S", bound="QuerySet[Subscription]")


class PaymentStatus(StrEnum):
    """The status of a subscription's payments; an older unpaid invoice outweighs a newer paid one.

    CREDITED: the newest invoice was credited in full.
    """

    NOT_REQUIRED = "NOT_REQUIRED"
    NOT_INVOICED = "NOT_INVOICED"
    OVERDUE = "OVERDUE"
    DUE = "DUE"
    PAID = "PAID"
    CREDITED = "CREDITED"


@dataclass(frozen=True, slots=True)
class BalanceDue:
    """What is due over all unpaid invoices: ``amount`` in rupees with tax, the first by ``due_by``.

    It includes the invoice of a month that this subscription continues, even if another
    subscription was billed for it. A period that is due but not invoiced yet is NOT_INVOICED, never
    PAID. ``invoiceable`` False: the customer's state is unknown, and invoices are withheld until it
    is known. ``next_period``: see :meth:`Billing.next_period`.
    """

    status: PaymentStatus
    due_by: dt.date | None = None
    amount: Decimal | None = None
    invoiceable: bool = True
    next_period: dt.date | None = None


@dataclass(frozen=True, slots=True)
class RevenueShares:
    """Shares of what was paid and not refunded (rupees before tax)."""

    partner: Decimal
    platform: Decimal


class Billing(Protocol):
    """The effects of a subscription's steps on its bill, and what its customer owes.

    Dates are IST. The methods that write do so in the caller's transaction.
    """

    def open_segments(self, subscriptions: Collection[Subscription]) -> None:
        """Bill new, saved subscriptions from their anchors.

        A customer who has begun a month of the template before continues it, from its anchor; this
        method writes that anchor (docs/adr/0054).
        """
        ...

    def stop(self, subscription_ids: Collection[int], *, on: dt.date) -> None:
        """Bill no period that begins after ``on``. An earlier stop day stays."""
        ...

    def resume(
        self, subscriptions: Collection[Subscription], *, on: dt.date
    ) -> Mapping[int, dt.date]:
        """Bill again from ``on``: subscription key -> the anchor from which it now counts."""
        ...

    def expect_credits(
        self, cancelled: Iterable[Subscription], *, on: dt.date, now: dt.datetime
    ) -> None:
        """Record cancellations by withdrawal, whose days after ``on`` will be credited."""
        ...

    def refuse_debtor(self, subscription: Subscription, today: dt.date) -> None:
        """Raise PaymentDue (409) if the customer must pay before they may subscribe anew.

        The subscription is saved, its customer loaded, and it has no segment yet.
        """
        ...

    def with_balance_due(self, rows: S) -> S:
        """The same rows with what :meth:`balance_due` needs, without a query of its own."""
        ...

    def balance_due(self, subscription: Subscription, today: dt.date) -> BalanceDue:
        """What the customer has to pay as of ``today``. The customer must be loaded.

        One query if the row does not come from :meth:`with_balance_due`.
        """
        ...

    def next_period(self, subscription: Subscription, today: dt.date) -> dt.date | None:
        """First day of the period that is billed next, as known on ``today``.

        None if nothing will be billed: free, test environment, paused (its end is unknown),
        cancelled, not renewed, or a suspended partner's customers trade only until a day before it.
        One query if the row does not come from :meth:`with_balance_due`.
        """
        ...

    def shares_to_date(self, subscription_id: int, payee: int | None) -> RevenueShares:
        """What a subscription has earned ``payee`` (a partner's key) and the platform so far."""
        ...


class EntryGate(Protocol):
    """Withdraws the next entry on pause or cancellation: I7 (no entry outside its window)."""

    def withdraw_armed(
        self, subscription_ids: Collection[int], *, reason: str, now: dt.datetime
    ) -> bool:
        """Withdraw armed entries, in the caller's transaction.

        Returns ``next_entry_affected``: False if an entry was already committed, which then goes
        out.
        """
        ...

    def withdraw_allocations(
        self, allocation_ids: Collection[int], *, reason: str, now: dt.datetime
    ) -> bool:
        """:meth:`withdraw_armed` for single allocations of a subscription."""
        ...

    def resize_armed(self, allocation_ids: Collection[int], *, now: dt.datetime) -> bool:
        """Give armed entries the sizes that their allocations have now, in the caller's
        transaction.

        Returns ``next_entry_affected``: False if an entry is being computed or committed, which
        then goes out as it was.
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
        """Request the exit of all open positions, or of those in one broker account. Idempotent.

        Returns the number of executions that it reaches.
        """
        ...


class Activity(Protocol):
    """The trades of a subscription, as the API shows them."""

    def last_executions(self, subscription_id: int, limit: int) -> list[dict[str, Any]]:
        """At most ``limit`` executions, newest first."""
        ...

    def performance(self, subscription_id: int) -> Mapping[str, Decimal | None]:
        """``total_pnl`` in rupees and ``roi_percentage``; None if not known yet."""
        ...


class _NothingTrades:
    """Without an execution room no entry is ever committed: every withdrawal is in time."""

    def withdraw_armed(
        self, subscription_ids: Collection[int], *, reason: str, now: dt.datetime
    ) -> bool:
        del subscription_ids, reason, now
        return True

    def withdraw_allocations(
        self, allocation_ids: Collection[int], *, reason: str, now: dt.datetime
    ) -> bool:
        del allocation_ids, reason, now
        return True

    def resize_armed(self, allocation_ids: Collection[int], *, now: dt.datetime) -> bool:
        del allocation_ids, now
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


#: No default: there must be no subscription that is not billed.
BILLING: Final[Port[Billing]] = Port("subscriptions.billing")
ENTRY_GATE: Final[Port[EntryGate]] = Port("subscriptions.entry_gate", _NothingTrades())
ACTIVITY: Final[Port[Activity]] = Port("subscriptions.activity", _NothingTraded())
