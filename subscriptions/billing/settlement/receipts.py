"""Receipts: found by the bank's reference, and never written twice.

payments.py (one invoice) and allocations.py (several) write what a receipt pays.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from django.db import IntegrityError, transaction

from partners.models import Customer
from quantleap.core.audit import Actor
from quantleap.core.clock import ist_date
from quantleap.core.inserts import constraint_of
from quantleap.core.money import grouped
from subscriptions.billing.errors import ReceiptExists
from subscriptions.billing.invoicing.formatting import day
from subscriptions.billing.ledger import chart_of_accounts, posting
from subscriptions.billing.models import Receipt
from subscriptions.billing.models.receipts import RECEIPT_UNIQUE, new_receipt_id
from subscriptions.billing.settlement.bank_references import reference_key


def live(method: str, reference: str) -> Receipt | None:
    """The receipt with this reference on a rail that was not reversed, or None.

    If there are several, from the time before a reference was a key, the oldest.
    """
    named = Receipt.objects.filter(method=method, reference_key=reference_key(reference))
    return named.filter(reversal__isnull=True).select_related("customer").order_by("id").first()


def presentation(method: str, reference: str) -> int:
    """How often money came under this reference, including now: 1 + the number of reversals."""
    receipt = live(method, reference)
    if receipt is not None:
        return receipt.presentation
    named = Receipt.objects.filter(method=method, reference_key=reference_key(reference))
    return named.count() + 1


def exists_already(receipt: Receipt) -> ReceiptExists:
    """The error that names the receipt, for the reference's field."""
    paid = ", ".join(
        payment.invoice.number
        for payment in receipt.payments.order_by("id").select_related("invoice")
    )
    words = (
        f"{receipt.get_method_display()} {receipt.reference} is receipt {receipt}: "
        f"{grouped(receipt.amount, '₹')} "
        f"received on {day(receipt.received_on.isoformat())} from {receipt.payer}, recorded by "
        f"{receipt.recorded_by} on {day(receipt.recorded_on.isoformat())}"
        + (f" for {paid}." if paid else ".")
    )
    return ReceiptExists(words, details={"reference": words})


def insert(
    *,
    payer: Customer | None,
    payer_name: str = "",
    owner: tuple[int | None, str],
    amount: Decimal,
    credit: Decimal,
    method: str,
    reference: str,
    received_on: dt.date,
    note: str = "",
    actor: Actor,
    now: dt.datetime,
) -> Receipt:
    """Write a receipt, and a posting if part of it is the payer's credit.

    The caller holds the locks of all invoices that it pays, and writes their payments in the same
    transaction. Raises ReceiptExists if another request was faster.
    """
    receipt = Receipt(
        partner_id=owner[0],
        environment=owner[1],
        public_id=new_receipt_id(),
        customer=payer,
        payer_name=payer_name,
        method=method,
        reference=reference.strip(),
        reference_key=reference_key(reference),
        presentation=presentation(method, reference),
        received_on=received_on,
        amount=amount,
        credit=credit,
        note=note,
        recorded_by=actor.id,
        recorded_on=ist_date(now),
        created_at=now,
    )
    if receipt.credit and payer is not None:
        receipt.transaction_id = _post_credit(receipt, payer, now)
    _insert_once(receipt)
    return receipt


def _post_credit(receipt: Receipt, payer: Customer, now: dt.datetime) -> int:
    return posting.post(
        idem_key=f"receipt:{receipt.public_id}",
        kind="receipt",
        effective_on=receipt.recorded_on,
        postings=[
            posting.debit(chart_of_accounts.MANUAL_CLEARING, receipt.credit),
            posting.credit(chart_of_accounts.customer_credit(payer.public_id), receipt.credit),
        ],
        partner_id=receipt.partner_id,
        environment=receipt.environment,
        now=now,
    ).transaction_id


def _insert_once(receipt: Receipt) -> None:
    try:
        with transaction.atomic():
            receipt.save(force_insert=True)
    except IntegrityError as error:
        if constraint_of(error) != RECEIPT_UNIQUE:
            raise
        other = live(receipt.method, receipt.reference)
        if other is None:  # reversed between the two statements: a retry can succeed
            raise ReceiptExists(
                f"{receipt.reference} is being recorded by somebody else"
            ) from error
        raise exists_already(other) from error
