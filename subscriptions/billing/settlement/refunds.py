"""Taking back a part of an invoice: credit note, what goes back for it, claw-back."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from django.db import transaction
from django.db.models import Sum

from partners.models import Customer
from quantleap.core import audit, outbox
from quantleap.core.audit import Actor
from quantleap.core.clock import ist_date
from quantleap.core.errors import InvalidRequest
from quantleap.core.money import ZERO, json_number
from subscriptions.billing.errors import NothingToCredit
from subscriptions.billing.invoicing import number_series
from subscriptions.billing.invoicing.amount_in_words import amount_in_words
from subscriptions.billing.invoicing.number_format import CREDIT_NOTE, document_number
from subscriptions.billing.ledger import chart_of_accounts, posting
from subscriptions.billing.models import CreditNote, Invoice, Method, Refund
from subscriptions.billing.models.payments import new_refund_id
from subscriptions.billing.settlement import commissions, proration, tax_deadline
from subscriptions.billing.settlement.payments import (
    check_money,
    check_seen,
    insert_once,
    invoice_data,
    lock_invoice,
    recorded_before,
    save_standing,
    tell_paid,
)

ISSUED: Final = "credit_note.issued"
REASON_LENGTH: Final = 200


@dataclass(frozen=True, slots=True)
class Credited:
    """A credit note and what went back with it (None: nothing was to go back)."""

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
    seen: Decimal | None = None,
) -> Credited:
    """Credit ``amount`` rupees (tax included) of an invoice and give back what is paid too much.

    Of an unpaid invoice nothing goes back: less is owed. By the method CUSTOMER_CREDIT no money
    moves: what is paid too much becomes the customer's credit. Commission is clawed back in
    proportion. Once per key. After 30 November following the invoice's financial year it is a
    financial credit without tax (``tax_deadline.credit_deadline``). A credit, and what it leaves,
    is nothing or at least 1 rupee (proration.SMALLEST). ``seen`` is the outstanding sum that the
    caller decided on.

    NotFound; InvalidRequest; NothingToCredit, PaymentKeyReused, InvoiceChanged (409).
    """
    check_money(amount, method, reference, idem_key, allowed=Method.values)
    reason = reason.strip()
    if not 0 < len(reason) <= REASON_LENGTH:
        raise InvalidRequest(details={"reason": f"From 1 to {REASON_LENGTH} characters."})
    with transaction.atomic():
        invoice = lock_invoice(invoice_id)
        same = {"invoice_id": invoice.pk, "total": amount, "reason": reason}
        held = recorded_before(CreditNote, invoice, idem_key, same)
        if held is not None:
            return _issued_before(held)
        check_seen(invoice, seen)
        parts = _parts(invoice, amount)
        from_revenue = proration.recognised_part(
            invoice.recognised, invoice.taxable - invoice.credited_taxable, parts.taxable
        )
        return _issue(
            invoice,
            parts,
            from_revenue=from_revenue,
            idem_key=idem_key,
            reason=reason,
            method=method,
            reference=reference,
            actor=actor,
            now=now,
        )


def credit_unused(
    *,
    invoice_id: int,
    last_used: dt.date,
    idem_key: str,
    reason: str,
    actor: Actor,
    now: dt.datetime,
) -> Credited | None:
    """Credit the days of an invoice's period after ``last_used`` (IST), which counts as used.

    Floored to the paisa, of what is left of the invoice, tax in proportion. What is paid too much
    becomes the customer's credit; commission is clawed back in proportion. The days that were used
    are earned at once: nothing more is delivered for this invoice. Once per key; None where no day,
    or not a paisa, is unused. NotFound; PaymentKeyReused (409).
    """
    with transaction.atomic():
        invoice = lock_invoice(invoice_id)
        held = recorded_before(CreditNote, invoice, idem_key, {"invoice_id": invoice.pk})
        if held is not None:
            return _issued_before(held)
        unused, days = _days(invoice, last_used)
        parts = proration.unused_parts(_left(invoice), unused, days)
        if parts.taxable == 0:
            return None
        deferred = invoice.taxable - invoice.credited_taxable - invoice.recognised
        from_revenue = max(ZERO, parts.taxable - deferred)
        method, reference = Method.CUSTOMER_CREDIT, f"{invoice.number}, {unused} days"
        done = _issue(
            invoice,
            parts,
            from_revenue=from_revenue,
            idem_key=idem_key,
            reason=reason,
            method=method,
            reference=reference,
            actor=actor,
            now=now,
        )
        _earn_rest(invoice, done.note, now)
    return done


def _issued_before(note: CreditNote) -> Credited:
    return Credited(note, Refund.objects.filter(credit_note=note).first(), created=False)


def _issue(
    invoice: Invoice,
    parts: proration.Parts,
    *,
    from_revenue: Decimal,
    idem_key: str,
    reason: str,
    method: str,
    reference: str,
    actor: Actor,
    now: dt.datetime,
) -> Credited:
    """Note, what goes back, claw-back, events; the invoice is locked."""
    accruals = commissions.lock_accruals(invoice)
    note = _credit(
        invoice,
        idem_key,
        parts=parts,
        from_revenue=from_revenue,
        reason=reason,
        actor=actor,
        now=now,
    )
    back = _give_back(invoice, note, method=method, reference=reference, actor=actor, now=now)
    save_standing(invoice)
    commissions.claw_back(invoice, note, accruals, now=now)
    _tell(invoice, note, back, actor, now)
    return Credited(note, back, created=True)


def _earn_rest(invoice: Invoice, note: CreditNote, now: dt.datetime) -> None:
    """Dr deferred revenue, Cr revenue: what the note left of the invoice's value."""
    rest = invoice.taxable - invoice.credited_taxable - invoice.recognised
    if rest == 0:
        return
    posting.post(
        idem_key=f"recognition:{note.number}",
        kind="recognition",
        effective_on=note.issued_on,
        postings=[
            posting.debit(chart_of_accounts.DEFERRED_REVENUE, rest),
            posting.credit(chart_of_accounts.REVENUE, rest),
        ],
        partner_id=invoice.partner_id,
        environment=invoice.environment,
        now=now,
    )
    invoice.recognised += rest
    invoice.save(update_fields=["recognised"])


def _parts(invoice: Invoice, amount: Decimal) -> proration.Parts:
    """What of ``amount`` is value and what is tax."""
    if not proration.may_credit(invoice.total, invoice.credited, amount):
        left = invoice.total - invoice.credited
        raise NothingToCredit(
            f"Of {invoice.number} {left} rupees are left: credit all of it, or an amount that is "
            f"at least {proration.SMALLEST} and leaves at least {proration.SMALLEST}"
        )
    return proration.credit_parts(_invoiced(invoice), _credited(invoice), amount)


def _invoiced(invoice: Invoice) -> proration.Parts:
    return proration.Parts(invoice.taxable, invoice.cgst, invoice.sgst, invoice.igst)


def _credited(invoice: Invoice) -> proration.Parts:
    before = invoice.credit_notes.aggregate(
        half=Sum("cgst"), whole=Sum("igst"), kept=Sum("tax_kept")
    )
    half, whole, kept = (before[name] or ZERO for name in ("half", "whole", "kept"))
    # tax that stayed paid was credited to the customer all the same, as the kind it was
    if invoice.igst:
        whole += kept
    else:
        half += kept / 2
    return proration.Parts(invoice.credited_taxable, half, half, whole)


def credit_ends_on(invoice: Invoice) -> dt.date:
    """The last day on which a credit note reduces the invoice's output tax."""
    return tax_deadline.credit_deadline(invoice.issued_on)


def _left(invoice: Invoice) -> proration.Parts:
    return _invoiced(invoice) - _credited(invoice)


def unused_on(invoice: Invoice, last_used: dt.date) -> Decimal:
    """Rupees, tax included, that the days after ``last_used`` (IST) cost of what is left."""
    return proration.unused_parts(_left(invoice), *_days(invoice, last_used)).total


def _days(invoice: Invoice, last_used: dt.date) -> tuple[int, int]:
    """How many days of the period come after ``last_used``, and how many it has."""
    days = (invoice.period_end - invoice.period_start).days
    return min(max((invoice.period_end - last_used).days - 1, 0), days), days


def _credit(
    invoice: Invoice,
    idem_key: str,
    *,
    parts: proration.Parts,
    from_revenue: Decimal,
    reason: str,
    actor: Actor,
    now: dt.datetime,
) -> CreditNote:
    """The document, its posting, and what it changes of the invoice (not saved)."""
    fy, seq, issued_on = number_series.take(CREDIT_NOTE, 1, today=ist_date(now))
    number = document_number(CREDIT_NOTE, fy, seq)
    # too late to reduce output tax: the customer gets as much, and we bear its tax
    late = issued_on > credit_ends_on(invoice)
    back = proration.Parts(parts.taxable, ZERO, ZERO, ZERO) if late else parts
    tax_kept = parts.total - back.total
    posted = posting.post(
        idem_key=f"credit_note:{number}",
        kind="credit_note",
        effective_on=issued_on,
        postings=[
            posting.debit(chart_of_accounts.REVENUE, from_revenue),
            posting.debit(chart_of_accounts.DEFERRED_REVENUE, parts.taxable - from_revenue),
            posting.debit(chart_of_accounts.CGST, back.cgst),
            posting.debit(chart_of_accounts.SGST, back.sgst),
            posting.debit(chart_of_accounts.IGST, back.igst),
            posting.debit(chart_of_accounts.TAX_KEPT, tax_kept),
            posting.credit(chart_of_accounts.receivable(invoice.customer.public_id), parts.total),
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
        cgst=back.cgst,
        sgst=back.sgst,
        igst=back.igst,
        tax_kept=tax_kept,
        total=parts.total,
        from_revenue=from_revenue,
        currency=invoice.currency,
        reason=reason,
        snapshot=_snapshot(
            invoice,
            number=number,
            issued_on=issued_on,
            parts=back,
            total=parts.total,
            reason=reason,
        ),
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
    invoice: Invoice,
    *,
    number: str,
    issued_on: dt.date,
    parts: proration.Parts,
    total: Decimal,
    reason: str,
) -> dict[str, Any]:
    """What the note's document shows: the invoice's parties as they were, its own sums.

    A financial credit says until when tax could have been reduced, and bears none.
    """
    late = issued_on > credit_ends_on(invoice)
    kept = ("supplier", "customer", "place_of_supply", "subscription", "template", "currency")
    return {
        "version": 1,
        "number": number,
        "issued_on": issued_on.isoformat(),
        "invoice_number": invoice.number,
        "invoice_issued_on": invoice.issued_on.isoformat(),
        "reason": reason,
        **{name: invoice.snapshot[name] for name in kept},
        "channel": invoice.snapshot.get("channel"),
        "sac": invoice.sac,
        "rate_pct": str(invoice.rate_pct),
        "taxable": str(parts.taxable),
        "cgst": str(parts.cgst),
        "sgst": str(parts.sgst),
        "igst": str(parts.igst),
        "total": str(total),
        "in_words": amount_in_words(total),
        **({"tax_ended_on": credit_ends_on(invoice).isoformat()} if late else {}),
    }


def _give_back(
    invoice: Invoice,
    note: CreditNote,
    *,
    method: str,
    reference: str,
    actor: Actor,
    now: dt.datetime,
) -> Refund | None:
    """As far as more is paid than owed after the note (invoice not saved)."""
    amount = -invoice.outstanding
    if amount <= 0:
        return None
    customer = invoice.customer
    kept = method == Method.CUSTOMER_CREDIT
    made = refund_row(
        customer,
        debit=chart_of_accounts.receivable(customer.public_id),
        credit=chart_of_accounts.customer_credit(customer.public_id)
        if kept
        else chart_of_accounts.MANUAL_CLEARING,
        amount=amount,
        method=method,
        reference=reference,
        actor=actor,
        now=now,
        idem_key=note.idem_key,
        credit_note=note,
    )
    invoice.refunded += amount
    return made


def refund_row(
    customer: Customer,
    *,
    debit: str,
    credit: str,
    amount: Decimal,
    method: str,
    reference: str,
    actor: Actor,
    now: dt.datetime,
    **fields: Any,
) -> Refund:
    """``amount`` rupees back to a customer, posted from account ``debit`` to ``credit``."""
    public_id = new_refund_id()
    posted = posting.post(
        idem_key=f"refund:{public_id}",
        kind="refund",
        effective_on=ist_date(now),
        postings=[
            posting.debit(debit, amount),
            posting.credit(credit, amount),
        ],
        partner_id=customer.partner_id,
        environment=customer.environment,
        now=now,
    )
    made = Refund(
        partner_id=customer.partner_id,
        environment=customer.environment,
        public_id=public_id,
        customer=customer,
        method=method,
        reference=reference,
        amount=amount,
        recorded_by=actor.id,
        recorded_on=ist_date(now),
        created_at=now,
        transaction_id=posted.transaction_id,
        **fields,
    )
    insert_once(made, "refund_idem_uniq", made.idem_key)
    return made


def _tell(
    invoice: Invoice, note: CreditNote, back: Refund | None, actor: Actor, now: dt.datetime
) -> None:
    data = {"credit_note": note.number, "amount": str(note.total), "reason": note.reason}
    if back is not None:
        data |= {"refund": back.public_id, **money_of(back)}
    audit.record(
        actor=actor,
        action="invoice.credited",
        target_type="invoice",
        target_id=invoice.public_id,
        partner_id=invoice.partner_id,
        environment=invoice.environment,
        data=data,
    )
    outbox.emit(
        ISSUED,
        _event(invoice, note, back),
        about=invoice.public_id,
        partner_id=invoice.partner_id,
        environment=invoice.environment,
        dedupe_key=f"{ISSUED}:{note.number}",
        now=now,
    )
    if invoice.status == Invoice.Status.PAID:
        # a credit may settle what was partly paid
        tell_paid(invoice, now)


def _event(invoice: Invoice, note: CreditNote, back: Refund | None) -> dict[str, Any]:
    """The note and what it left of its invoice; rupees."""
    about = invoice_data(invoice)
    return {
        "credit_note": note.number,
        "issued_on": note.issued_on.isoformat(),
        "reason": note.reason,
        "taxable": json_number(note.taxable),
        "cgst": json_number(note.cgst),
        "sgst": json_number(note.sgst),
        "igst": json_number(note.igst),
        "tax_kept": json_number(note.tax_kept),
        "total": json_number(note.total),
        "currency": note.currency,
        "refunded": json_number(back.amount if back else ZERO),
        "refund_method": back.method if back else None,
        "invoice_number": about.pop("number"),
        "invoice_status": about.pop("status"),
        "invoice_total": about.pop("total"),
        **{name: value for name, value in about.items() if name != "currency"},
    }


def money_of(money: Refund) -> dict[str, str]:
    """What went back, for the audit."""
    return {
        "refunded": str(money.amount),
        "method": money.method,
        "reference": money.reference,
    }
