"""Due subscriptions in bulk, and their billing results. Import it after ``django.setup()``."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from django.db import transaction

from marketplace.models import Template
from marketplace.services import adjust_subscriber_count
from marketplace.tests.factories import load_reference_data, make_template
from partners.models import Customer, Partner
from partners.tests.factories import make_partner
from quantleap.core.models import OutboxEvent
from quantleap.core.tenancy import Environment
from subscriptions import services
from subscriptions.billing.models import BillingSegment, Invoice, LedgerEntry
from subscriptions.billing.tests.factories import AWAY, HOME, load_billing, noon
from subscriptions.models import Subscription
from subscriptions.periods import add_months, period_on

FEES: Final = (Decimal("999.00"), Decimal("1499.50"), Decimal("333.33"))
#: States of customers: the supplier's, and others.
STATES: Final = (HOME, AWAY, "29", HOME, "07")
#: Subscriptions began within so many days before the billing date.
SPAN_DAYS: Final = 700
#: Every tenth has missed a month, so two invoices are due.
MISSED_EACH: Final = 10
_SLICE: Final = 5000


@dataclass(frozen=True, slots=True)
class Dataset:
    """The data that portfolios share: a template per fee, and partners."""

    templates: tuple[Template, ...]
    partners: tuple[Partner | None, ...]


def open_books() -> Dataset:
    """Create tax rate, supplier, templates and two partners; there are direct customers, too."""
    load_billing()
    load_reference_data()
    return Dataset(
        tuple(make_template(fee=fee) for fee in FEES),
        (make_partner(), make_partner(), None),
    )


def expected_invoices(count: int) -> int:
    """How many invoices are due for ``count`` subscriptions of :func:`load`."""
    return count + len(range(0, count, MISSED_EACH))


def load(dataset: Dataset, count: int, *, as_of: dt.date, prefix: str) -> list[int]:
    """Create ``count`` due live paid subscriptions with a history; returns ids. Deterministic.

    Anchors are spread over two years, so month ends are included; earlier periods count as billed
    before. ``prefix`` distinguishes portfolios.
    """
    chance = random.Random(count)
    ids: list[int] = []
    for first in range(0, count, _SLICE):
        numbers = range(first, min(first + _SLICE, count))
        with transaction.atomic():
            ids += _load_slice(dataset, numbers, as_of, prefix, chance)
    return ids


def _load_slice(
    dataset: Dataset, numbers: Sequence[int], as_of: dt.date, prefix: str, chance: random.Random
) -> list[int]:
    customers = Customer.objects.bulk_create(
        Customer(
            **_owner(dataset, number),
            email=f"{prefix}{number}@example.com",
            name=f"Payer {prefix}{number}",
            state=STATES[number % len(STATES)],
        )
        for number in numbers
    )
    subscriptions = Subscription.objects.bulk_create(
        _subscription(dataset, number, customer, as_of, chance)
        for number, customer in zip(numbers, customers, strict=True)
    )
    services.copy_shares(subscriptions)
    BillingSegment.objects.bulk_create(
        _segment(number, subscription, as_of)
        for number, subscription in zip(numbers, subscriptions, strict=True)
    )
    for template in dataset.templates:
        delta = sum(subscription.template_id == template.pk for subscription in subscriptions)
        adjust_subscriber_count(template_id=template.pk, delta=delta)
    return [subscription.pk for subscription in subscriptions]


def _owner(dataset: Dataset, number: int) -> dict[str, Any]:
    partner = dataset.partners[number % len(dataset.partners)]
    return {"partner_id": partner.pk if partner else None, "environment": Environment.LIVE}


def _subscription(
    dataset: Dataset, number: int, customer: Customer, as_of: dt.date, chance: random.Random
) -> Subscription:
    # At least two periods old, so that one can have been missed.
    anchor = as_of - dt.timedelta(days=chance.randint(62, SPAN_DAYS))
    # Not in step with the partners, which are as many.
    kind = number // len(FEES) % len(FEES)
    return Subscription(
        **_owner(dataset, number),
        customer=customer,
        template=dataset.templates[kind],
        monthly_fee=FEES[kind],
        partner_bps=3000 if dataset.partners[number % len(dataset.partners)] else 0,
        anchor=anchor,
        status_changed_at=noon(anchor),
        created_at=noon(anchor),
    )


def _segment(number: int, subscription: Subscription, as_of: dt.date) -> BillingSegment:
    next_no = period_on(subscription.anchor, as_of).number - (number % MISSED_EACH == 0)
    return BillingSegment(
        partner_id=subscription.partner_id,
        environment=subscription.environment,
        subscription=subscription,
        number=1,
        anchor=subscription.anchor,
        next_no=next_no,
        next_on=add_months(subscription.anchor, next_no),
    )


_SAME: Final = (
    *("segment_no", "period_no", "period_start", "period_end", "fy", "issued_on", "due_on"),
    *("taxable", "rate_pct", "cgst", "sgst", "igst", "total", "currency", "sac"),
    *("place_of_supply", "status", "needs_review"),
)


def billed(subscription_ids: Sequence[int]) -> list[list[dict[str, Any]]]:
    """Everything written for each subscription, without ids, numbers and names.

    Two portfolios with the same count are equal in it if they were billed alike.
    """
    return [_billed(subscription_id) for subscription_id in subscription_ids]


def _billed(subscription_id: int) -> list[dict[str, Any]]:
    subscription = Subscription.objects.select_related("customer").get(pk=subscription_id)
    segment = BillingSegment.objects.get(subscription=subscription)
    customer = subscription.customer
    own = {
        subscription.public_id: "the subscription",
        customer.public_id: "the customer",
        customer.email: "the address",
        customer.name: "the name",
    }
    rows: list[dict[str, Any]] = [{"next_no": segment.next_no, "next_on": segment.next_on}]
    for invoice in Invoice.objects.filter(subscription=subscription).order_by("period_no"):
        names = own | {invoice.public_id: "the invoice", invoice.number: "the number"}
        entries = LedgerEntry.objects.filter(
            transaction__idem_key=f"invoice:{subscription.public_id}:{invoice.segment_no}"
            f":{invoice.period_no}"
        ).values_list("account__code", "amount")
        events = OutboxEvent.objects.filter(
            type="invoice.issued", payload__invoice_id=invoice.public_id
        )
        rows.append(
            {name: getattr(invoice, name) for name in _SAME}
            | {
                "snapshot": _without(invoice.snapshot, names),
                "entries": sorted(
                    (code.replace(customer.public_id, ""), amount) for code, amount in entries
                ),
                "events": [_without(event.payload, names) for event in events],
            }
        )
    return rows


def _without(value: Any, names: dict[str, str]) -> Any:
    """JSON in which texts of this portfolio alone are replaced by placeholders."""
    if isinstance(value, dict):
        return {key: _without(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without(inner, names) for inner in value]
    return names.get(value, value) if isinstance(value, str) else value
