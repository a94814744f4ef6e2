"""What holds a subscription now, and what it therefore is (execution.md I7, lifecycle).

The status of a subscription follows from its open holds and from nothing else; whoever changes a
hold settles the subscriptions under it in the same transaction, their rows locked.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from django.db.models import Q, QuerySet

from quantleap.core.audit import Actor
from quantleap.core.clock import ist_date
from subscriptions import events
from subscriptions.billing import segments
from subscriptions.lifecycle import CANCELLED, PAUSED, strongest
from subscriptions.models import Allocation, Hold, Subscription
from subscriptions.periods import anchor_after_pause
from subscriptions.ports import ENTRY_GATE


def open_holds() -> QuerySet[Hold]:
    """Holds that nobody has lifted."""
    return Hold.objects.filter(lifted_at__isnull=True)


def holds_on(subscriptions: Collection[Subscription]) -> dict[int, list[Hold]]:
    """Subscription key -> what keeps it from trading, newest first (three queries at most).

    A held broker account keeps those from trading that have no other one.
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
    for key, mine in accounts.items():
        if on_accounts and all(account in on_accounts for account in mine):
            found[key].extend(hold for account in mine for hold in on_accounts[account])
    return found


def _accounts_of(subscription_ids: Iterable[int]) -> dict[int, list[int]]:
    accounts: dict[int, list[int]] = defaultdict(list)
    rows = Allocation.objects.filter(
        subscription_id__in=list(subscription_ids), status=Allocation.Status.ACTIVE
    ).values_list("subscription_id", "account_id")
    for subscription_id, account_id in rows:
        accounts[subscription_id].append(account_id)
    return accounts


def settle(
    subscriptions: Sequence[Subscription], *, actor: Actor, now: dt.datetime, tell: bool = True
) -> tuple[list[Subscription], bool]:
    """Make the status of locked, loaded subscriptions what their open holds say.

    Returns those whose status or shown reason changed, and ``next_entry_affected``: False where an
    entry of theirs was committed already and goes out all the same. ``tell``: write audit entries
    and events for the changed ones.
    """
    held = holds_on(subscriptions)
    paused: list[Subscription] = []
    resumed: list[Subscription] = []
    renamed: list[Subscription] = []
    for one in subscriptions:
        if one.status == CANCELLED:
            continue
        shown = _shown(held[one.pk])
        reason, note = (shown.holder, shown.note) if shown else ("", "")
        if (one.status == PAUSED) != bool(shown):
            (paused if shown else resumed).append(one)
        elif shown and (reason, note) != (one.status_reason, one.status_note):
            renamed.append(one)
        else:
            continue
        one.status_reason, one.status_note = reason, note
    _pause(paused, now)
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


def _shown(holds: Sequence[Hold]) -> Hold | None:
    """The strongest, of several the newest."""
    strong = strongest({hold.holder for hold in holds})
    return next((hold for hold in holds if hold.holder == strong), None)


def _pause(subscriptions: Sequence[Subscription], now: dt.datetime) -> None:
    for one in subscriptions:
        one.status, one.status_changed_at = Subscription.Status.PAUSED, now
    segments.stop([one.pk for one in subscriptions], on=ist_date(now))


def _resume(subscriptions: Sequence[Subscription], now: dt.datetime) -> None:
    today = ist_date(now)
    for one in subscriptions:
        if segments.is_billed(one):
            one.anchor = segments.resume(one, on=today)
        else:
            one.anchor = anchor_after_pause(one.anchor, ist_date(one.status_changed_at), today)
        one.status, one.status_changed_at = Subscription.Status.ACTIVE, now


def _write(subscriptions: Sequence[Subscription]) -> None:
    Subscription.objects.bulk_update(
        subscriptions,
        ("status", "status_reason", "status_note", "status_changed_at", "anchor"),
        batch_size=1000,
    )
