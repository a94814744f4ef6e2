"""Reversals: the bank took a receipt's money back, and what it paid is owed again.

No credit note is issued and no tax changes: the supply is unaffected, only the money is missing
(0053).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.db.models import Sum

from partners.models import Customer
from quantleap.core import audit, outbox
from quantleap.core.audit import Actor
from quantleap.core.clock import ist_date
from quantleap.core.errors import InvalidRequest, NotFound
from quantleap.core.money import PAISA, ZERO, json_number
from subscriptions.billing.errors import AlreadyReversed
from subscriptions.billing.invoicing.formatting import day
from subscriptions.billing.ledger import chart_of_accounts, posting
from subscriptions.billing.models import (
    Commission,
    Invoice,
    LedgerEntry,
    Method,
    Payment,
    PaymentReversal,
    Receipt,
    Refund,
    Reversal,
)
from subscriptions.billing.models.reversals import new_reversal_id
from subscriptions.billing.settlement import commissions
from subscriptions.billing.settlement.payments import (
    invoice_data,
    lock_invoice,
    save_standing,
    settle,
)

REVERSED: Final = "payment.reversed"
REASON_LENGTH: Final = 200
_LARGEST: Final = Decimal("99999.99")


@dataclass(frozen=True, slots=True)
class Reversed:
    """``created`` False: it was reversed before, on the same day and for the same reason."""

    reversal: Reversal
    created: bool


@dataclass(slots=True)
class _Work:
    """What one reversal changes; all of it is locked before anything is posted."""

    reversal: Reversal
    now: dt.datetime
    payments: list[Payment]
    #: Payments out of credit that the receipt may have provided, newest first.
    uses: list[Payment]
    #: Customer key -> customers that got credit from the receipt.
    credited: dict[int, Customer]
    invoices: dict[int, Invoice]
    accruals: dict[int, list[Commission]]
    taken: list[Payment] = field(default_factory=list)


def reverse(
    *,
    receipt_id: int,
    reversed_on: dt.date,
    reason: str,
    bank_charges: Decimal,
    actor: Actor,
    now: dt.datetime,
) -> Reversed:
    """Reverse a receipt whose money the bank took back on ``reversed_on`` (IST); once.

    None of its payments counts any more: their invoices are owed again, and their commission is
    clawed back (out of payable, or paid, where it matured). Its credit is taken back: uses for
    other invoices are undone, the newest first, and what was paid out leaves the customer's credit
    below 0, a debt recorded as such. ``bank_charges`` (rupees, 0 for none) are our expense. All
    postings are dated on the day of ``now``; the row holds the bank's day.

    Raises NotFound; InvalidRequest; AlreadyReversed (409) for another day, reason or charge.
    """
    reason = reason.strip()
    _check(reason, bank_charges)
    with transaction.atomic():
        receipt = Receipt.objects.filter(pk=receipt_id).select_related("customer").first()
        if receipt is None:
            raise NotFound
        _check_day(receipt, reversed_on, now)
        payments = list(receipt.payments.order_by("id"))
        customers = _lock_customers(receipt, payments)
        earlier = Reversal.objects.filter(receipt=receipt).first()
        if earlier is not None:
            return Reversed(_same(earlier, reversed_on, reason, bank_charges), created=False)
        work = _lock(receipt, payments, customers, now)
        work.reversal = _insert(receipt, reversed_on, reason, bank_charges, actor, now)
        for payment in payments:
            _undo(work, payment)
        _undo_uses(work)
        _settle_invoices(work, actor)
        _record(work, actor)
    return Reversed(work.reversal, created=True)


# -- checks ----------------------------------------------------------------------------------------
def _check(reason: str, charges: Decimal) -> None:
    wrong = {}
    if not 0 < len(reason) <= REASON_LENGTH or "\0" in reason:
        wrong["reason"] = f"From 1 to {REASON_LENGTH} characters."
    if not charges.is_finite() or not ZERO <= charges <= _LARGEST or charges % PAISA:
        wrong["bank_charges"] = "Rupees, 0 or more, with at most two decimals."
    if wrong:
        raise InvalidRequest(details=wrong)


def _check_day(receipt: Receipt, reversed_on: dt.date, now: dt.datetime) -> None:
    if reversed_on > ist_date(now):
        raise InvalidRequest(details={"reversed_on": "Not after today (IST)."})
    if reversed_on < receipt.received_on:
        received = day(receipt.received_on.isoformat())
        raise InvalidRequest(details={"reversed_on": f"It was received on {received}."})


def _same(earlier: Reversal, reversed_on: dt.date, reason: str, charges: Decimal) -> Reversal:
    if (earlier.reversed_on, earlier.reason, earlier.bank_charges) != (
        reversed_on,
        reason,
        charges,
    ):
        raise AlreadyReversed(
            f"{earlier.receipt} was reversed by {earlier.recorded_by} on "
            f"{day(earlier.recorded_on.isoformat())}: {earlier.reason}"
        )
    return earlier


# -- locks -----------------------------------------------------------------------------------------
def _lock_customers(receipt: Receipt, payments: Iterable[Payment]) -> list[Customer]:
    """Lock the customers concerned until commit, so that their credit is not used meanwhile.

    The receipt's own row is history and needs no lock: every receipt concerns at least one
    customer.
    """
    customer_ids = {payment.customer_id for payment in payments}
    if receipt.customer_id is not None:
        customer_ids.add(receipt.customer_id)
    customers = Customer.objects.select_for_update(of=("self",), no_key=True)
    return list(customers.filter(pk__in=customer_ids).order_by("pk"))


def _lock(
    receipt: Receipt, payments: list[Payment], customers: Iterable[Customer], now: dt.datetime
) -> _Work:
    """Lock in order: customers (locked already), invoices by key, accruals, then the ledger."""
    customer_ids = {payment.customer_id for payment in payments if payment.excess}
    if receipt.credit:
        customer_ids.add(receipt.customer_id or 0)
    credited = {customer.pk: customer for customer in customers if customer.pk in customer_ids}
    uses = list(
        Payment.objects.filter(
            customer__in=list(credited),
            method=Method.CUSTOMER_CREDIT,
            reversal__isnull=True,
        ).order_by("-id")
    )
    keys = sorted({payment.invoice_id for payment in (*payments, *uses)})
    invoices = {key: lock_invoice(key) for key in keys}
    accruals = {key: commissions.lock_accruals(invoice) for key, invoice in invoices.items()}
    return _Work(Reversal(), now, payments, uses, credited, invoices, accruals)


# -- what is written -------------------------------------------------------------------------------
def _insert(
    receipt: Receipt,
    reversed_on: dt.date,
    reason: str,
    charges: Decimal,
    actor: Actor,
    now: dt.datetime,
) -> Reversal:
    public_id = new_reversal_id()
    reversal = Reversal(
        partner_id=receipt.partner_id,
        environment=receipt.environment,
        public_id=public_id,
        receipt=receipt,
        reversed_on=reversed_on,
        reason=reason,
        bank_charges=charges,
        recorded_by=actor.id,
        recorded_on=ist_date(now),
        created_at=now,
    )
    if receipt.transaction_id is not None:
        reversal.transaction_id = _mirror(receipt.transaction_id, receipt.public_id, receipt, now)
    if charges:
        reversal.charges_transaction_id = posting.post(
            idem_key=f"bank_charge:{public_id}",
            kind="bank_charge",
            effective_on=reversal.recorded_on,
            postings=[
                posting.debit(chart_of_accounts.BANK_CHARGES, charges),
                posting.credit(chart_of_accounts.MANUAL_CLEARING, charges),
            ],
            partner_id=receipt.partner_id,
            environment=receipt.environment,
            now=now,
        ).transaction_id
    reversal.save(force_insert=True)
    return reversal


def _mirror(transaction_id: int, key: str, owner: Receipt | Payment, now: dt.datetime) -> int:
    """Reverse a transaction. Returns the key of the reversing one."""
    return posting.post(
        idem_key=f"reversal:{key}",
        kind="reversal",
        effective_on=ist_date(now),
        postings=_other_side(transaction_id),
        partner_id=owner.partner_id,
        environment=owner.environment,
        corrects=transaction_id,
        now=now,
    ).transaction_id


def _other_side(transaction_id: int) -> list[posting.Posting]:
    """The entries of a transaction with opposite signs."""
    entries = LedgerEntry.objects.filter(transaction_id=transaction_id).order_by("id")
    return [
        posting.Posting(code, -amount)
        for code, amount in entries.values_list("account__code", "amount")
    ]


def _undo(work: _Work, payment: Payment) -> None:
    """Take a payment out of its invoice (invoice not saved)."""
    invoice = work.invoices[payment.invoice_id]
    PaymentReversal.objects.create(
        partner_id=payment.partner_id,
        environment=payment.environment,
        reversal=work.reversal,
        payment=payment,
        transaction_id=_mirror(payment.transaction_id, payment.public_id, payment, work.now),
    )
    invoice.paid -= payment.applied
    invoice.reversed += payment.applied
    work.taken.append(payment)


def _undo_uses(work: _Work) -> None:
    """Undo uses of credit that never existed, the newest first, until none is missing.

    The ledger is locked by now, so the balance read here cannot change. What is still missing was
    paid out.
    """
    missing = {
        key: posting.balance(chart_of_accounts.customer_credit(customer.public_id))
        for key, customer in work.credited.items()
    }
    for use in work.uses:
        if missing[use.customer_id] > 0:
            _undo(work, use)
            missing[use.customer_id] -= use.amount


def _settle_invoices(work: _Work, actor: Actor) -> None:
    taken_back = {payment.pk for payment in work.taken}
    new_due_on = ist_date(work.now) + dt.timedelta(days=settings.QUANTLEAP_INVOICE_DUE_DAYS)
    invoice_ids = {payment.invoice_id for payment in work.taken}
    for key in sorted(invoice_ids):
        invoice = work.invoices[key]
        if invoice.outstanding > 0 and new_due_on > invoice.due_on:
            # the customer is not late, as the invoice counted as paid: a new due date starts
            invoice.due_again_on = new_due_on
        save_standing(invoice)
        commissions.claw_back(
            invoice, work.reversal, work.accruals[key], now=work.now, taken_back=taken_back
        )
        _take_kept_credit(work, invoice, actor)


def _take_kept_credit(work: _Work, invoice: Invoice, actor: Actor) -> None:
    """Take back the credit that a credit note gave for this money, as far as it is still there.

    The money never arrived: the credit is withdrawn and settles the invoice instead. It earns no
    commission, because we keep none of it.
    """
    overpaid = invoice.refunded - invoice.paid
    if overpaid <= 0:
        return
    notes = Refund.objects.filter(credit_note__invoice=invoice, method=Method.CUSTOMER_CREDIT)
    credited = notes.aggregate(sum=Sum("amount"))["sum"] or ZERO
    account = chart_of_accounts.customer_credit(invoice.customer.public_id)
    amount = min(overpaid, credited, -posting.balance(account), invoice.outstanding)
    if amount <= 0:
        return
    same: dict[str, Any] = {
        "invoice_id": invoice.pk,
        "amount": amount,
        "method": Method.CUSTOMER_CREDIT.value,
        "reference": f"Reversal {work.reversal}",
        "received_on": ist_date(work.now),
    }
    key = f"{work.reversal}:{invoice.number}"
    settle(
        invoice, idem_key=key, applied=amount, same=same, source=account, actor=actor, now=work.now
    )


# -- audit and events ------------------------------------------------------------------------------
def _record(work: _Work, actor: Actor) -> None:
    reversal, receipt = work.reversal, work.reversal.receipt
    audit.record(
        actor=actor,
        action="receipt.reversed",
        target_type="receipt",
        target_id=receipt.public_id,
        partner_id=receipt.partner_id,
        environment=receipt.environment,
        data={
            "reversal": reversal.public_id,
            "reversed_on": reversal.reversed_on.isoformat(),
            "reason": reversal.reason,
            "bank_charges": str(reversal.bank_charges),
            "amount": str(receipt.amount),
            "invoices": _owed_again(work.taken, work.invoices),
        },
    )
    for payment in work.taken:
        invoice = work.invoices[payment.invoice_id]
        outbox.emit(
            REVERSED,
            _event(reversal, payment, invoice),
            about=invoice.public_id,
            partner_id=invoice.partner_id,
            environment=invoice.environment,
            dedupe_key=f"{REVERSED}:{payment.public_id}",
            now=work.now,
        )


def _owed_again(taken: Sequence[Payment], invoices: dict[int, Invoice]) -> dict[str, str]:
    owed: dict[str, Decimal] = {}
    for payment in taken:
        number = invoices[payment.invoice_id].number
        owed[number] = owed.get(number, ZERO) + payment.applied
    return {number: str(amount) for number, amount in owed.items()}


def _event(reversal: Reversal, payment: Payment, invoice: Invoice) -> dict[str, Any]:
    """The payment, why it no longer counts, and what its invoice owes now; rupees."""
    return {
        **invoice_data(invoice),
        "payment_id": payment.public_id,
        "reversal_id": reversal.public_id,
        "reversed_on": reversal.reversed_on.isoformat(),
        "reason": reversal.reason,
        "applied": json_number(payment.applied),
        "outstanding": json_number(invoice.outstanding),
        "due_again_on": invoice.due_again_on.isoformat() if invoice.due_again_on else None,
    }
