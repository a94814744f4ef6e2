"""Effects of a partner's suspension on its customers' subscriptions (adr 0051).

``partners.suspensions`` calls these through its port, in its transaction and with the partner's row
locked, so nobody can subscribe meanwhile. Changes that are due on a day are made in steps, each in
a transaction of the caller (adr 0057).
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

from django.db.models import Count, Q, QuerySet

from marketplace.services import adjust_subscriber_count
from partners.ports import Standing, Step
from quantleap.core.audit import SYSTEM, Actor
from quantleap.core.clock import ist_date
from quantleap.core.tenancy import Environment
from subscriptions.hold_state import SUSPENDED, open_holds, settle
from subscriptions.lifecycle import ACTIVE, HOLDERS, PARTNER_SUSPENDED
from subscriptions.models import Hold, Subscription
from subscriptions.periods import next_billing_date
from subscriptions.ports import BILLING
from subscriptions.services.holds import first_locked, lift_hold, locked, place_hold
from subscriptions.services.transitions import cancel_many

#: Subscriptions that one step changes; their rows are locked for less than a second.
STEP: Final = 500
#: Reasons shown before the suspension's hold exists: none, or a weaker holder.
_SHOWN_BEFORE: Final = ("", *HOLDERS[: HOLDERS.index(PARTNER_SUSPENDED)])
_DAY: Final = dt.timedelta(days=1)


def standing(partner_id: int) -> Standing:
    """Counts of a partner's live subscriptions, in both environments (1 query)."""
    held_environments = _suspension_holds(partner_id).values("environment")
    paused = Q(status=Subscription.Status.PAUSED)
    counts = _live(partner_id).aggregate(
        active=Count("pk", filter=Q(status=Subscription.Status.ACTIVE)),
        held=Count("pk", filter=paused & Q(environment__in=held_environments)),
        ending=Count("pk", filter=Q(ends_on__isnull=False)),
    )
    return Standing(**counts)


def hold_all(partner_id: int, *, actor: Actor, now: dt.datetime) -> int:
    """Place the suspension's hold in both environments; returns how many subscriptions it paused.

    It is separate from the holds of staff and of the partner: only reinstating lifts it.
    """
    paused = _active(partner_id).count()
    _place(partner_id, actor, now, settled=False)
    return paused


def pause_due(partner_id: int, *, now: dt.datetime) -> Step:
    """One step of pausing subscriptions after their last day; the last step places the hold itself.

    Until then the date alone holds them (:func:`subscriptions.hold_state.holds_on`), so what a step
    pauses stays paused.
    """
    waiting = _live(partner_id).filter(status_reason__in=_SHOWN_BEFORE)
    before = waiting.count()
    batch = first_locked(waiting, STEP)
    active = sum(subscription.status == ACTIVE for subscription in batch)
    settle(batch, actor=SYSTEM, now=now)
    left = waiting.count()
    if not left:
        _place(partner_id, SYSTEM, now, settled=True)
    # Customers pause meanwhile, too; repeating a step that leaves as many would never end.
    return Step(active, left, more=0 < left < before)


def _place(partner_id: int, actor: Actor, now: dt.datetime, *, settled: bool) -> None:
    for environment in Environment.values:
        place_hold(
            scope=Hold.Scope.PARTNER,
            target_id=partner_id,
            environment=environment,
            holder=PARTNER_SUSPENDED,
            note=SUSPENDED,
            actor=actor,
            now=now,
            settled=settled,
        )


def release_all(partner_id: int, *, note: str, actor: Actor, now: dt.datetime) -> int:
    """Lift the suspension's hold and no other; returns how many subscriptions trade again."""
    hold_ids = list(
        _suspension_holds(partner_id).order_by("environment").values_list("pk", flat=True)
    )
    for hold_id in hold_ids:
        lift_hold(hold_id=hold_id, who=PARTNER_SUSPENDED, note=note, actor=actor, now=now)
    # All that are active now were paused before: the hold covered both environments.
    return _active(partner_id).count() if hold_ids else 0


def end_when_paid(partner_id: int, *, actor: Actor, now: dt.datetime) -> Step:
    """Renew none of them: each ends with its current period, which is the last one billed.

    Free ones and those of the test environment end with the current month from their anchor. A
    paused one whose period is over ends now.
    """
    today = ist_date(now)
    ending, over = 0, Counter[int]()
    for batch in locked(_live(partner_id)):
        for subscription in batch:
            subscription.ends_on = max(_paid_until(subscription, today), today)
        Subscription.objects.bulk_update(batch, ("ends_on",), batch_size=1000)
        BILLING.get().stop([subscription.pk for subscription in batch], on=today)
        ended = [subscription for subscription in batch if subscription.ends_on == today]
        _end(ended, over, actor, now)
        ending += len(batch) - len(ended)
    _count_off(over)
    return Step(over.total(), ending, more=False)


def end_due(partner_id: int, *, now: dt.datetime) -> Step:
    """One step of cancelling subscriptions whose last day is over."""
    due = _ending(partner_id).filter(ends_on__lte=ist_date(now))
    over = Counter[int]()
    _end(first_locked(due, STEP), over, SYSTEM, now)
    _count_off(over)
    return Step(over.total(), _ending(partner_id).count(), more=due.exists())


def keep_all(partner_id: int, *, now: dt.datetime) -> int:
    """Renew again what was to end and has not; returns how many. Paused ones stay paused."""
    renewed = 0
    for batch in locked(_ending(partner_id)):
        billed = [
            subscription
            for subscription in batch
            if subscription.status == ACTIVE and subscription.is_billed
        ]
        # Their periods are not over, so each continues from its own anchor.
        BILLING.get().resume(billed, on=ist_date(now))
        Subscription.objects.filter(pk__in=[subscription.pk for subscription in batch]).update(
            ends_on=None
        )
        renewed += len(batch)
    return renewed


def _suspension_holds(partner_id: int) -> QuerySet[Hold]:
    """The suspension's open holds: one per environment."""
    return open_holds().filter(
        scope=Hold.Scope.PARTNER, partner_id=partner_id, holder=PARTNER_SUSPENDED
    )


def _live(partner_id: int) -> QuerySet[Subscription]:
    return Subscription.objects.filter(partner_id=partner_id).exclude(
        status=Subscription.Status.CANCELLED
    )


def _active(partner_id: int) -> QuerySet[Subscription]:
    return _live(partner_id).filter(status=Subscription.Status.ACTIVE)


def _ending(partner_id: int) -> QuerySet[Subscription]:
    return _live(partner_id).filter(ends_on__isnull=False)


def _paid_until(subscription: Subscription, today: dt.date) -> dt.date:
    """First day (IST) after the period in which it last traded."""
    last = today if subscription.status == ACTIVE else ist_date(subscription.status_changed_at)
    return next_billing_date(subscription.anchor, last)


def _end(
    subscriptions: Sequence[Subscription], over: Counter[int], actor: Actor, now: dt.datetime
) -> None:
    """Cancel them and count them in ``over`` by template."""
    if not subscriptions:
        return
    # First, because a cancellation bills a period that begins on its day, which is not to be
    # billed.
    by_day: dict[dt.date, list[int]] = defaultdict(list)
    for subscription in subscriptions:
        by_day[subscription.ends_on or ist_date(now)].append(subscription.pk)
    for day, keys in by_day.items():
        BILLING.get().stop(keys, on=day - _DAY)
    cancel_many(subscriptions, reason=PARTNER_SUSPENDED, actor=actor, now=now)
    over.update(subscription.template_id for subscription in subscriptions)


def _count_off(over: Counter[int]) -> None:
    """Reduce the templates' subscriber counts; templates are locked last, in one order."""
    for template_id, count in sorted(over.items()):
        adjust_subscriber_count(template_id=template_id, delta=-count)
