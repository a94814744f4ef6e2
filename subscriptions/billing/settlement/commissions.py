"""Commission rows and postings, in the transaction of a payment, a credit note or a reversal.

What is earned depends on the invoice alone (proration.py); a row is the difference from what was
earned before. The caller holds the invoice's lock.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from decimal import ROUND_DOWN, Decimal
from typing import Final

from django.conf import settings
from django.db.models import Sum

from partners.models import Partner
from quantleap.core import outbox
from quantleap.core.clock import ist_date
from quantleap.core.money import PAISA, ZERO, json_number
from subscriptions.billing.ledger import chart_of_accounts, posting
from subscriptions.billing.models import Commission, CreditNote, Invoice, Payment, Reversal
from subscriptions.billing.settlement import proration
from subscriptions.models import ShareLine

ACCRUED: Final = "commission.accrued"
CLAWED_BACK: Final = "commission.clawed_back"


def accrue(invoice: Invoice, payment: Payment, *, now: dt.datetime) -> list[Commission]:
    """Accrue what ``payment`` earned its payees. The invoice must already count it as paid."""
    lines = _lines(invoice)
    earned_before = _earned_before(invoice)
    slugs = _slugs(lines)
    today = ist_date(now)
    standing = invoice.standing
    rows = []
    for line in lines:
        base, amount = earned_before.get((line.payee, line.role), (ZERO, ZERO))
        earned = proration.commission(standing, line.basis_points) - amount
        if earned <= 0:
            continue
        slug = slugs[line.payee or 0]
        posted = posting.post(
            idem_key=f"commission:{payment.public_id}:{line.role}:{slug}",
            kind="commission",
            effective_on=today,
            postings=[
                posting.debit(chart_of_accounts.REVSHARE_EXPENSE, earned),
                posting.credit(chart_of_accounts.partner_payable_pending(slug), earned),
            ],
            partner_id=line.payee,
            environment=invoice.environment,
            now=now,
        )
        rows.append(
            Commission(
                partner_id=line.payee,
                environment=invoice.environment,
                kind=Commission.Kind.ACCRUAL,
                role=line.role,
                invoice=invoice,
                payment=payment,
                base=max(ZERO, proration.base_paid(standing) - base),
                bps=line.basis_points,
                amount=earned,
                currency=invoice.currency,
                accrued_on=today,
                matures_on=today + dt.timedelta(days=settings.QUANTLEAP_REFUND_WINDOW_DAYS),
                created_at=now,
                transaction_id=posted.transaction_id,
            )
        )
    _write(rows, ACCRUED, slugs, now)
    return rows


def lock_accruals(invoice: Invoice) -> list[Commission]:
    """Lock an invoice's accruals, oldest first, so that none matures meanwhile.

    Before the first posting: the maturity run locks the rows first and the ledger after.
    """
    return list(
        Commission.objects.select_for_update(of=("self",), no_key=True)
        .filter(invoice=invoice, kind=Commission.Kind.ACCRUAL)
        .select_related("payment", "transaction")
        .order_by("id")
    )


def claw_back(
    invoice: Invoice,
    cause: CreditNote | Reversal,
    accruals: Sequence[Commission],
    *,
    now: dt.datetime,
    taken_back: Collection[int] = (),
) -> list[Commission]:
    """Take back what a credit note or a reversal leaves unearned, from the newest accrual on.

    It comes out of pending commission, or out of payable where the accrual has matured. Accruals of
    the payments ``taken_back`` (keys) come first and as a whole: money that was taken back earns no
    commission, and the next payment makes up for a paisa that was rounded away.
    """
    lines = _lines(invoice)
    slugs = _slugs(lines)
    taken = _taken(accruals)
    standing = invoice.standing
    rows: list[Commission] = []
    for line in lines:
        line_accruals = [
            accrual
            for accrual in accruals
            if (accrual.partner_id, accrual.role) == (line.payee, line.role)
        ]
        line_accruals.sort(key=lambda accrual: (accrual.payment_id in taken_back, accrual.pk))
        remaining = [
            (accrual.base + taken[accrual.pk][0], accrual.amount + taken[accrual.pk][1])
            for accrual in line_accruals
        ]
        excess = sum((amount for _, amount in remaining), ZERO) - proration.commission(
            standing, line.basis_points
        )
        lost = [
            rest[1]
            for accrual, rest in zip(line_accruals, remaining, strict=True)
            if accrual.payment_id in taken_back
        ]
        excess = max(excess, sum(lost, ZERO))
        if excess <= 0:  # neither of them adds a commission
            continue
        parts = proration.take_back([amount for _, amount in remaining], excess)
        for accrual, (base, amount), part in zip(line_accruals, remaining, parts, strict=True):
            if part:
                part_base = (base * part / amount).quantize(PAISA, ROUND_DOWN)
                rows.append(
                    _clawback(
                        invoice,
                        accrual,
                        cause,
                        slug=slugs[line.payee or 0],
                        part=part,
                        base=part_base,
                        now=now,
                    )
                )
    _write(rows, CLAWED_BACK, slugs, now)
    return rows


def _clawback(
    invoice: Invoice,
    accrual: Commission,
    cause: CreditNote | Reversal,
    *,
    slug: str,
    part: Decimal,
    base: Decimal,
    now: dt.datetime,
) -> Commission:
    note, reversal = (cause, None) if isinstance(cause, CreditNote) else (None, cause)
    clawed_on = cause.issued_on if isinstance(cause, CreditNote) else cause.recorded_on
    account_of = (
        chart_of_accounts.partner_payable
        if accrual.matured_at
        else chart_of_accounts.partner_payable_pending
    )
    posted = posting.post(
        idem_key=f"clawback:{cause}:{accrual.public_id}",
        kind="clawback",
        effective_on=clawed_on,
        postings=[
            posting.debit(account_of(slug), part),
            posting.credit(chart_of_accounts.REVSHARE_EXPENSE, part),
        ],
        partner_id=accrual.partner_id,
        environment=accrual.environment,
        corrects=accrual.transaction_id,
        now=now,
    )
    return Commission(
        partner_id=accrual.partner_id,
        environment=accrual.environment,
        kind=Commission.Kind.CLAWBACK,
        role=accrual.role,
        invoice=invoice,
        payment=accrual.payment,
        credit_note=note,
        reversal=reversal,
        accrual=accrual,
        base=-base,
        bps=accrual.bps,
        amount=-part,
        currency=accrual.currency,
        accrued_on=clawed_on,
        created_at=now,
        transaction_id=posted.transaction_id,
    )


def _lines(invoice: Invoice) -> list[ShareLine]:
    """The shares in the fee of the invoice's subscription, as agreed when it began."""
    return list(
        ShareLine.objects.for_partner(invoice.partner_id, invoice.environment)
        .filter(subscription_id=invoice.subscription_id, payee__isnull=False)
        .order_by("id")
    )


def _slugs(lines: Sequence[ShareLine]) -> dict[int, str]:
    ids = {line.payee for line in lines if line.payee is not None}
    return dict(Partner.objects.filter(pk__in=ids).values_list("pk", "slug")) if ids else {}


def _earned_before(invoice: Invoice) -> Mapping[tuple[int | None, str], tuple[Decimal, Decimal]]:
    """Base and commission so far, by payee and role."""
    rows = (
        Commission.objects.filter(invoice=invoice, kind__in=Commission.EARNING)
        .order_by()
        .values_list("partner_id", "role")
        .annotate(base_sum=Sum("base"), amount_sum=Sum("amount"))
    )
    return {(payee, role): (base, amount) for payee, role, base, amount in rows}


def _taken(accruals: Sequence[Commission]) -> dict[int, tuple[Decimal, Decimal]]:
    """Base and amount (both negative) taken back of each accrual so far."""
    taken = {accrual.pk: (ZERO, ZERO) for accrual in accruals}
    rows = (
        Commission.objects.filter(accrual__in=list(taken), kind=Commission.Kind.CLAWBACK)
        .order_by()
        .values_list("accrual_id")
        .annotate(base_sum=Sum("base"), amount_sum=Sum("amount"))
    )
    return taken | {accrual_id: (base, amount) for accrual_id, base, amount in rows}


def _write(
    rows: list[Commission], event_type: str, slugs: Mapping[int, str], now: dt.datetime
) -> None:
    if not rows:
        return
    Commission.objects.bulk_create(rows)
    for row in rows:
        outbox.emit(
            event_type,
            _payload(row, slugs),
            # a claw-back's event must follow that of its accrual
            about=row.accrual.public_id if row.accrual else row.public_id,
            partner_id=row.partner_id,
            environment=row.environment,
            dedupe_key=f"{event_type}:{row.public_id}",
            now=now,
        )


def _payload(row: Commission, slugs: Mapping[int, str]) -> dict[str, object]:
    return {
        "commission_id": row.public_id,
        "kind": row.kind,
        "partner_id": slugs[row.partner_id or 0],
        "role": row.role,
        "invoice_id": row.invoice.public_id,
        "invoice_number": row.invoice.number,
        "payment_id": row.payment.public_id,
        "credit_note": row.credit_note.number if row.credit_note else None,
        "reversal_id": row.reversal.public_id if row.reversal else None,
        "accrual_id": row.accrual.public_id if row.accrual else None,
        "base": json_number(row.base),
        "rate_bps": row.bps,
        "amount": json_number(row.amount),
        "currency": row.currency,
        "accrued_on": row.accrued_on.isoformat(),
        "matures_on": row.matures_on.isoformat() if row.matures_on else None,
    }
