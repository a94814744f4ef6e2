"""What a run must have written, whoever ran beside it."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from decimal import Decimal

from django.db.models import Sum

from quantleap.core.models import OutboxEvent
from subscriptions.billing.ledger import checks, posting
from subscriptions.billing.models import (
    Invoice,
    LedgerEntry,
    NumberSeries,
)
from subscriptions.billing.tests.factories import noon
from subscriptions.models import Subscription

LATE = dt.date(2026, 5, 10)
# Anchors at the ends of months; as of LATE they have 4 periods each (and one 3: the 15th of March).
ANCHORS = [
    dt.date(2026, 1, 29), dt.date(2026, 1, 30), dt.date(2026, 1, 31), dt.date(2026, 1, 28),
    dt.date(2026, 1, 31), dt.date(2026, 2, 1), dt.date(2026, 3, 15), dt.date(2026, 5, 10),
]  # fmt: skip


def periods() -> Counter[tuple[int, int, int, dt.date, dt.date, Decimal]]:
    """Everything of the invoices that must not depend on how they came to be."""
    return Counter(
        Invoice.objects.values_list(
            "subscription_id", "segment_no", "period_no", "period_start", "period_end", "total"
        )
    )


def the_books_are_exact(count: int) -> None:
    """Each period once, numbers without gap, ledger at 0, an event each."""
    assert set(periods().values()) == {1}
    assert Invoice.objects.count() == count
    assert sorted(Invoice.objects.values_list("fy", "seq")) == [
        (held.fy, number)
        for held in NumberSeries.objects.filter(series="invoice").order_by("fy")
        for number in range(1, held.last + 1)
    ]
    assert LedgerEntry.objects.aggregate(sum=Sum("amount"))["sum"] == 0
    billed = Invoice.objects.aggregate(sum=Sum("total"))["sum"]
    assert posting.balance_of("receivable") == billed
    announced = OutboxEvent.objects.filter(type="invoice.issued").values_list(
        "payload__invoice_id", flat=True
    )
    assert sorted(announced) == sorted(Invoice.objects.values_list("public_id", flat=True))
    assert checks.check_ledger(now=noon(LATE)).findings == []


def expected(subscriptions: list[Subscription]) -> int:
    """Periods that began by LATE, counted day by day."""
    total = 0
    for subscription in subscriptions:
        day = subscription.anchor
        while day <= LATE:
            last = ((day.replace(day=28) + dt.timedelta(days=4)).replace(day=1)) - dt.timedelta(1)
            total += day == subscription.anchor or day.day == min(subscription.anchor.day, last.day)
            day += dt.timedelta(days=1)
    return total
