"""What subscribing, pausing, resuming and cancelling mean for billing (money.md, periods).

Each writes only IST dates, so that what is billed never depends on when a run comes by.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection

from django.db.models import Case, F, Q, When
from django.db.models.functions import Greatest

from quantleap.core.tenancy import Environment
from subscriptions.billing.models import BillingSegment
from subscriptions.models import Subscription
from subscriptions.periods import add_months, next_billing_date


def is_billed(subscription: Subscription) -> bool:
    """Whether it is billed at all: not the free ones, not the test environment."""
    return subscription.environment == Environment.LIVE and subscription.monthly_fee > 0


def open_first(subscriptions: Collection[Subscription]) -> int:
    """First segments of new, saved subscriptions, from their anchors; how many are billed."""
    segments = [_segment(one, 1, one.anchor) for one in subscriptions if is_billed(one)]
    return len(BillingSegment.objects.bulk_create(segments, batch_size=2000))


def stop(subscription_ids: Collection[int], *, on: dt.date) -> int:
    """Bill no period that begins after ``on`` (IST date of the pause or cancellation).

    Periods that began are billed, also by a run that comes later. A segment that was stopped
    for an earlier day keeps it. How many were stopped.
    """
    last = Greatest(on, F("anchor"))
    return BillingSegment.objects.filter(
        Q(stop_on__isnull=True) | Q(stop_on__gt=on), subscription_id__in=subscription_ids
    ).update(stop_on=last, next_on=Case(When(next_on__lte=last, then=F("next_on"))))


def resume(subscription: Subscription, *, on: dt.date) -> dt.date:
    """Bill again from ``on`` (IST); the anchor from which periods are counted now.

    Before the paid period has ended the pause leaves no trace. After it a new segment begins with
    an anchor of its own, and nothing is billed for the time between.
    """
    newest = (
        BillingSegment.objects.for_partner(subscription.partner_id, subscription.environment)
        .select_for_update(no_key=True)
        .filter(subscription=subscription)
        .order_by("-number")
        .first()
    )
    if newest is None:
        _segment(subscription, 1, on).save(force_insert=True)
        return on
    if newest.stop_on is None:
        return newest.anchor
    if on < next_billing_date(newest.anchor, newest.stop_on):
        newest.stop_on = None
        newest.next_on = add_months(newest.anchor, newest.next_no)
        newest.save(update_fields=["stop_on", "next_on"])
        return newest.anchor
    _segment(subscription, newest.number + 1, on).save(force_insert=True)
    return on


def _segment(subscription: Subscription, number: int, anchor: dt.date) -> BillingSegment:
    return BillingSegment(
        partner_id=subscription.partner_id,
        environment=subscription.environment,
        subscription=subscription,
        number=number,
        anchor=anchor,
        next_on=anchor,
    )
