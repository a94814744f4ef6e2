"""What a partner's customers owe and have paid for, shown before the partner is suspended."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from django.db.models import Count, Min, Sum

from partners.ports import Figure
from quantleap.core.admin_columns import NONE, in_rupees
from quantleap.core.clock import ist_date
from quantleap.core.dates import day_text
from quantleap.core.money import ZERO
from quantleap.core.tenancy import Environment
from subscriptions.billing.models import Invoice
from subscriptions.billing.selectors import coming
from subscriptions.billing.settlement.balance_due import OUTSTANDING
from subscriptions.models import Subscription


def reach(partner_id: int, now: dt.datetime) -> Sequence[Figure]:
    """Unpaid invoices, running periods and the next billing (4 queries). Live environment only."""
    today = ist_date(now)
    invoices = Invoice.objects.for_partner(partner_id, Environment.LIVE)
    unpaid = invoices.filter(status__in=Invoice.UNPAID).aggregate(
        count=Count("pk"),
        amount=Sum(OUTSTANDING, default=ZERO),
    )
    running = (
        invoices.filter(period_start__lte=today, period_end__gt=today)
        .exclude(subscription__status=Subscription.Status.CANCELLED)
        .aggregate(count=Count("pk"), value=Sum("taxable", default=ZERO))
    )
    segments = coming().filter(partner_id=partner_id)
    first = segments.aggregate(first=Min("next_on"))["first"]
    segment_count = segments.filter(next_on=first).count() if first else 0
    return [
        Figure("Unpaid invoices", _with(unpaid["count"], unpaid["amount"])),
        Figure("Running periods", _with(running["count"], running["value"])),
        Figure(
            "Next billing",
            f"{day_text(first)}: {segment_count:,}" if first is not None else NONE,
        ),
    ]


def _with(count: int, amount: object) -> str:
    return f"{count:,}: {in_rupees(amount)}" if count else "0"  # type: ignore[arg-type]
