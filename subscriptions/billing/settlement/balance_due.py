"""What a subscription's customer has to pay now, and when next; for any number in one query."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Count, F, Min, OuterRef, Q, QuerySet, Subquery, Sum, TextField
from django.db.models.functions import Cast, Greatest, JSONObject

from partners.gst_states import place_of_supply
from quantleap.core.money import ZERO
from subscriptions.billing.models import BillingSegment, Invoice
from subscriptions.billing.selectors import coming, runs_until
from subscriptions.models import Subscription
from subscriptions.periods import next_billing_date
from subscriptions.ports import BalanceDue, PaymentStatus, S

_NAME: Final = "balance_due"
_BEGUN: Final = "balance_due_begun"
_DUE_ON: Final = "balance_due_due_on"
_RUNS_UNTIL: Final = "balance_due_runs_until"
#: The last day to pay on time; after a bounce there is a new one. GREATEST ignores nulls.
_DUE_BY: Final = Greatest("due_on", "due_again_on")
#: :attr:`Standing.outstanding` in SQL.
OUTSTANDING: Final = F("total") - F("paid") + F("refunded") - F("credited")


def due_by(invoice: Invoice) -> dt.date:
    """The last day (IST) to pay on time: as issued, or the new one after a reversal."""
    return max(invoice.due_on, invoice.due_again_on or invoice.due_on)


def late(today: dt.date) -> Q:
    """Filter for unpaid invoices: overdue on ``today`` (IST)."""
    again = Q(due_again_on__isnull=True) | Q(due_again_on__lt=today)
    return Q(due_on__lt=today) & again


def with_balance_due(rows: S) -> S:
    """The same rows with what :func:`balance_due` needs, without a query of its own."""
    unpaid = Q(status__in=Invoice.UNPAID)
    summary = (
        Invoice.objects.filter(subscription=OuterRef("pk"))
        .order_by()
        .values("subscription")
        .annotate(
            summary=JSONObject(
                unpaid=Count("pk", filter=unpaid),
                due_by=Min(_DUE_BY, filter=unpaid),
                # money leaves SQL as text, never as a float
                amount=Cast(Sum(OUTSTANDING, filter=unpaid), TextField()),
                statuses=ArrayAgg("status", order_by="-id"),
            )
        )
        .values("summary")
    )
    due = coming().filter(subscription=OuterRef("pk"))
    return rows.annotate(
        **{
            _NAME: Subquery(summary),
            _BEGUN: Subquery(_begun_invoice()),
            _DUE_ON: Subquery(due.order_by("next_on").values("next_on")[:1]),
            _RUNS_UNTIL: runs_until(),
        }
    )


def _begun_invoice() -> QuerySet[Invoice, Any]:
    """The invoice of the period that a subscription continues, billed by an earlier one."""
    return (
        _continued(OuterRef(OuterRef("pk")))
        .order_by()
        .annotate(
            summary=JSONObject(
                status="status",
                due_by=_DUE_BY,
                amount=Cast(OUTSTANDING, TextField()),
            )
        )
        .values("summary")
    )


def _continued(subscription: Any) -> QuerySet[Invoice]:
    """The invoice of the period that ``subscription`` continues.

    Scalar subqueries fetch the keys first, the invoice's subscription among them, because invoices
    have an index on that and none on their segment. With a join the planner read all 300,000
    invoices for each subscription. At most one invoice matches (invoice_period_uniq), so there is
    no ORDER BY or LIMIT: to find the first by id PostgreSQL would read them in that order.
    """
    continuing = BillingSegment.objects.filter(subscription=subscription, continues__isnull=False)
    first = continuing.order_by("number")
    return Invoice.objects.filter(
        subscription=Subquery(first.values("continues__subscription")[:1]),
        segment=Subquery(first.values("continues")[:1]),
        period_no=Subquery(first.annotate(last=F("first_no") - 1).values("last")[:1]),
    )


def of_subscription(subscription_id: int) -> QuerySet[Invoice]:
    """Its invoices, and the invoice of the period that it continues."""
    begun = _continued(subscription_id).values("pk")
    return Invoice.objects.filter(Q(subscription_id=subscription_id) | Q(pk__in=begun))


def balance_due(subscription: Subscription, today: dt.date) -> BalanceDue:
    """What is due as of ``today`` (IST). The customer must be loaded.

    One query if the row does not come from :func:`with_balance_due`.
    """
    if not subscription.is_billed:
        return BalanceDue(PaymentStatus.NOT_REQUIRED)
    known = place_of_supply(today, state=subscription.customer.state) is not None
    read = _read(subscription)
    return replace(
        _of_invoices(subscription, today, read),
        invoiceable=known,
        next_period=_next(subscription, today, read) if _goes_on(subscription) else None,
    )


def next_period(subscription: Subscription, today: dt.date) -> dt.date | None:
    """First day (IST) of the period that is billed next, as known on ``today``.

    None if nothing will be billed: free, test environment, paused (its end is unknown), cancelled,
    not renewed, or a suspended partner's customers trade only until a day before it. One query if
    the row does not come from :func:`with_balance_due`; no query for what is never billed.
    """
    if not _goes_on(subscription):
        return None
    return _next(subscription, today, _read(subscription))


def _goes_on(subscription: Subscription) -> bool:
    active = subscription.status == Subscription.Status.ACTIVE
    return subscription.is_billed and active and subscription.ends_on is None


def _next(subscription: Subscription, today: dt.date, read: _Read) -> dt.date | None:
    following = next_billing_date(subscription.anchor, today)
    last = read.runs_until
    return None if last is not None and last < following else following


@dataclass(frozen=True, slots=True)
class _Read:
    """What :func:`with_balance_due` reads of a subscription, as JSON.

    ``invoices``: sums over its own. ``begun``: the invoice of the period that it continues.
    ``due_on``: the first day (IST) that is not invoiced yet. ``runs_until``: the last day (IST) on
    which a suspended partner's customers trade.
    """

    invoices: dict[str, Any] | None
    begun: dict[str, Any] | None
    due_on: dt.date | None
    runs_until: dt.date | None


def _read(subscription: Subscription) -> _Read:
    row = subscription
    if not hasattr(row, _NAME):
        row = with_balance_due(Subscription.objects.filter(pk=subscription.pk)).only("pk").get()
    return _Read(*(getattr(row, name) for name in (_NAME, _BEGUN, _DUE_ON, _RUNS_UNTIL)))


def _of_invoices(subscription: Subscription, today: dt.date, read: _Read) -> BalanceDue:
    summary, due_on = read.invoices, read.due_on
    cancelled = subscription.status == Subscription.Status.CANCELLED
    # ended before its own first period: the debt stays with the subscription that was invoiced
    begun = None if cancelled else read.begun
    unpaid = [summary] if summary and summary["unpaid"] else []
    if begun and begun["status"] in Invoice.UNPAID:
        unpaid.append(begun)
    if unpaid:
        due_by = min(dt.date.fromisoformat(debt["due_by"]) for debt in unpaid)
        status = PaymentStatus.OVERDUE if due_by < today else PaymentStatus.DUE
        return BalanceDue(status, due_by, sum((Decimal(debt["amount"]) for debt in unpaid), ZERO))
    if summary is None and cancelled and due_on is None:
        return BalanceDue(PaymentStatus.NOT_REQUIRED)
    if (summary is None and begun is None) or (due_on is not None and due_on <= today):
        return BalanceDue(PaymentStatus.NOT_INVOICED)
    newest = summary["statuses"][0] if summary else begun and begun["status"]
    credited = newest == Invoice.Status.CREDITED
    return BalanceDue(PaymentStatus.CREDITED if credited else PaymentStatus.PAID)
