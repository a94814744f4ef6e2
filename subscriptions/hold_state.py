"""The open holds of a subscription and the status that follows (docs/subscriptions.md#lifecycle).

The status of a subscription depends on its open holds alone. A service that changes a hold settles
the subscriptions under it in the same transaction, with their rows locked. If a suspended partner's
customers may trade until a given day, the suspension holds from the next day on, even before its
row exists (adr 0057).
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from django.db.models import Q, QuerySet

from partners.models import Partner
from quantleap.core.audit import Actor
from quantleap.core.clock import at_ist, ist_date
from quantleap.core.tenancy import Environment
from subscriptions import events
from subscriptions.lifecycle import CANCELLED, PARTNER_SUSPENDED, PAUSED, strongest
from subscriptions.models import Allocation, Hold, Subscription
from subscriptions.periods import anchor_after_pause
from subscriptions.ports import BILLING, ENTRY_GATE

_DAY: Final = dt.timedelta(days=1)
#: Shown to customers and the partner, who must not learn the reason of the suspension.
SUSPENDED: Final = "The partner is suspended."


def open_holds() -> QuerySet[Hold]:
    """Holds that have not been lifted."""
    return Hold.objects.filter(lifted_at__isnull=True)


def holds_on(subscriptions: Collection[Subscription], today: dt.date) -> dict[int, list[Hold]]:
    """Subscription key -> the holds that apply on ``today`` (IST), newest first (3 queries).

    A hold of a broker account applies to subscriptions that have no other account, and still
    applies after the account was removed. Bug: a customer removed a held account, and was billed
    for a new month in which nothing could trade. A suspension that is due but has no row yet is an
    unsaved Hold, placed last.
    """
    holds: dict[int, list[Hold]] = {subscription.pk: [] for subscription in subscriptions}
    by_customer, by_partner = defaultdict(list), defaultdict(list)
    for subscription in subscriptions:
        by_customer[subscription.customer_id].append(subscription.pk)
        by_partner[subscription.partner_id, subscription.environment].append(subscription.pk)
    accounts = _accounts_of(holds)
    hold_rows = open_holds().filter(
        Q(subscription_id__in=list(holds))
        | Q(customer_id__in=list(by_customer))
        | Q(
            account_id__in={
                account for own_accounts in accounts.values() for account in own_accounts
            }
        )
        | Q(
            scope=Hold.Scope.PARTNER,
            partner_id__in={subscription.partner_id for subscription in subscriptions},
        )
    )
    on_accounts: dict[int, list[Hold]] = defaultdict(list)
    for hold in hold_rows.order_by("-id"):
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
            holds[key].append(hold)
    if on_accounts:
        for key, own_accounts in accounts.items():
            if not any(
                trades and account not in on_accounts for account, trades in own_accounts.items()
            ):
                holds[key].extend(hold for account in own_accounts for hold in on_accounts[account])
                holds[key].sort(key=lambda hold: -hold.pk)
    partners = {
        subscription.partner_id
        for subscription in subscriptions
        if subscription.partner_id is not None
    }
    for due in _due_suspensions(partners, today):
        for key in by_partner.get((due.partner_id, due.environment), ()):
            if all(hold.holder != PARTNER_SUSPENDED for hold in holds[key]):
                holds[key].append(due)
    return holds


def _due_suspensions(partner_ids: Collection[int], today: dt.date) -> list[Hold]:
    """Unsaved holds that beat will place: the partner's customers traded until before ``today``."""
    over = Partner.objects.filter(pk__in=partner_ids, run_until__lt=today)
    return [
        Hold(
            scope=Hold.Scope.PARTNER,
            holder=PARTNER_SUSPENDED,
            partner_id=partner_id,
            environment=environment,
            note=SUSPENDED,
            placed_at=at_ist(run_until + _DAY, dt.time()),
        )
        for partner_id, run_until in over.values_list("pk", "run_until")
        for environment in Environment.values
        if run_until is not None
    ]


def without_account(subscription_ids: Iterable[int]) -> set[int]:
    """Keys of the subscriptions whose last broker account was removed (1 query)."""
    accounts = _accounts_of(subscription_ids)
    return {key for key, own_accounts in accounts.items() if not any(own_accounts.values())}


def _accounts_of(subscription_ids: Iterable[int]) -> dict[int, dict[int, bool]]:
    """Subscription key -> {account key: whether the subscription still trades on it}."""
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
) -> tuple[list[Subscription], bool]:
    """Set the status of locked, loaded subscriptions to what their open holds require.

    Returns those whose status or shown reason changed, and ``next_entry_affected``: False if an
    entry of one of them was committed already and still goes out. ``tell``: write audit entries and
    events for the changed ones. A subscription whose last day is over is not resumed.
    """
    holds = holds_on(subscriptions, ist_date(now))
    paused: list[Subscription] = []
    resumed: list[Subscription] = []
    renamed: list[Subscription] = []
    for subscription in subscriptions:
        if subscription.status == CANCELLED:
            continue
        shown = shown_of(holds[subscription.pk])
        if not shown and subscription.status == PAUSED and _is_over(subscription, now):
            continue
        reason, note = (shown.holder, shown.note) if shown else ("", "")
        if (subscription.status == PAUSED) != bool(shown):
            (paused if shown else resumed).append(subscription)
        elif shown and (reason, note) != (subscription.status_reason, subscription.status_note):
            renamed.append(subscription)
        else:
            continue
        subscription.status_reason, subscription.status_note = reason, note
    _pause(paused, now)
    _resume(resumed, now)
    _write([*paused, *resumed, *renamed])
    affected = True
    if paused:
        keys = [subscription.pk for subscription in paused]
        affected = ENTRY_GATE.get().withdraw_armed(keys, reason=PAUSED, now=now)
    if tell:
        events.record_many(events.PAUSED, [*paused, *renamed], actor=actor, now=now)
        events.record_many(events.RESUMED, resumed, actor=actor, now=now)
    return [*paused, *resumed, *renamed], affected


def shown_of(holds: Sequence[Hold]) -> Hold | None:
    """The hold to show, of holds ordered newest first: the strongest, of several the newest."""
    strong = strongest({hold.holder for hold in holds})
    return next((hold for hold in holds if hold.holder == strong), None)


def _is_over(subscription: Subscription, now: dt.datetime) -> bool:
    """Whether its last day is over: the next pass of services.suspensions cancels it."""
    return subscription.ends_on is not None and subscription.ends_on <= ist_date(now)


def _pause(subscriptions: Sequence[Subscription], now: dt.datetime) -> None:
    for subscription in subscriptions:
        subscription.status, subscription.status_changed_at = Subscription.Status.PAUSED, now
    BILLING.get().stop([subscription.pk for subscription in subscriptions], on=ist_date(now))


def _resume(subscriptions: Sequence[Subscription], now: dt.datetime) -> None:
    today = ist_date(now)
    billed = [subscription for subscription in subscriptions if subscription.is_billed]
    anchors = BILLING.get().resume(billed, on=today)
    ending: dict[dt.date, list[int]] = defaultdict(list)
    for subscription in subscriptions:
        if subscription.pk in anchors:
            subscription.anchor = anchors[subscription.pk]
            if subscription.ends_on is not None:  # lifting a hold does not renew it
                ending[subscription.ends_on].append(subscription.pk)
        else:
            subscription.anchor = anchor_after_pause(
                subscription.anchor, ist_date(subscription.status_changed_at), today
            )
        subscription.status, subscription.status_changed_at = Subscription.Status.ACTIVE, now
    for day, keys in ending.items():  # a month has 31 at most
        BILLING.get().stop(keys, on=day - _DAY)


def _write(subscriptions: Sequence[Subscription]) -> None:
    Subscription.objects.bulk_update(
        subscriptions,
        ("status", "status_reason", "status_note", "status_changed_at", "anchor"),
        batch_size=1000,
    )
