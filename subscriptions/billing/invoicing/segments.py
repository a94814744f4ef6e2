"""Effects of subscribing, pausing, resuming and cancelling on billing (docs/billing.md).

Each writes only IST dates, so that what is billed never depends on when a run happens.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from django.db import connection
from django.db.models import Case, Exists, F, OuterRef, Q, Value, When
from django.db.models.functions import Greatest, Least

from quantleap.core.money import PAISA
from subscriptions.billing.models import BillingSegment, Invoice
from subscriptions.billing.selectors import runs_until
from subscriptions.models import Subscription
from subscriptions.periods import Period, anchor_after_pause, period_on

_BATCH: Final = 2000


@dataclass(frozen=True, slots=True)
class Begun:
    """A period that a customer has begun, and the segment that bills it."""

    segment: BillingSegment
    period: Period


def open_first(subscriptions: Collection[Subscription]) -> int:
    """Create first segments of new, saved subscriptions, from their anchors; returns their number.

    A customer who has begun a period of that template with an earlier subscription continues it:
    anchor and end stay, the earlier one bills the period once, and the new one bills from the next
    period on, at its own price (adr 0054). This function writes their anchors.
    """
    billed = [subscription for subscription in subscriptions if subscription.is_billed]
    running = begun(billed)
    continued = []
    for subscription in billed:
        if subscription.pk in running:
            subscription.anchor = running[subscription.pk].segment.anchor
            continued.append(subscription)
    Subscription.objects.bulk_update(continued, ("anchor",), batch_size=_BATCH)
    segments = [_first(subscription, running.get(subscription.pk)) for subscription in billed]
    return len(BillingSegment.objects.bulk_create(segments, batch_size=_BATCH))


def begun(subscriptions: Collection[Subscription]) -> dict[int, Begun]:
    """Subscription key -> the period of its template that is running on its anchor's day.

    A period begun with an earlier subscription of the same customer, whatever its version, accounts
    or price, and whether or not it is invoiced or paid yet. Without those whose rest was credited
    (:func:`given_back`). Two queries.
    """
    subscription_of = {
        (subscription.customer_id, subscription.template_id): subscription
        for subscription in subscriptions
    }
    earlier = (
        BillingSegment.objects.filter(
            subscription__customer_id__in={customer for customer, _ in subscription_of},
            subscription__template_id__in={template for _, template in subscription_of},
        )
        .exclude(subscription_id__in=[subscription.pk for subscription in subscriptions])
        .annotate(customer=F("subscription__customer_id"), template=F("subscription__template_id"))
    )
    candidates: dict[int, list[Begun]] = defaultdict(list)
    for segment in earlier:
        subscription = subscription_of.get((segment.customer, segment.template))
        period = None if subscription is None else _running(segment, subscription.anchor)
        if subscription is not None and period is not None:
            candidates[subscription.pk].append(Begun(segment, period))
    invoices = {
        (invoice.segment_id, invoice.period_no): invoice
        for invoice in Invoice.objects.filter(
            segment__in=[candidate.segment for group in candidates.values() for candidate in group],
            credited__gt=0,
        ).only("segment_id", "period_no", "taxable", "credited_taxable")
    }
    running: dict[int, Begun] = {}
    for subscription in subscriptions:
        uncredited = [
            candidate
            for candidate in candidates.get(subscription.pk, ())
            if not given_back(
                invoices.get((candidate.segment.pk, candidate.period.number)),
                candidate.period,
                subscription.anchor,
            )
        ]
        if uncredited:
            # the last to end: old rows may have several
            running[subscription.pk] = max(
                uncredited, key=lambda candidate: (candidate.period.end, candidate.segment.pk)
            )
    return running


def _running(segment: BillingSegment, day: dt.date) -> Period | None:
    """The period of a segment that contains ``day`` and is billed by it, if any."""
    if day < segment.anchor:
        return None
    period = period_on(segment.anchor, day)
    own = period.number >= segment.first_no
    began = segment.stop_on is None or period.start <= segment.stop_on
    return period if own and began else None


def given_back(invoice: Invoice | None, period: Period, day: dt.date) -> bool:
    """Whether the credits of a period cover its days from ``day`` on.

    By days, before tax, rounded down to the paisa as credits are. Then there is nothing left to
    continue; with a smaller credit there is.
    """
    if invoice is None:
        return False
    days, left = (period.end - period.start).days, (period.end - day).days
    return (invoice.credited_taxable + PAISA) * days > invoice.taxable * left


def stop(subscription_ids: Collection[int], *, on: dt.date) -> int:
    """Bill no period that begins after ``on`` (IST date of the pause or cancellation).

    Nor one that begins after the last day on which a suspended partner's customers trade. A
    customer who pauses or cancels before beat has paused them all has not traded since that day
    either, and once the partner is reinstated only this date records it. Periods that began are
    billed, even by a later run. An earlier stop date stays. Returns how many were stopped.
    """
    last = Greatest(Least(Value(on), runs_until()), F("anchor"))  # LEAST ignores nulls
    return BillingSegment.objects.filter(
        Q(stop_on__isnull=True) | Q(stop_on__gt=last), subscription_id__in=subscription_ids
    ).update(stop_on=last, next_on=Case(When(next_on__lte=last, then=F("next_on"))))


def resume(subscriptions: Collection[Subscription], *, on: dt.date) -> dict[int, dt.date]:
    """Bill again from ``on`` (IST): subscription key -> the anchor from which it now counts.

    Before the paid period has ended, the pause has no effect on billing. After it a new segment
    begins with its own anchor, and the time between is not billed. At most three statements for any
    number of subscriptions.
    """
    later = BillingSegment.objects.filter(
        subscription_id=OuterRef("subscription_id"), number__gt=OuterRef("number")
    )
    newest = {
        segment.subscription_id: segment
        for segment in BillingSegment.objects.select_for_update(no_key=True)
        .filter(
            ~Exists(later), subscription_id__in=[subscription.pk for subscription in subscriptions]
        )
        .order_by("subscription_id")
    }
    anchors: dict[int, dt.date] = {}
    opened: list[int] = []
    fresh: list[BillingSegment] = []
    for subscription in subscriptions:
        segment = newest.get(subscription.pk)
        if segment is not None and _still_runs(segment, on):
            anchors[subscription.pk] = segment.anchor
            if segment.stop_on is not None:
                opened.append(segment.pk)
            continue
        anchors[subscription.pk] = on
        fresh.append(_segment(subscription, segment.number + 1 if segment else 1, on))
    if opened:
        with connection.cursor() as cursor:
            cursor.execute(_OPEN_AGAIN, [opened])
    BillingSegment.objects.bulk_create(fresh, batch_size=_BATCH)
    return anchors


#: Counts the next period from the anchor, as everywhere (periods.add_months).
_OPEN_AGAIN: Final = """
UPDATE billing_billingsegment
   SET stop_on = NULL, next_on = (anchor + make_interval(months => next_no))::date
 WHERE id = ANY(%s::bigint[])
"""


def _still_runs(segment: BillingSegment, on: dt.date) -> bool:
    """Whether it was not stopped, or the last period that began is not over on ``on``."""
    if segment.stop_on is None:
        return True
    return anchor_after_pause(segment.anchor, segment.stop_on, on) == segment.anchor


def _first(subscription: Subscription, running: Begun | None) -> BillingSegment:
    segment = _segment(subscription, 1, subscription.anchor)
    if running is not None:
        segment.continues = running.segment
        segment.first_no = segment.next_no = running.period.number + 1
        segment.next_on = running.period.end
    return segment


def _segment(subscription: Subscription, number: int, anchor: dt.date) -> BillingSegment:
    return BillingSegment(
        partner_id=subscription.partner_id,
        environment=subscription.environment,
        subscription=subscription,
        number=number,
        anchor=anchor,
        next_on=anchor,
    )
