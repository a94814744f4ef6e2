"""Queries of billing that several interfaces use."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Exists, OuterRef, QuerySet, Subquery

from partners.gst_states import in_force, place_of_supply
from partners.models import Customer, Partner
from quantleap.core.errors import NotFound
from subscriptions.billing.models import (
    BillingSegment,
    Invoice,
    Supplier,
    TaxRate,
)


@dataclass(frozen=True, slots=True)
class Withheld:
    """A due segment that cannot be invoiced, because the customer's state is unknown."""

    subscription: str
    customer: str
    email: str
    state: str
    due_since: dt.date


def runs_until() -> Subquery:
    """The last day (IST) on which a suspended partner's customers trade, as a subquery.

    For segments and subscriptions. Null unless the suspension set such a day (adr 0051).
    """
    return Subquery(Partner.objects.filter(pk=OuterRef("partner_id")).values("run_until")[:1])


def coming() -> QuerySet[BillingSegment]:
    """Segments for which a run will invoice something, today or later, as known now.

    The run's own rule (run_sql.DUE): a period that begins after the last day on which a suspended
    partner's customers trade is never billed, whether they are held yet or not.
    """
    over = Partner.objects.filter(pk=OuterRef("partner_id"), run_until__lt=OuterRef("next_on"))
    return BillingSegment.objects.filter(~Exists(over), next_on__isnull=False)


def withheld_segments(as_of: dt.date, today: dt.date) -> QuerySet[BillingSegment]:
    """Segments due by ``as_of`` that no run can invoice ``today``: their customer has no state that
    is in force on that day, which is the date of the invoices that a run makes (IST)."""
    return (
        coming()
        .filter(next_on__lte=as_of)
        .exclude(subscription__customer__state__in=list(in_force(today)))
    )


def withheld(as_of: dt.date, today: dt.date) -> list[Withheld]:
    """Every due segment without a place of supply, oldest first; billed once there is one."""
    segments = withheld_segments(as_of, today)
    due = segments.select_related("subscription__customer").order_by("next_on", "id")
    return [
        Withheld(
            segment.subscription.public_id,
            segment.subscription.customer.public_id,
            segment.subscription.customer.email,
            segment.subscription.customer.state,
            segment.next_on,
        )
        for segment in due
        if segment.next_on is not None
    ]


def get_invoice(
    partner_id: int | None, environment: str, public_id: str, *, customer_id: int | None = None
) -> Invoice:
    """A tenant's invoice, or one customer's. Raises NotFound, also for an invoice of others."""
    if "\0" in public_id:  # a path may contain it, PostgreSQL text cannot
        raise NotFound
    invoices = Invoice.objects.for_partner(partner_id, environment).filter(public_id=public_id)
    if customer_id is not None:
        invoices = invoices.filter(customer_id=customer_id)
    invoice = invoices.first()
    if invoice is None:
        raise NotFound
    return invoice


def tax_rate_on(day: dt.date) -> Decimal | None:
    """GST in percent in force on ``day`` (IST); None if there is no rate (1 query)."""
    rates = TaxRate.objects.filter(effective_from__lte=day).order_by("-effective_from")
    return rates.values_list("rate_pct", flat=True).first()


def within_state(day: dt.date, *, customer_id: int | None, state: str) -> bool:
    """Whether a period that begins on ``day`` (IST) is invoiced with CGST and SGST.

    The place of supply is found as in the billing run; ``state`` (a GST code) takes precedence over
    the customer's own. A customer without a known state counts as being where the supplier is, as
    the law treats a recipient without an address on record (IGST Act, section 12(2)(b)(ii)).
    """
    supplier = (
        Supplier.objects.filter(effective_from__lte=day)
        .order_by("-effective_from")
        .values_list("state_code", flat=True)
        .first()
    )
    own = state
    if not own and customer_id is not None:
        own = Customer.objects.filter(pk=customer_id).values_list("state", flat=True).first() or ""
    place = place_of_supply(day, state=own)
    return supplier is None or place is None or place == supplier
