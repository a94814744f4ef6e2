"""What billing needs before it can run, and portfolios without the way through the API."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from marketplace.models import Template
from marketplace.services import adjust_subscriber_count
from partners.models import Customer, Partner
from quantleap.core.audit import SYSTEM
from quantleap.core.clock import at_ist
from quantleap.core.tenancy import Environment
from subscriptions import services
from subscriptions.billing.invoicing import runs, segments
from subscriptions.billing.management.commands.seed_billing import DEMO_SUPPLIER, GST_FROM, GST_PCT
from subscriptions.billing.models import Invoice, Receipt, Supplier, TaxRate
from subscriptions.billing.settlement import allocations, payments, refunds, reversals
from subscriptions.models import Subscription

#: The state of the tests' supplier, and another one.
HOME: Final = "33"
AWAY: Final = "27"
START: Final = dt.date(2026, 1, 31)


def load_billing() -> Supplier:
    """18 % GST and a supplier in Tamil Nadu, for all days."""
    TaxRate.objects.get_or_create(effective_from=GST_FROM, defaults={"rate_pct": GST_PCT})
    supplier, _ = Supplier.objects.get_or_create(effective_from=GST_FROM, defaults=DEMO_SUPPLIER)
    return supplier


def noon(day: dt.date) -> dt.datetime:
    """An instant (UTC) of an Indian day."""
    return at_ist(day, dt.time(12))


def bill(as_of: dt.date, **options: Any) -> runs.RunResult:
    """The run as it happens on the day itself."""
    return runs.run(as_of, **{"now": noon(as_of), **options})


def follow(
    template: Template,
    partner: Partner | None,
    days: Sequence[dt.date],
    *,
    state: str = HOME,
    fee: Decimal | int = 999,
    environment: str = Environment.LIVE,
    bps: int = 3000,
) -> list[Subscription]:
    """A new customer's subscription for each of ``days`` (IST), ready to be billed."""
    owner: dict[str, Any] = {
        "partner_id": partner.pk if partner else None,
        "environment": environment,
    }
    known = Customer.objects.count()
    customers = Customer.objects.bulk_create(
        Customer(
            **owner,
            email=f"payer{known + number}@example.com",
            name=f"Payer {known + number}",
            state=state,
        )
        for number in range(len(days))
    )
    subscriptions = Subscription.objects.bulk_create(
        Subscription(
            **owner,
            customer=customer,
            template=template,
            monthly_fee=Decimal(fee),
            partner_bps=bps if partner else 0,
            anchor=day,
            status_changed_at=noon(day),
            created_at=noon(day),
        )
        for customer, day in zip(customers, days, strict=True)
    )
    services.copy_shares(subscriptions)
    segments.open_first(subscriptions)
    adjust_subscriber_count(template_id=template.pk, delta=len(subscriptions))
    return subscriptions


def follow_again(
    earlier: Subscription, day: dt.date, *, fee: Decimal | None = None
) -> Subscription:
    """The customer of a cancelled subscription follows its template again on ``day`` (IST).

    At ``fee``, or as before. What subscribing refuses (debts, holds) is not asked here.
    """
    again = Subscription.objects.create(
        partner_id=earlier.partner_id,
        environment=earlier.environment,
        customer_id=earlier.customer_id,
        template_id=earlier.template_id,
        monthly_fee=earlier.monthly_fee if fee is None else fee,
        partner_bps=earlier.partner_bps,
        anchor=day,
        status_changed_at=noon(day),
        created_at=noon(day),
    )
    services.copy_shares([again])
    segments.open_first([again])
    adjust_subscriber_count(template_id=again.template_id, delta=1)
    return again


def days_of(subscription: Subscription) -> list[tuple[dt.date, dt.date]]:
    """Start and end (first day after it) of every invoiced period, in order."""
    return list(
        subscription.invoices.order_by("segment_no", "period_no").values_list(
            "period_start", "period_end"
        )
    )


def pay(
    invoice: Invoice, amount: Decimal, *, key: str = "utr", day: dt.date | None = None
) -> payments.Recorded:
    """A payment that arrived and was recorded on ``day`` (IST), else on the invoice's date."""
    on = day or invoice.issued_on
    return payments.record_payment(
        invoice_id=invoice.pk,
        idem_key=f"{invoice.number}:{key}",
        amount=amount,
        method="BANK_TRANSFER",
        reference=f"UTR {invoice.number} {key}",
        received_on=on,
        actor=SYSTEM,
        now=noon(on),
    )


def credit(
    invoice: Invoice, amount: Decimal, *, key: str = "credit", day: dt.date | None = None
) -> refunds.Credited:
    """A credit note on ``day`` (IST), else on the invoice's date, and the money back."""
    return refunds.refund(
        invoice_id=invoice.pk,
        idem_key=f"{invoice.number}:{key}",
        amount=amount,
        reason="Cancelled within the week",
        method="BANK_TRANSFER",
        reference=f"UTR {key}",
        actor=SYSTEM,
        now=noon(day or invoice.issued_on),
    )


def receive(
    amounts: Mapping[Invoice, Decimal],
    *,
    amount: Decimal | None = None,
    key: str = "utr",
    day: dt.date | None = None,
    **more: Any,
) -> Receipt:
    """One receipt for these invoices, of the first one's customer; theirs as a whole if unsaid."""
    first = next(iter(amounts))
    on = day or first.issued_on
    return allocations.record(
        **{
            "amount": sum(amounts.values(), Decimal(0)) if amount is None else amount,
            "method": "BANK_TRANSFER",
            "reference": f"RCT {first.number} {key}",
            "received_on": on,
            "parts": [allocations.Part(invoice.pk, part) for invoice, part in amounts.items()],
            "customer_id": first.customer_id,
            "actor": SYSTEM,
            "now": noon(on),
            **more,
        }
    ).receipt


def bounce(
    receipt: Receipt | None,
    day: dt.date,
    *,
    charges: Decimal | int = 0,
    reason: str = "Funds insufficient",
    on: dt.date | None = None,
) -> reversals.Reversed:
    """The receipt's money went back at the bank ``on`` a day, and that was recorded on ``day``."""
    assert receipt is not None
    return reversals.reverse(
        receipt_id=receipt.pk,
        reversed_on=on or day,
        reason=reason,
        bank_charges=Decimal(charges),
        actor=SYSTEM,
        now=noon(day),
    )
