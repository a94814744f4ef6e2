"""What a subscription's customer has to pay now, for any number of subscriptions in their query."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, TypeVar

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Count, F, Min, OuterRef, Q, QuerySet, Subquery, Sum, TextField
from django.db.models.functions import Cast, Greatest, JSONObject

from partners.states import place_of_supply
from subscriptions.billing.models import Invoice
from subscriptions.billing.segments import is_billed
from subscriptions.models import Subscription

Q_ = TypeVar("Q_", bound="QuerySet[Subscription]")
#: Invoices of which something is still owed.
UNPAID: Final = (Invoice.Status.DUE, Invoice.Status.PARTLY_PAID)
_NAME: Final = "owing"
#: The day until which nobody is late: what bounced is due anew (of empty ones the other counts).
_DUE_BY: Final = Greatest("due_on", "due_again_on")


class PaymentStatus(StrEnum):
    """In the order of what counts: an older invoice that is owed goes before a newer that is paid.

    CREDITED: the newest was taken back as a whole.
    """

    NOT_REQUIRED = "NOT_REQUIRED"
    NOT_INVOICED = "NOT_INVOICED"
    OVERDUE = "OVERDUE"
    DUE = "DUE"
    PAID = "PAID"
    CREDITED = "CREDITED"


@dataclass(frozen=True, slots=True)
class Owing:
    """``amount`` rupees with tax over all unpaid invoices, the first of them due by ``due_by``.

    ``invoiceable`` False: nobody knows the customer's state, and invoices are withheld until then.
    """

    status: PaymentStatus
    due_by: dt.date | None = None
    amount: Decimal | None = None
    invoiceable: bool = True


def due_by(invoice: Invoice) -> dt.date:
    """The last day (IST) on which an invoice is not late: as issued, or anew after a reversal."""
    return max(invoice.due_on, invoice.due_again_on or invoice.due_on)


def late(today: dt.date) -> Q:
    """Of unpaid invoices those that are overdue on ``today`` (IST)."""
    again = Q(due_again_on__isnull=True) | Q(due_again_on__lt=today)
    return Q(due_on__lt=today) & again


def with_owing(found: Q_) -> Q_:
    """The same rows with what :func:`owing` needs; no query of its own."""
    unpaid = Q(status__in=UNPAID)
    outstanding = F("total") - F("paid") + F("refunded") - F("credited")
    of_one = (
        Invoice.objects.filter(subscription=OuterRef("pk"))
        .order_by()
        .values("subscription")
        .annotate(
            found=JSONObject(
                unpaid=Count("pk", filter=unpaid),
                due_by=Min(_DUE_BY, filter=unpaid),
                # money leaves SQL as text, never as a float
                amount=Cast(Sum(outstanding, filter=unpaid), TextField()),
                statuses=ArrayAgg("status", order_by="-id"),
            )
        )
        .values("found")
    )
    return found.annotate(**{_NAME: Subquery(of_one)})


def owing(subscription: Subscription, today: dt.date) -> Owing:
    """As of ``today`` (IST), the customer loaded.

    One query where the row does not come from :func:`with_owing`.
    """
    if not is_billed(subscription):
        return Owing(PaymentStatus.NOT_REQUIRED)
    known = place_of_supply(today, state=subscription.customer.state) is not None
    return replace(_of_invoices(subscription, today), invoiceable=known)


def _of_invoices(subscription: Subscription, today: dt.date) -> Owing:
    if not hasattr(subscription, _NAME):
        alone = with_owing(Subscription.objects.filter(pk=subscription.pk)).only("pk").get()
        setattr(subscription, _NAME, getattr(alone, _NAME))
    found: dict[str, Any] | None = getattr(subscription, _NAME)
    if found is None:
        return Owing(PaymentStatus.NOT_INVOICED)
    if found["unpaid"]:
        until = dt.date.fromisoformat(found["due_by"])
        status = PaymentStatus.OVERDUE if until < today else PaymentStatus.DUE
        return Owing(status, until, Decimal(found["amount"]))
    newest = found["statuses"][0]
    credited = newest == Invoice.Status.CREDITED
    return Owing(PaymentStatus.CREDITED if credited else PaymentStatus.PAID)
