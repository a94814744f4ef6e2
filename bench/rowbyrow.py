"""The baseline, as commonly written: one subscription at a time, with the ORM.

It does the same work as a run, in one transaction per subscription, with the product's services for
numbers, postings and events. Data that all share (rate, supplier, partners) are read once.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import transaction

from partners.gst_states import name_of
from partners.models import Partner
from quantleap.core import outbox
from quantleap.core.clock import ist_date
from quantleap.core.money import json_number
from subscriptions.billing.invoicing import number_series
from subscriptions.billing.invoicing.amount_in_words import amount_in_words
from subscriptions.billing.invoicing.number_format import INVOICE, document_number
from subscriptions.billing.invoicing.snapshots import VERSION, SupplierSnapshot
from subscriptions.billing.ledger import chart_of_accounts, posting
from subscriptions.billing.models import BillingSegment, Invoice, Supplier, TaxRate
from subscriptions.billing.settlement.payments import invoice_data
from subscriptions.billing.tests import tax_oracle
from subscriptions.periods import Period, period, period_on


@dataclass(frozen=True, slots=True)
class Facts:
    """The data that all subscriptions share."""

    as_of: dt.date
    now: dt.datetime
    supplier: Supplier
    rates: list[tuple[dt.date, Decimal]]
    partners: Mapping[int, Partner]


def bill(as_of: dt.date, *, now: dt.datetime) -> int:
    """Invoice every period that began by ``as_of`` (IST); returns how many."""
    supplier = Supplier.objects.filter(effective_from__lte=ist_date(now)).first()
    assert supplier is not None
    facts = Facts(
        as_of,
        now,
        supplier,
        list(TaxRate.objects.values_list("effective_from", "rate_pct")),
        Partner.objects.in_bulk(),
    )
    due = BillingSegment.objects.filter(next_on__lte=as_of).order_by("next_on", "id")
    return sum(_bill_one(pk, facts) for pk in due.values_list("pk", flat=True))


def _bill_one(segment_id: int, facts: Facts) -> int:
    with transaction.atomic():
        segment = (
            BillingSegment.objects.select_for_update(of=("self",), no_key=True)
            .select_related("subscription__customer", "subscription__template")
            .get(pk=segment_id)
        )
        first = segment.next_no
        until = facts.as_of if segment.stop_on is None else min(facts.as_of, segment.stop_on)
        last = period_on(segment.anchor, until).number
        for number in range(first, last + 1):
            _issue(segment, period(segment.anchor, number), facts)
        segment.next_no = last + 1
        following = period(segment.anchor, last + 1).start
        ended = segment.stop_on is not None and following > segment.stop_on
        segment.next_on = None if ended else following
        segment.save(update_fields=["next_no", "next_on"])
    return last + 1 - first


def _issue(segment: BillingSegment, of: Period, facts: Facts) -> None:
    """One invoice with its posting and its event."""
    subscription = segment.subscription
    partner = facts.partners.get(segment.partner_id or 0)
    place = subscription.customer.state
    taxed = tax_oracle.tax(
        subscription.monthly_fee,
        tax_oracle.rate_on(facts.rates, of.start),
        supplier_state=facts.supplier.state_code,
        place_of_supply=place,
    )
    today = ist_date(facts.now)
    fy, seq, issued_on = number_series.take(INVOICE, 1, today=today)
    invoice = Invoice(
        partner_id=segment.partner_id,
        environment=segment.environment,
        customer=subscription.customer,
        subscription=subscription,
        segment=segment,
        segment_no=segment.number,
        period_no=of.number,
        period_start=of.start,
        period_end=of.end,
        fy=fy,
        seq=seq,
        number=document_number(INVOICE, fy, seq),
        issued_on=issued_on,
        due_on=issued_on + dt.timedelta(days=settings.QUANTLEAP_INVOICE_DUE_DAYS),
        taxable=taxed.taxable,
        rate_pct=taxed.rate_pct,
        cgst=taxed.cgst,
        sgst=taxed.sgst,
        igst=taxed.igst,
        total=taxed.total,
        currency=subscription.currency,
        sac=subscription.template.sac or facts.supplier.sac,
        place_of_supply=place,
        supplier=facts.supplier,
        created_at=facts.now,
        needs_review=of.end <= today,
    )
    invoice.snapshot = _snapshot(invoice, partner)
    invoice.save(force_insert=True)
    _post(invoice, facts.now)
    _emit(invoice, facts.now)


def _post(invoice: Invoice, now: dt.datetime) -> None:
    key = f"{invoice.subscription.public_id}:{invoice.segment_no}:{invoice.period_no}"
    posting.post(
        idem_key=f"invoice:{key}",
        kind="invoice",
        effective_on=invoice.issued_on,
        postings=[
            posting.debit(f"receivable:{invoice.customer.public_id}", invoice.total),
            posting.credit(chart_of_accounts.DEFERRED_REVENUE, invoice.taxable),
            posting.credit(chart_of_accounts.CGST, invoice.cgst),
            posting.credit(chart_of_accounts.SGST, invoice.sgst),
            posting.credit(chart_of_accounts.IGST, invoice.igst),
        ],
        now=now,
        partner_id=invoice.partner_id,
        environment=invoice.environment,
    )


def _emit(invoice: Invoice, now: dt.datetime) -> None:
    amounts = ("taxable", "cgst", "sgst", "igst")
    dates = ("period_start", "period_end", "issued_on", "due_on")
    outbox.emit(
        "invoice.issued",
        invoice_data(invoice)
        | {name: json_number(getattr(invoice, name)) for name in amounts}
        | {name: getattr(invoice, name).isoformat() for name in dates}
        | {"needs_review": invoice.needs_review},
        about=invoice.public_id,
        partner_id=invoice.partner_id,
        environment=invoice.environment,
        now=now,
    )


def _snapshot(invoice: Invoice, partner: Partner | None) -> dict[str, Any]:
    """The content of its document (snapshots.InvoiceSnapshot)."""
    customer, template = invoice.customer, invoice.subscription.template
    place = {"code": invoice.place_of_supply, "name": name_of(invoice.place_of_supply)}
    return {
        "version": VERSION,
        "number": invoice.number,
        "issued_on": invoice.issued_on.isoformat(),
        "due_on": invoice.due_on.isoformat(),
        "supplier": {
            name: getattr(invoice.supplier, name) for name in SupplierSnapshot.__annotations__
        },
        "customer": {
            "id": customer.public_id,
            "name": customer.name,
            "email": customer.email,
            "state_code": place["code"],
            "state_name": place["name"],
            **({"address": customer.billing_address} if customer.billing_address else {}),
        },
        "place_of_supply": place,
        "reverse_charge": False,
        "subscription": invoice.subscription.public_id,
        "template": template.name,
        "lines": [
            {
                "description": f"{template.name}, monthly subscription",
                "sac": invoice.sac,
                "period_start": invoice.period_start.isoformat(),
                "period_last": (invoice.period_end - dt.timedelta(days=1)).isoformat(),
                "quantity": 1,
                "taxable": str(invoice.taxable),
            }
        ],
        **{name: str(getattr(invoice, name)) for name in ("taxable", "rate_pct")},
        **{name: str(getattr(invoice, name)) for name in ("cgst", "sgst", "igst", "total")},
        "currency": invoice.currency,
        "in_words": amount_in_words(invoice.total),
        "channel": partner.name if partner else None,
    }
