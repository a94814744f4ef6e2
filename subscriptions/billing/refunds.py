"""Taking back a part of an invoice: credit note, money back, claw-back; and excess given back."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from django.db import transaction
from django.db.models import Sum

from quantleap.core import audit
from quantleap.core.audit import Actor
from quantleap.core.clock import ist_date
from quantleap.core.errors import InvalidRequest, NotFound
from quantleap.core.money import ZERO
from subscriptions.billing import chart, commissions, ledger, numbers, shares
from subscriptions.billing.errors import NothingToCredit
from subscriptions.billing.models import CreditNote, Invoice, Payment, Refund
from subscriptions.billing.models.payments import new_refund_id
from subscriptions.billing.numbering import CREDIT_NOTE, document_number
from subscriptions.billing.payments import (
    check_money,
    insert_once,
    lock_invoice,
    recorded_before,
    save_standing,
    tell_paid,
)
from subscriptions.billing.words import amount_in_words

REASON_LENGTH: Final = 200


@dataclass(frozen=True, slots=True)
class Credited:
    """A credit note and the money that went back with it (None: nothing was to go back)."""

    note: CreditNote
    refund: Refund | None
    created: bool


def refund(
    *,
    invoice_id: int,
    idem_key: str,
    amount: Decimal,
    reason: str,
    method: str,
    reference: str,
    actor: Actor,
    now: dt.datetime,
) -> Credited:
    """Credit ``amount`` rupees (tax included) of an invoice and give back what is paid too much.

    Of an unpaid invoice nothing goes back: less is owed. Commission is clawed back in proportion.
    Once per key. A credit, and what it leaves, is nothing or at least 1 rupee (shares.SMALLEST).

    NotFound; InvalidRequest; NothingToCredit (409); PaymentKeyReused (409).
    """
    check_money(amount, method, reference, idem_key)
    reason = reason.strip()
    if not 0 < len(reason) <= REASON_LENGTH:
        raise InvalidRequest(details={"reason": f"From 1 to {REASON_LENGTH} characters."})
    with transaction.atomic():
        invoice = lock_invoice(invoice_id)
        same = {"invoice_id": invoice.pk, "total": amount, "reason": reason}
        held = recorded_before(CreditNote, invoice, idem_key, same)
        if held is not None:
            return Credited(held, Refund.objects.filter(credit_note=held).first(), created=False)
        parts = _parts(invoice, amount)
        accruals = commissions.lock_accruals(invoice)
        note = _credit(invoice, idem_key, parts, reason, actor, now)
        money = _give_back(invoice, note, method, reference, actor, now)
        save_standing(invoice)
        commissions.claw_back(invoice, note, accruals, now=now)
        _tell(invoice, note, money, actor, now)
    return Credited(note, money, created=True)


def _parts(invoice: Invoice, amount: Decimal) -> shares.Parts:
    """What of ``amount`` is value and what is tax."""
    if not shares.may_credit(invoice.total, invoice.credited, amount):
        left = invoice.total - invoice.credited
        raise NothingToCredit(
            f"Of {invoice.number} {left} rupees are left: all of it, or an amount of at least "
            f"{shares.SMALLEST} that leaves as much"
        )
    before = invoice.credit_notes.aggregate(half=Sum("cgst"), whole=Sum("igst"))
    half, whole = before["half"] or ZERO, before["whole"] or ZERO
    return shares.credit_parts(
        shares.Parts(invoice.taxable, invoice.cgst, invoice.sgst, invoice.igst),
        shares.Parts(invoice.credited_taxable, half, half, whole),
        amount,
    )


def _credit(
    invoice: Invoice,
    idem_key: str,
    parts: shares.Parts,
    reason: str,
    actor: Actor,
    now: dt.datetime,
) -> CreditNote:
    """The document, its posting, and what it changes of the invoice (not saved)."""
    from_revenue = shares.recognised_part(
        invoice.recognised, invoice.taxable - invoice.credited_taxable, parts.taxable
    )
    fy, seq, issued_on = numbers.take(CREDIT_NOTE, 1, today=ist_date(now))
    number = document_number(CREDIT_NOTE, fy, seq)
    posted = ledger.post(
        idem_key=f"credit_note:{number}",
        kind="credit_note",
        effective_on=issued_on,
        postings=[
            ledger.debit(chart.REVENUE, from_revenue),
            ledger.debit(chart.DEFERRED_REVENUE, parts.taxable - from_revenue),
            ledger.debit(chart.CGST, parts.cgst),
            ledger.debit(chart.SGST, parts.sgst),
            ledger.debit(chart.IGST, parts.igst),
            ledger.credit(chart.receivable(invoice.customer.public_id), parts.total),
        ],
        partner_id=invoice.partner_id,
        environment=invoice.environment,
        now=now,
    )
    note = CreditNote(
        partner_id=invoice.partner_id,
        environment=invoice.environment,
        invoice=invoice,
        idem_key=idem_key,
        fy=fy,
        seq=seq,
        number=number,
        issued_on=issued_on,
        taxable=parts.taxable,
        cgst=parts.cgst,
        sgst=parts.sgst,
        igst=parts.igst,
        total=parts.total,
        from_revenue=from_revenue,
        currency=invoice.currency,
        reason=reason,
        snapshot=_snapshot(invoice, number, issued_on, parts, reason),
        recorded_by=actor.id,
        created_at=now,
        transaction_id=posted.transaction_id,
    )
    insert_once(note, "credit_note_idem_uniq", idem_key)
    invoice.credited += parts.total
    invoice.credited_taxable += parts.taxable
    invoice.recognised -= from_revenue
    return note


def _snapshot(
    invoice: Invoice, number: str, issued_on: dt.date, parts: shares.Parts, reason: str
) -> dict[str, Any]:
    """What the note's document shows: the invoice's parties as they were, its own sums."""
    kept = ("supplier", "customer", "place_of_supply", "subscription", "template", "currency")
    return {
        "version": 1,
        "number": number,
        "issued_on": issued_on.isoformat(),
        "invoice_number": invoice.number,
        "invoice_issued_on": invoice.issued_on.isoformat(),
        "reason": reason,
        **{name: invoice.snapshot[name] for name in kept},
        "sac": invoice.sac,
        "rate_pct": str(invoice.rate_pct),
        "taxable": str(parts.taxable),
        "cgst": str(parts.cgst),
        "sgst": str(parts.sgst),
        "igst": str(parts.igst),
        "total": str(parts.total),
        "in_words": amount_in_words(parts.total),
    }


def _give_back(
    invoice: Invoice,
    note: CreditNote,
    method: str,
    reference: str,
    actor: Actor,
    now: dt.datetime,
) -> Refund | None:
    """Money back as far as more is paid than owed after the note (invoice not saved)."""
    amount = -commissions.standing(invoice).outstanding
    if amount <= 0:
        return None
    made = _refund_row(
        invoice,
        chart.receivable(invoice.customer.public_id),
        amount,
        method,
        reference,
        actor,
        now,
        idem_key=note.idem_key,
        credit_note=note,
    )
    invoice.refunded += amount
    return made


def _refund_row(
    invoice: Invoice,
    account: str,
    amount: Decimal,
    method: str,
    reference: str,
    actor: Actor,
    now: dt.datetime,
    **fields: Any,
) -> Refund:
    public_id = new_refund_id()
    posted = ledger.post(
        idem_key=f"refund:{public_id}",
        kind="refund",
        effective_on=ist_date(now),
        postings=[
            ledger.debit(account, amount),
            ledger.credit(chart.MANUAL_CLEARING, amount),
        ],
        partner_id=invoice.partner_id,
        environment=invoice.environment,
        now=now,
    )
    made = Refund(
        partner_id=invoice.partner_id,
        environment=invoice.environment,
        public_id=public_id,
        customer_id=invoice.customer_id,
        method=method,
        reference=reference,
        amount=amount,
        currency=invoice.currency,
        recorded_by=actor.id,
        recorded_on=ist_date(now),
        created_at=now,
        transaction_id=posted.transaction_id,
        **fields,
    )
    insert_once(made, "refund_idem_uniq", made.idem_key)
    return made


def return_excess(
    *,
    payment_id: int,
    idem_key: str,
    amount: Decimal,
    method: str,
    reference: str,
    actor: Actor,
    now: dt.datetime,
) -> Refund:
    """Give back ``amount`` rupees of what a payment had too much; once per key.

    NotFound; InvalidRequest; NothingToCredit (409); PaymentKeyReused (409).
    """
    check_money(amount, method, reference, idem_key)
    with transaction.atomic():
        payment = Payment.objects.filter(pk=payment_id).first()
        if payment is None:
            raise NotFound
        invoice = lock_invoice(payment.invoice_id)
        same = {"payment_id": payment.pk, "amount": amount, "method": method}
        held = recorded_before(Refund, invoice, idem_key, same)
        if held is not None:
            return held
        given = payment.refunds.aggregate(sum=Sum("amount"))["sum"] or ZERO
        if amount > payment.excess - given:
            raise NothingToCredit(f"Of {payment} {payment.excess - given} rupees are too much")
        made = _refund_row(
            invoice,
            chart.customer_credit(invoice.customer.public_id),
            amount,
            method,
            reference,
            actor,
            now,
            idem_key=idem_key,
            payment=payment,
        )
        _audit("payment.excess_returned", invoice, actor, {"refund": str(made), **_money(made)})
    return made


def _tell(
    invoice: Invoice, note: CreditNote, money: Refund | None, actor: Actor, now: dt.datetime
) -> None:
    data = {"credit_note": note.number, "amount": str(note.total), "reason": note.reason}
    if money is not None:
        data |= {"refund": money.public_id, **_money(money)}
    _audit("invoice.credited", invoice, actor, data)
    if invoice.status == Invoice.Status.PAID:
        # a credit may settle what was partly paid
        tell_paid(invoice, now)


def _money(money: Refund) -> dict[str, str]:
    return {
        "refunded": str(money.amount),
        "method": money.method,
        "reference": money.reference,
    }


def _audit(action: str, invoice: Invoice, actor: Actor, data: dict[str, str]) -> None:
    audit.record(
        actor=actor,
        action=action,
        target_type="invoice",
        target_id=invoice.public_id,
        partner_id=invoice.partner_id,
        environment=invoice.environment,
        data=data,
    )
