"""Credit notes for a part of an invoice, with the refund and the claw-back that follow."""

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
    """A credit note and its refund (None: nothing was to be given back)."""

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
    """Credit ``amount`` rupees (tax included) of an invoice and give back what is overpaid.

    For an unpaid invoice nothing goes back: less is owed. With the method CUSTOMER_CREDIT no money
    moves: what is overpaid becomes the customer's credit. Commission is clawed back in proportion.
    Once per key. After 30 November following the invoice's financial year it is a financial credit
    without tax (``tax_deadline.credit_deadline``). A credit is at least 1 rupee, and leaves nothing
    or at least 1 rupee (proration.SMALLEST). ``seen`` is the outstanding sum on which the caller
    based the decision.

    Raises NotFound; InvalidRequest; NothingToCredit, PaymentKeyReused, InvoiceChanged (409).
    """
    check_money(amount, method, reference, idem_key, allowed=Method.values)
    reason = reason.strip()
    if not 0 < len(reason) <= REASON_LENGTH:
        raise InvalidRequest(details={"reason": f"From 1 to {REASON_LENGTH} characters."})
    with transaction.atomic():
        invoice = lock_invoice(invoice_id)
        same = {"invoice_id": invoice.pk, "total": amount, "reason": reason}
        earlier = recorded_before(CreditNote, invoice, idem_key, same)
        if earlier is not None:
            return _issued_before(earlier)
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

    Of what is left of the invoice, rounded down to the paisa, tax in proportion. What is overpaid
    becomes the customer's credit; commission is clawed back in proportion. The used days are
    recognised at once, as nothing more is delivered for this invoice. Once per key. Returns None if
    no day, or less than a paisa, is unused. Raises NotFound; PaymentKeyReused (409).
    """
    with transaction.atomic():
        invoice = lock_invoice(invoice_id)
        earlier = recorded_before(CreditNote, invoice, idem_key, {"invoice_id": invoice.pk})
        if earlier is not None:
            return _issued_before(earlier)
        unused, days = _days(invoice, last_used)
        parts = proration.unused_parts(_left(invoice), unused, days)
        if parts.taxable == 0:
            return None
        deferred = invoice.taxable - invoice.credited_taxable - invoice.recognised
        from_revenue = max(ZERO, parts.taxable - deferred)
        method, reference = Method.CUSTOMER_CREDIT, f"{invoice.number}, {unused} days"
        credited = _issue(
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
        _earn_rest(invoice, credited.note, now)
    return credited


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
    """Write note, refund, claw-back and events. The invoice is locked."""
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
    given_back = _give_back(invoice, note, method=method, reference=reference, actor=actor, now=now)
    save_standing(invoice)
    commissions.claw_back(invoice, note, accruals, now=now)
    _record(invoice, note, given_back, actor, now)
    return Credited(note, given_back, created=True)


def _earn_rest(invoice: Invoice, note: CreditNote, now: dt.datetime) -> None:
    """Dr deferred revenue, Cr revenue: the invoice's value that the note left."""
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
    """Split ``amount`` into value and taxes."""
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
    half, whole, tax_kept = (before[name] or ZERO for name in ("half", "whole", "kept"))
    # tax that stays paid was still credited to the customer, under its kind
    if invoice.igst:
        whole += tax_kept
    else:
        half += tax_kept / 2
    return proration.Parts(invoice.credited_taxable, half, half, whole)


def credit_ends_on(invoice: Invoice) -> dt.date:
    """The last day on which a credit note reduces the invoice's output tax."""
    return tax_deadline.credit_deadline(invoice.issued_on)


def _left(invoice: Invoice) -> proration.Parts:
    return _invoiced(invoice) - _credited(invoice)


def unused_on(invoice: Invoice, last_used: dt.date) -> Decimal:
    """Rupees, tax included, for the days after ``last_used`` (IST), of what is left."""
    return proration.unused_parts(_left(invoice), *_days(invoice, last_used)).total


def _days(invoice: Invoice, last_used: dt.date) -> tuple[int, int]:
    """Number of the period's days after ``last_used``, and of all its days."""
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
    """Write the document and its posting, and update the invoice (not saved)."""
    fy, seq, issued_on = number_series.take(CREDIT_NOTE, 1, today=ist_date(now))
    number = document_number(CREDIT_NOTE, fy, seq)
    # too late to reduce output tax: the customer gets the same amount, and we bear its tax
    late = issued_on > credit_ends_on(invoice)
    reduced = proration.Parts(parts.taxable, ZERO, ZERO, ZERO) if late else parts
    tax_kept = parts.total - reduced.total
    posted = posting.post(
        idem_key=f"credit_note:{number}",
        kind="credit_note",
        effective_on=issued_on,
        postings=[
            posting.debit(chart_of_accounts.REVENUE, from_revenue),
            posting.debit(chart_of_accounts.DEFERRED_REVENUE, parts.taxable - from_revenue),
            posting.debit(chart_of_accounts.CGST, reduced.cgst),
            posting.debit(chart_of_accounts.SGST, reduced.sgst),
            posting.debit(chart_of_accounts.IGST, reduced.igst),
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
        cgst=reduced.cgst,
        sgst=reduced.sgst,
        igst=reduced.igst,
        tax_kept=tax_kept,
        total=parts.total,
        from_revenue=from_revenue,
        currency=invoice.currency,
        reason=reason,
        snapshot=_snapshot(
            invoice,
            number=number,
            issued_on=issued_on,
            parts=reduced,
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
    """What the note's document shows: the invoice's parties as they were, and its own sums.

    A financial credit shows until when tax could have been reduced, and has none.
    """
    late = issued_on > credit_ends_on(invoice)
    copied = ("supplier", "customer", "place_of_supply", "subscription", "template", "currency")
    return {
        "version": 1,
        "number": number,
        "issued_on": issued_on.isoformat(),
        "invoice_number": invoice.number,
        "invoice_issued_on": invoice.issued_on.isoformat(),
        "reason": reason,
        **{name: invoice.snapshot[name] for name in copied},
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
    """Give back what is paid beyond what is owed after the note (invoice not saved)."""
    amount = -invoice.outstanding
    if amount <= 0:
        return None
    customer = invoice.customer
    as_credit = method == Method.CUSTOMER_CREDIT
    given_back = refund_row(
        customer,
        debit=chart_of_accounts.receivable(customer.public_id),
        credit=chart_of_accounts.customer_credit(customer.public_id)
        if as_credit
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
    return given_back


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
    """Refund ``amount`` rupees to a customer, posted from account ``debit`` to ``credit``."""
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
    row = Refund(
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
    insert_once(row, "refund_idem_uniq", row.idem_key)
    return row


def _record(
    invoice: Invoice, note: CreditNote, given_back: Refund | None, actor: Actor, now: dt.datetime
) -> None:
    data = {"credit_note": note.number, "amount": str(note.total), "reason": note.reason}
    if given_back is not None:
        data |= {"refund": given_back.public_id, **money_of(given_back)}
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
        _event(invoice, note, given_back),
        about=invoice.public_id,
        partner_id=invoice.partner_id,
        environment=invoice.environment,
        dedupe_key=f"{ISSUED}:{note.number}",
        now=now,
    )
    if invoice.status == Invoice.Status.PAID:
        # a credit may settle a partly paid invoice
        tell_paid(invoice, now)


def _event(invoice: Invoice, note: CreditNote, given_back: Refund | None) -> dict[str, Any]:
    """Data of the note and its effect on the invoice; rupees."""
    members = invoice_data(invoice)
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
        "refunded": json_number(given_back.amount if given_back else ZERO),
        "refund_method": given_back.method if given_back else None,
        "invoice_number": members.pop("number"),
        "invoice_status": members.pop("status"),
        "invoice_total": members.pop("total"),
        **{name: value for name, value in members.items() if name != "currency"},
    }


def money_of(money: Refund) -> dict[str, str]:
    """The refund's data for the audit entry."""
    return {
        "refunded": str(money.amount),
        "method": money.method,
        "reference": money.reference,
    }
