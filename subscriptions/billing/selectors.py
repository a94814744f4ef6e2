"""Reads of billing that more than one interface needs."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from partners.models import Partner
from partners.states import in_force, state_of
from quantleap.core.errors import NotFound
from subscriptions.billing.models import BillingSegment, Invoice, TaxRate


@dataclass(frozen=True, slots=True)
class Withheld:
    """A due segment that cannot be invoiced: nobody knows the customer's state."""

    subscription: str
    customer: str
    email: str
    state: str
    due_since: dt.date


def withheld(as_of: dt.date) -> list[Withheld]:
    """Every due segment without a place of supply, oldest first. It is billed once one is known."""
    defaults = dict(Partner.objects.values_list("pk", "default_state"))
    due = (
        BillingSegment.objects.filter(next_on__lte=as_of)
        .exclude(subscription__customer__state__in=list(in_force(as_of)))
        .select_related("subscription__customer")
        .order_by("next_on", "id")
    )
    return [
        Withheld(
            one.subscription.public_id,
            one.subscription.customer.public_id,
            one.subscription.customer.email,
            one.subscription.customer.state,
            one.next_on,
        )
        for one in due
        if one.next_on is not None
        and state_of(one.subscription.customer.state, defaults.get(one.partner_id or 0, ""), as_of)
        is None
    ]


def get_invoice(
    partner_id: int | None, environment: str, public_id: str, *, customer_id: int | None = None
) -> Invoice:
    """A tenant's invoice, of one customer where given; NotFound for everybody else's alike."""
    if "\0" in public_id:  # a path may hold it, PostgreSQL cannot
        raise NotFound
    found = Invoice.objects.for_partner(partner_id, environment).filter(public_id=public_id)
    if customer_id is not None:
        found = found.filter(customer_id=customer_id)
    invoice = found.first()
    if invoice is None:
        raise NotFound
    return invoice


def tax_rate_on(day: dt.date) -> Decimal | None:
    """GST in percent in force on ``day`` (IST); None where no rate is (1 query)."""
    rates = TaxRate.objects.filter(effective_from__lte=day).order_by("-effective_from")
    return rates.values_list("rate_pct", flat=True).first()
