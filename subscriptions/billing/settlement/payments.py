"""Payments that staff recorded for one invoice; what exceeds it becomes the customer's credit.

Each has a receipt (receipts.py) with a unique bank reference. allocations.py records a receipt for
several invoices.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeVar

from django.db import IntegrityError, transaction

from quantleap.core import audit, outbox
from quantleap.core.audit import Actor
from quantleap.core.clock import ist_date
from quantleap.core.errors import InvalidRequest, NotFound
from quantleap.core.inserts import constraint_of
from quantleap.core.money import PAISA, ZERO, json_number
from quantleap.core.tenancy import TenantOwned
from subscriptions.billing.errors import InvoiceChanged, PaymentKeyReused
from subscriptions.billing.ledger import chart_of_accounts, posting
from subscriptions.billing.models import (
    MONEY_METHODS,
    Invoice,
    Payment,
    PaymentReversal,
    Receipt,
)
from subscriptions.billing.models.payments import new_payment_id
from subscriptions.billing.settlement import bank_references, commissions, receipts

PAID: Final = "invoice.paid"
KEY_LENGTH: Final = 120
REFERENCE_LENGTH: Final = bank_references.LENGTH
#: Money dated longer before its invoice than this has a mistyped year.
IN_ADVANCE: Final = dt.timedelta(days=366)
_LARGEST: Final = Decimal("9999999999.99")

#: Fields of an invoice that change after it was issued, apart from its review.
_STANDING: Final = (
    "status", "paid", "reversed", "due_again_on", "refunded", "credited", "credited_taxable",
    "recognised",
)  # fmt: skip

M = TypeVar("M", bound=TenantOwned)


@dataclass(frozen=True, slots=True)
class Recorded:
    """``created`` False: the same was recorded before under this key."""

    payment: Payment
    created: bool


def record_payment(
    *,
    invoice_id: int,
    idem_key: str,
    amount: Decimal,
    method: str,
    reference: str,
    received_on: dt.date,
    actor: Actor,
    now: dt.datetime,
    seen: Decimal | None = None,
) -> Recorded:
    """Record ``amount`` rupees received for an invoice on ``received_on`` (IST): a new receipt.

    What exceeds the outstanding sum is the customer's credit. Commission accrues here. The posting
    is dated on the day of ``now``: months that are over do not change. ``seen`` is the outstanding
    sum on which the caller based the decision. Repeating the same call changes nothing.

    Raises NotFound; InvalidRequest for an invalid amount, date, method, reference or key;
    ReceiptExists (409) if the reference identifies other money; PaymentKeyReused (409) if the key
    identifies another payment of this tenant; InvoiceChanged (409).
    """
    check_money(amount, method, reference, idem_key)
    check_received(method, reference, received_on, now)
    same = {
        "invoice_id": invoice_id,
        "amount": amount,
        "method": method,
        "reference": reference.strip(),
        "received_on": received_on,
    }
    with transaction.atomic():
        invoice = lock_invoice(invoice_id)
        check_after_invoice(invoice, received_on)
        earlier = receipts.live(method, reference)
        if earlier is not None:
            return Recorded(_paid_by(earlier, invoice, amount, received_on), created=False)
        recorded = recorded_before(Payment, invoice, idem_key, same)
        if recorded is not None:
            return Recorded(recorded, created=False)
        check_seen(invoice, seen)
        receipt = receipts.insert(
            payer=invoice.customer,
            owner=(invoice.partner_id, invoice.environment),
            amount=amount,
            credit=ZERO,
            method=method,
            reference=reference,
            received_on=received_on,
            actor=actor,
            now=now,
        )
        applied = min(amount, max(ZERO, invoice.outstanding))
        fields = same | {"receipt_id": receipt.pk}
        payment = settle(
            invoice,
            idem_key=idem_key,
            applied=applied,
            same=fields,
            source=chart_of_accounts.MANUAL_CLEARING,
            actor=actor,
            now=now,
        )
    return Recorded(payment, created=True)


def _paid_by(receipt: Receipt, invoice: Invoice, amount: Decimal, received_on: dt.date) -> Payment:
    """The payment of this invoice by this receipt. Raises ReceiptExists if it is other money."""
    paid = list(receipt.payments.select_related("invoice"))
    recorded = (receipt.amount, receipt.received_on)
    if len(paid) == 1 and paid[0].invoice_id == invoice.pk and recorded == (amount, received_on):
        return paid[0]
    raise receipts.exists_already(receipt)


# -- shared with credits and refunds -------------------------------------------------------------
def check_money(
    amount: Decimal,
    method: str,
    reference: str,
    idem_key: str,
    *,
    allowed: Collection[str] = MONEY_METHODS,
) -> None:
    """Raise InvalidRequest for an impossible amount, method, reference or key."""
    wrong = {}
    sane = amount.is_finite() and ZERO < amount <= _LARGEST
    if not sane or amount != amount.quantize(PAISA):
        wrong["amount"] = "Rupees greater than 0, with at most two decimals."
    if method not in allowed:
        wrong["method"] = f"One of {', '.join(allowed)}."
    for name, text, most in (
        ("reference", reference, REFERENCE_LENGTH),
        ("idem_key", idem_key, KEY_LENGTH),
    ):
        if not 0 < len(text.strip()) <= most or "\0" in text:
            wrong[name] = f"From 1 to {most} characters."
    if wrong:
        raise InvalidRequest(details=wrong)


def check_received(method: str, reference: str, received_on: dt.date, now: dt.datetime) -> None:
    """Raise InvalidRequest for an invalid reference, or for a day in the future (IST)."""
    wrong = {}
    if received_on > ist_date(now):
        wrong["received_on"] = "Not after today (IST)."
    if words := bank_references.wrong_with(method, reference):
        wrong["reference"] = words
    if wrong:
        raise InvalidRequest(details=wrong)


def check_after_invoice(invoice: Invoice, received_on: dt.date) -> None:
    """Raise InvalidRequest for money dated so long before its invoice that the year is mistyped."""
    if received_on < invoice.issued_on - IN_ADVANCE:
        raise InvalidRequest(details={"received_on": "More than a year before the invoice."})


def check_seen(invoice: Invoice, seen: Decimal | None) -> None:
    """Raise InvoiceChanged unless the locked invoice still owes ``seen`` (None: no check)."""
    owed = invoice.outstanding
    if seen is not None and seen != owed:
        raise InvoiceChanged(
            f"{invoice.number} owes {owed} rupees now, not {seen} as on the page that you saw: "
            "open it again"
        )


def lock_invoice(invoice_id: int) -> Invoice:
    """The invoice, locked until commit. Raises NotFound."""
    invoice = (
        # no_key: payments refer to it, and their key checks need not wait for this lock
        Invoice.objects.select_for_update(of=("self",), no_key=True)
        .select_related("customer", "subscription__template")
        .filter(pk=invoice_id)
        .first()
    )
    if invoice is None:
        raise NotFound
    return invoice


def recorded_before(
    model: type[M], owner: TenantOwned, idem_key: str, same: dict[str, Any]
) -> M | None:
    """The row that this key made for the owner's tenant, or None.

    Raises PaymentKeyReused if its values are not ``same``.
    """
    row: M | None = (
        model._default_manager.filter(  # TenantQuerySet of every one of these models
            partner_id=owner.partner_id, environment=owner.environment, idem_key=idem_key
        )
    ).first()
    if row is not None and any(getattr(row, name) != value for name, value in same.items()):
        raise PaymentKeyReused(f"{idem_key} already names {row}")
    return row


def save_standing(invoice: Invoice) -> None:
    """Save status and sums of a locked invoice, in one UPDATE."""
    status = Invoice.Status
    if invoice.outstanding > 0:
        # also if it was credited in full, but the money that was given back had never arrived
        invoice.status = status.PARTLY_PAID if invoice.paid > 0 else status.DUE
    else:
        whole = invoice.credited == invoice.total
        invoice.status = status.CREDITED if whole else status.PAID
    invoice.save(update_fields=_STANDING)


def insert_once(row: TenantOwned, constraint: str, idem_key: str) -> None:
    """Insert; PaymentKeyReused if the tenant used this key for another invoice meanwhile."""
    try:
        row.save(force_insert=True)
    except IntegrityError as error:
        if constraint_of(error) != constraint:
            raise
        raise PaymentKeyReused(f"{idem_key} already names another") from error


def invoice_data(invoice: Invoice) -> dict[str, Any]:
    """Members of an invoice's events. Customer and template must be loaded."""
    return {
        **invoice.names,
        "total": json_number(invoice.total),
        "currency": invoice.currency,
    }


# -- what is written -----------------------------------------------------------------------------
def settle(
    invoice: Invoice,
    *,
    idem_key: str,
    applied: Decimal,
    same: dict[str, Any],
    source: str,
    actor: Actor,
    now: dt.datetime,
) -> Payment:
    """Write a payment of a locked invoice and its effects: commission, status, event.

    ``source`` is the account that the money comes from; ``same`` the fields that identify the
    payment.
    """
    payment = _write(
        invoice, idem_key=idem_key, applied=applied, same=same, source=source, actor=actor, now=now
    )
    status_before = invoice.status
    invoice.paid += applied
    save_standing(invoice)
    commissions.accrue(invoice, payment, now=now)
    _record(invoice, payment, status_before != invoice.status, actor, now)
    return payment


def _write(
    invoice: Invoice,
    *,
    idem_key: str,
    applied: Decimal,
    same: dict[str, Any],
    source: str,
    actor: Actor,
    now: dt.datetime,
) -> Payment:
    public_id = new_payment_id()
    customer = invoice.customer.public_id
    amount: Decimal = same["amount"]
    posted = posting.post(
        idem_key=f"payment:{public_id}",
        kind="payment",
        effective_on=ist_date(now),
        postings=[
            posting.debit(source, amount),
            posting.credit(chart_of_accounts.receivable(customer), applied),
            posting.credit(chart_of_accounts.customer_credit(customer), amount - applied),
        ],
        partner_id=invoice.partner_id,
        environment=invoice.environment,
        now=now,
    )
    payment = Payment(
        partner_id=invoice.partner_id,
        environment=invoice.environment,
        public_id=public_id,
        customer_id=invoice.customer_id,
        idem_key=idem_key,
        applied=applied,
        excess=amount - applied,
        currency=invoice.currency,
        recorded_by=actor.id,
        recorded_on=ist_date(now),
        created_at=now,
        transaction_id=posted.transaction_id,
        **same,
    )
    insert_once(payment, "payment_idem_uniq", idem_key)
    return payment


def _record(
    invoice: Invoice, payment: Payment, status_changed: bool, actor: Actor, now: dt.datetime
) -> None:
    audit.record(
        actor=actor,
        action="payment.recorded",
        target_type="invoice",
        target_id=invoice.public_id,
        partner_id=invoice.partner_id,
        environment=invoice.environment,
        data={
            "payment": payment.public_id,
            "receipt": payment.receipt.public_id if payment.receipt else None,
            "amount": str(payment.amount),
            "applied": str(payment.applied),
            "excess": str(payment.excess),
            "method": payment.method,
            "reference": payment.reference,
            "received_on": payment.received_on.isoformat(),
            "status": invoice.status,
        },
    )
    if status_changed and invoice.status == Invoice.Status.PAID:
        tell_paid(invoice, now)


def tell_paid(invoice: Invoice, now: dt.datetime) -> None:
    """Emit ``invoice.paid``: once in an invoice's life, and once more after each reversal."""
    key = f"{PAID}:{invoice.public_id}"
    if invoice.reversed:
        key += f":{PaymentReversal.objects.filter(payment__invoice=invoice).count()}"
    outbox.emit(
        PAID,
        invoice_data(invoice) | {"paid": json_number(invoice.paid)},
        about=invoice.public_id,
        partner_id=invoice.partner_id,
        environment=invoice.environment,
        dedupe_key=key,
        now=now,
    )
