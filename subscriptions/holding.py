"""What holds a subscription now, and what it therefore is (docs/subscriptions.md#lifecycle).

The status of a subscription follows from its open holds and from nothing else; whoever changes a
hold settles the subscriptions under it in the same transaction, their rows locked.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from django.db.models import Q, QuerySet

from quantleap.core.audit import Actor
from quantleap.core.clock import ist_date
from subscriptions import events
from subscriptions.billing import segments
from subscriptions.lifecycle import CANCELLED, PAUSED, strongest
from subscriptions.models import Allocation, Hold, Subscription
from subscriptions.periods import anchor_after_pause
from subscriptions.ports import ENTRY_GATE

_DAY: Final = dt.timedelta(days=1)


def open_holds() -> QuerySet[Hold]:
    """Holds that nobody has lifted."""
    return Hold.objects.filter(lifted_at__isnull=True)


def holds_on(subscriptions: Collection[Subscription]) -> dict[int, list[Hold]]:
    """Subscription key -> what keeps it from trading, newest first (three queries at most).

    A held broker account keeps those from trading that have no other one. That it was removed is no
    way out: seen was one who did, and was billed for a new month in which nothing could trade.
    """
    found: dict[int, list[Hold]] = {one.pk: [] for one in subscriptions}
    by_customer, by_partner = defaultdict(list), defaultdict(list)
    for one in subscriptions:
        by_customer[one.customer_id].append(one.pk)
        by_partner[one.partner_id, one.environment].append(one.pk)
    accounts = _accounts_of(found)
    held = open_holds().filter(
        Q(subscription_id__in=list(found))
        | Q(customer_id__in=list(by_customer))
        | Q(account_id__in={account for mine in accounts.values() for account in mine})
        | Q(scope=Hold.Scope.PARTNER, partner_id__in={one.partner_id for one in subscriptions})
    )
    on_accounts: dict[int, list[Hold]] = defaultdict(list)
    for hold in held.order_by("-id"):
        if hold.account_id is not None:
            on_accounts[hold.account_id].append(hold)
            continue
        for key in (
            [hold.subscription_id]
            if hold.subscription_id is not None
            else by_customer.get(hold.customer_id or 0, ())
            if hold.customer_id is not None
            else by_partner.get((hold.partner_id, hold.environment), ())
        ):
            found[key].append(hold)
    if on_accounts:
        for key, mine in accounts.items():
            if not any(trades and account not in on_accounts for account, trades in mine.items()):
                found[key].extend(hold for account in mine for hold in on_accounts[account])
                found[key].sort(key=lambda hold: -hold.pk)
    return found


def _accounts_of(subscription_ids: Iterable[int]) -> dict[int, dict[int, bool]]:
    """Subscription key -> its accounts, and whether it still trades there."""
    accounts: dict[int, dict[int, bool]] = defaultdict(dict)
    rows = Allocation.objects.filter(subscription_id__in=list(subscription_ids)).values_list(
        "subscription_id", "account_id", "status"
    )
    for subscription_id, account_id, status in rows:
        trades = status == Allocation.Status.ACTIVE
        accounts[subscription_id][account_id] = trades
    return accounts


def settle(
    subscriptions: Sequence[Subscription],
    *,
    actor: Actor,
    now: dt.datetime,
    tell: bool = True,
    last_day: dt.date | None = None,
) -> tuple[list[Subscription], bool]:
    """Make the status of locked, loaded subscriptions what their open holds say.

    Returns those whose status or shown reason changed, and ``next_entry_affected``: False where an
    entry of theirs was committed already and goes out all the same. ``tell``: write audit entries
    and events for the changed ones. ``last_day`` (IST, today unless given) is the last one on which
    a period of those that pause may begin. Whoever was to end by today is not resumed any more.
    """
    held = holds_on(subscriptions)
    paused: list[Subscription] = []
    resumed: list[Subscription] = []
    renamed: list[Subscription] = []
    for one in subscriptions:
        if one.status == CANCELLED:
            continue
        shown = shown_of(held[one.pk])
        if not shown and one.status == PAUSED and _is_over(one, now):
            continue
        reason, note = (shown.holder, shown.note) if shown else ("", "")
        if (one.status == PAUSED) != bool(shown):
            (paused if shown else resumed).append(one)
        elif shown and (reason, note) != (one.status_reason, one.status_note):
            renamed.append(one)
        else:
            continue
        one.status_reason, one.status_note = reason, note
    _pause(paused, now, last_day)
    _resume(resumed, now)
    _write([*paused, *resumed, *renamed])
    affected = True
    if paused:
        keys = [one.pk for one in paused]
        affected = ENTRY_GATE.get().withdraw_armed(keys, reason=PAUSED, now=now)
    if tell:
        events.tell_many(events.PAUSED, [*paused, *renamed], actor=actor, now=now)
        events.tell_many(events.RESUMED, resumed, actor=actor, now=now)
    return [*paused, *resumed, *renamed], affected


def shown_of(holds: Sequence[Hold]) -> Hold | None:
    """Of holds, the newest first, the one that is shown: the strongest, of several the newest."""
    strong = strongest({hold.holder for hold in holds})
    return next((hold for hold in holds if hold.holder == strong), None)


def _is_over(subscription: Subscription, now: dt.datetime) -> bool:
    """It is cancelled as soon as somebody comes by (services.suspensions)."""
    return subscription.ends_on is not None and subscription.ends_on <= ist_date(now)


def _pause(
    subscriptions: Sequence[Subscription], now: dt.datetime, last_day: dt.date | None
) -> None:
    for one in subscriptions:
        one.status, one.status_changed_at = Subscription.Status.PAUSED, now
    segments.stop([one.pk for one in subscriptions], on=last_day or ist_date(now))


def _resume(subscriptions: Sequence[Subscription], now: dt.datetime) -> None:
    today = ist_date(now)
    for one in subscriptions:
        if segments.is_billed(one):
            one.anchor = segments.resume(one, on=today)
            if one.ends_on is not None:  # it is not renewed, whoever lets it go meanwhile
                segments.stop([one.pk], on=one.ends_on - _DAY)
        else:
            one.anchor = anchor_after_pause(one.anchor, ist_date(one.status_changed_at), today)
        one.status, one.status_changed_at = Subscription.Status.ACTIVE, now


def _write(subscriptions: Sequence[Subscription]) -> None:
    Subscription.objects.bulk_update(
        subscriptions,
        ("status", "status_reason", "status_note", "status_changed_at", "anchor"),
        batch_size=1000,
    )
