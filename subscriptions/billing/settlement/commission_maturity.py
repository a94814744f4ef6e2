"""Commission becomes payable once a refund is no longer expected."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from django.db import transaction
from django.db.models import Sum

from partners.models import Partner
from quantleap.core.clock import ist_date
from quantleap.core.money import ZERO
from subscriptions.billing.errors import FutureDate
from subscriptions.billing.ledger import chart_of_accounts, posting
from subscriptions.billing.models import Commission

CHUNK: Final = 1000


@dataclass(frozen=True, slots=True)
class Matured:
    """How many accruals matured, and the rupees that became payable."""

    accruals: int
    amount: Decimal


def mature(as_of: dt.date, *, now: dt.datetime, chunk: int = CHUNK) -> Matured:
    """Release every accrual that matures by ``as_of`` (IST), less what was clawed back of it.

    Chunks of one transaction each. However often, late or in parallel it is called, each accrual
    matures once. Raises FutureDate.
    """
    if as_of > ist_date(now):
        raise FutureDate(f"{as_of} has not come yet", details={"as_of": "Not after today (IST)."})
    accruals, amount = 0, ZERO
    while True:
        with transaction.atomic():
            rows = list(
                Commission.objects.select_for_update(skip_locked=True, of=("self",), no_key=True)
                .filter(
                    kind=Commission.Kind.ACCRUAL, matured_at__isnull=True, matures_on__lte=as_of
                )
                .order_by("matures_on", "id")[:chunk]
            )
            amount += _release(rows, now)
        accruals += len(rows)
        if len(rows) < chunk:
            return Matured(accruals, amount)


def _release(rows: Sequence[Commission], now: dt.datetime) -> Decimal:
    taken = {
        accrual_id: (base, amount)
        for accrual_id, base, amount in Commission.objects.filter(
            accrual__in=[accrual.pk for accrual in rows], kind=Commission.Kind.CLAWBACK
        )
        .order_by()
        .values_list("accrual_id")
        .annotate(base_sum=Sum("base"), amount_sum=Sum("amount"))
    }
    per_payee: dict[tuple[int, str], list[Commission]] = defaultdict(list)
    for accrual in rows:
        base, amount = taken.get(accrual.pk, (ZERO, ZERO))
        if accrual.amount + amount and accrual.partner_id is not None:
            per_payee[accrual.partner_id, accrual.environment].append(
                _row(accrual, accrual.base + base, accrual.amount + amount, now)
            )
    ids = [accrual.pk for accrual in rows]
    Commission.objects.filter(pk__in=ids).update(matured_at=now)
    slugs = dict(
        Partner.objects.filter(pk__in={payee for payee, _ in per_payee}).values_list("pk", "slug")
    )
    total = ZERO
    for (payee, environment), released in per_payee.items():
        total += _post(payee, environment, slugs[payee], released, now)
    return total


def _row(accrual: Commission, base: Decimal, amount: Decimal, now: dt.datetime) -> Commission:
    return Commission(
        partner_id=accrual.partner_id,
        environment=accrual.environment,
        kind=Commission.Kind.MATURITY,
        role=accrual.role,
        invoice_id=accrual.invoice_id,
        payment_id=accrual.payment_id,
        accrual=accrual,
        base=base,
        bps=accrual.bps,
        amount=amount,
        currency=accrual.currency,
        accrued_on=ist_date(now),
        created_at=now,
    )


def _post(
    payee: int, environment: str, slug: str, rows: Sequence[Commission], now: dt.datetime
) -> Decimal:
    """One posting for all of a payee's rows; its key is unique, as each accrual matures once."""
    amount = sum((row.amount for row in rows), ZERO)
    first = min(row.accrual.public_id for row in rows if row.accrual)
    posted = posting.post(
        idem_key=f"maturity:{slug}:{environment}:{first}",
        kind="maturity",
        effective_on=ist_date(now),
        postings=[
            posting.debit(chart_of_accounts.partner_payable_pending(slug), amount),
            posting.credit(chart_of_accounts.partner_payable(slug), amount),
        ],
        partner_id=payee,
        environment=environment,
        now=now,
    )
    for row in rows:
        row.transaction_id = posted.transaction_id
    Commission.objects.bulk_create(rows)
    return amount
