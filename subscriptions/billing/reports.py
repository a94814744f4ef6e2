"""Queries of partners and customers on their money: invoices, payments, commission, months."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from django.db.models import Count, Prefetch, Q, QuerySet, Sum

from marketplace.models import Template
from quantleap.core.clock import at_ist, ist_date
from quantleap.core.errors import NotFound
from quantleap.core.money import ZERO
from quantleap.core.tenancy import TenantQuerySet
from subscriptions.billing.models import (
    Commission,
    CreditNote,
    Invoice,
    LedgerEntry,
    Method,
    Payment,
    Receipt,
    Refund,
    Reversal,
)
from subscriptions.billing.settlement.proration import base_paid
from subscriptions.models import Subscription
from subscriptions.periods import add_months
from subscriptions.ports import RevenueShares

TOP: Final = 5
#: Relations that a payment's answer needs besides its invoice.
_PAID_BY: Final = ("receipt", "reversal__reversal")


def invoices(
    partner_id: int | None, environment: str, *, customer_id: int | None = None
) -> TenantQuerySet[Invoice]:
    """A tenant's invoices, newest first, with everything that a list shows (1 query)."""
    rows = (
        Invoice.objects.for_partner(partner_id, environment)
        .select_related("customer", "subscription__template")
        .defer(
            "snapshot",
            "subscription__template__description",
            "subscription__template__disclosure",
        )
        .order_by("-id")
    )
    return rows if customer_id is None else rows.filter(customer_id=customer_id)


def invoice_history(
    partner_id: int | None, environment: str, public_id: str, *, customer_id: int | None = None
) -> Invoice:
    """One invoice of the tenant with its payments and credit notes (3 queries).

    Raises NotFound if it is unknown, another tenant's or another customer's.
    """
    invoice = None
    if "\0" not in public_id:  # PostgreSQL text cannot contain it
        mine = invoices_with_history(partner_id, environment, customer_id=customer_id)
        invoice = mine.filter(public_id=public_id).first()
    if invoice is None:
        raise NotFound
    return invoice


def invoices_with_history(
    partner_id: int | None, environment: str, *, customer_id: int | None = None
) -> TenantQuerySet[Invoice]:
    """A tenant's invoices, newest first, with their payments and credit notes (3 queries)."""
    payment_rows = Payment.objects.select_related(*_PAID_BY).order_by("id")
    note_rows: QuerySet[CreditNote] = CreditNote.objects.select_related("refund").order_by("id")
    return (
        invoices(partner_id, environment, customer_id=customer_id)
        .prefetch_related(Prefetch("payments", payment_rows))
        .prefetch_related(Prefetch("credit_notes", note_rows))
    )


def payments(
    partner_id: int | None, environment: str, *, customer_id: int | None = None
) -> TenantQuerySet[Payment]:
    """A tenant's payments, or those of one customer, newest first (1 query).

    With their invoices, receipts and reversals.
    """
    rows = (
        Payment.objects.for_partner(partner_id, environment)
        .select_related("invoice", *_PAID_BY)
        .defer("invoice__snapshot")
        .order_by("-id")
    )
    return rows if customer_id is None else rows.filter(customer_id=customer_id)


# -- commission ----------------------------------------------------------------------------------
def commissions(payee: int, environment: str) -> QuerySet[Commission]:
    """A payee's rows, newest first, with the ledger entries of each (2 queries)."""
    return (
        Commission.objects.for_partner(payee, environment)
        .select_related(
            "invoice__customer", "invoice__subscription", "payment", "credit_note", "reversal",
            "accrual", "transaction",
        )
        .defer("invoice__snapshot", "credit_note__snapshot")
        .prefetch_related(
            Prefetch(
                "transaction__entries", LedgerEntry.objects.select_related("account").order_by("id")
            )
        )
        .order_by("-id")
    )  # fmt: skip


def shares_to_date(subscription_id: int, payee: int | None) -> RevenueShares:
    """What a subscription has earned ``payee`` and the platform so far (2 queries)."""
    billed = Invoice.objects.filter(subscription_id=subscription_id).only(
        "taxable", "total", "paid", "refunded", "credited", "credited_taxable"
    )
    base = sum((base_paid(invoice.standing) for invoice in billed), ZERO)
    earned = dict(
        Commission.objects.filter(
            invoice__subscription_id=subscription_id, kind__in=Commission.EARNING
        )
        .order_by()
        .values_list("partner_id")
        .annotate(sum=Sum("amount"))
    )
    return RevenueShares(earned.get(payee, ZERO), base - sum(earned.values(), ZERO))


# -- a partner's month ---------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class TopStrategy:
    """One template's month (rupees before tax, and the payee's commission)."""

    template_id: str
    name: str
    active_subscribers: int
    revenue: Decimal
    commission: Decimal


@dataclass(frozen=True, slots=True)
class Month:
    """A partner's month. Rupees; ``invoiced`` and ``credited`` before tax, the rest with it.

    Subscribers are customers: ``total`` counts all who had subscribed by the month's end (or by now
    in the current month), ``active`` those whose subscription was not cancelled by then (a pause
    does not count as one).
    """

    first: dt.date
    last: dt.date
    total_subscribers: int
    active_subscribers: int
    invoices: int
    invoiced: Decimal
    credited: Decimal
    payments: Decimal
    refunds: Decimal
    reversed: Decimal
    accrued: Decimal
    clawed_back: Decimal
    matured: Decimal
    top_strategies: tuple[TopStrategy, ...]

    @property
    def revenue(self) -> Decimal:
        """Invoiced less credited, before tax."""
        return self.invoiced - self.credited

    @property
    def commission(self) -> Decimal:
        """Accrued less clawed back: the sum of the rows of the commission list."""
        return self.accrued + self.clawed_back


def month_report(partner_id: int, environment: str, first: dt.date) -> Month:
    """The month that begins on ``first`` (IST): 12 queries, whatever the number of subscribers."""
    after = add_months(first, 1)
    window = (first, after - dt.timedelta(days=1))
    live = _subscribed(partner_id, environment, after)
    counted = live.aggregate(
        total=Count("customer", distinct=True),
        active=Count("customer", distinct=True, filter=_not_cancelled(after)),
    )
    issued = Invoice.objects.for_partner(partner_id, environment).filter(issued_on__range=window)
    credit_notes = CreditNote.objects.for_partner(partner_id, environment).filter(
        issued_on__range=window
    )
    rows = Commission.objects.for_partner(partner_id, environment).filter(accrued_on__range=window)
    billed = issued.aggregate(count=Count("pk"), sum=Sum("taxable"))
    earned = rows.aggregate(
        **{kind.value: Sum("amount", filter=Q(kind=kind)) for kind in Commission.Kind}
    )
    return Month(
        first=first,
        last=window[1],
        total_subscribers=counted["total"],
        active_subscribers=counted["active"],
        invoices=billed["count"],
        invoiced=billed["sum"] or ZERO,
        credited=_sum(credit_notes, "taxable"),
        payments=_sum(
            Receipt.objects.for_partner(partner_id, environment).filter(recorded_on__range=window),
            "amount",
        ),
        refunds=_sum(
            Refund.objects.for_partner(partner_id, environment)
            .filter(recorded_on__range=window)
            .exclude(method=Method.CUSTOMER_CREDIT),
            "amount",
        ),
        reversed=_sum(
            Reversal.objects.for_partner(partner_id, environment).filter(recorded_on__range=window),
            "receipt__amount",
        ),
        accrued=earned["ACCRUAL"] or ZERO,
        clawed_back=earned["CLAWBACK"] or ZERO,
        matured=earned["MATURITY"] or ZERO,
        top_strategies=_top(live, issued, credit_notes, rows, after),
    )


def running_month(now: dt.datetime) -> dt.date:
    """First day (IST) of the month that contains ``now``."""
    return ist_date(now).replace(day=1)


def _subscribed(partner_id: int, environment: str, after: dt.date) -> QuerySet[Subscription]:
    return (
        Subscription.objects.for_partner(partner_id, environment)
        .filter(created_at__lt=at_ist(after, dt.time()))
        .order_by()
    )


def _not_cancelled(after: dt.date) -> Q:
    return Q(cancelled_at__isnull=True) | Q(cancelled_at__gte=at_ist(after, dt.time()))


def _sum(
    rows: QuerySet[Receipt] | QuerySet[Reversal] | QuerySet[Refund] | QuerySet[CreditNote],
    name: str,
) -> Decimal:
    total: Decimal | None = rows.aggregate(sum=Sum(name))["sum"]
    return total or ZERO


def _top(
    live: QuerySet[Subscription],
    issued: QuerySet[Invoice],
    credit_notes: QuerySet[CreditNote],
    rows: QuerySet[Commission],
    after: dt.date,
) -> tuple[TopStrategy, ...]:
    """Templates ordered by revenue, then subscribers, then age."""
    active = dict(
        live.filter(_not_cancelled(after))
        .values_list("template_id")
        .annotate(count=Count("customer", distinct=True))
    )
    billed = _per_template(issued, "subscription__template_id", "taxable")
    credited = _per_template(credit_notes, "invoice__subscription__template_id", "taxable")
    earned = _per_template(
        rows.filter(kind__in=Commission.EARNING), "invoice__subscription__template_id", "amount"
    )
    revenue = {key: billed.get(key, ZERO) - credited.get(key, ZERO) for key in billed | credited}
    ranked = sorted(
        active.keys() | revenue.keys() | earned.keys(),
        key=lambda key: (-revenue.get(key, ZERO), -active.get(key, 0), key),
    )[:TOP]
    templates = Template.objects.only("public_id", "name").in_bulk(ranked)
    return tuple(
        TopStrategy(
            templates[key].public_id,
            templates[key].name,
            active.get(key, 0),
            revenue.get(key, ZERO),
            earned.get(key, ZERO),
        )
        for key in ranked
    )


def _per_template(
    rows: QuerySet[Invoice] | QuerySet[CreditNote] | QuerySet[Commission], key: str, name: str
) -> dict[int, Decimal]:
    return dict(rows.order_by().values_list(key).annotate(sum=Sum(name)))
