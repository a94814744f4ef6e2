"""Change the broker accounts and sizes of a running subscription, from its next entry on.

A change never opens a billed month, and open positions are managed as they were entered. It is
audited, and partners get ``subscription.updated`` (docs/subscriptions.md#allocations).
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any, Final, TypedDict

from django.db import IntegrityError, transaction

from quantleap.core.audit import Actor
from quantleap.core.clock import ist_date
from quantleap.core.errors import InvalidRequest, NotFound
from quantleap.core.inserts import constraint_of
from quantleap.core.money import json_number
from subscriptions import events, limits
from subscriptions.errors import (
    AllocationAmbiguous,
    AllocationExists,
    LastAllocation,
    TransitionRefused,
)
from subscriptions.hold_state import settle
from subscriptions.lifecycle import CANCELLED
from subscriptions.models import Allocation, Subscription
from subscriptions.ports import ENTRY_GATE
from subscriptions.services.account_choices import (
    AccountChoice,
    allocate,
    check_multipliers,
    cleaned,
    refuse_beyond_limits,
)
from subscriptions.services.transitions import TransitionResult, lock_subscription

_ONE_EACH: Final = "allocation_account_uniq"
#: The cause that the trading day shows for an entry that was taken back.
_REMOVED: Final = "REMOVED"


class AllocationChanges(TypedDict, total=False):
    """What to change: lots per base lot, order among accounts, lots per order (None: no limit)."""

    lot_multiplier: Decimal
    priority: int
    max_lots_per_order: int | None


def change_allocation(
    *,
    subscription_id: int,
    changes: AllocationChanges,
    actor: Actor,
    now: dt.datetime,
    allocation_id: str = "",
) -> TransitionResult:
    """Change size, priority or lots per order of one account, or of the only one.

    ``next_entry_affected`` is False where an entry is being computed or was committed: it goes out
    as it was. Raises NotFound; TransitionRefused for a cancelled subscription; AllocationAmbiguous
    if there are several accounts and none is named; InvalidRequest for a size that the template
    cannot be entered with.
    """
    with transaction.atomic():
        subscription = _locked(subscription_id)
        allocation = _named(subscription, allocation_id)
        before = _shown(allocation)
        for name, value in changes.items():
            setattr(allocation, name, value)
        if _shown(allocation) == before:
            return TransitionResult(subscription, changed=False, next_entry_affected=False)
        _check(subscription, _as_choice(allocation), now)
        allocation.save(update_fields=list(changes))
        affected = ENTRY_GATE.get().resize_armed([allocation.pk], now=now)
        _record(subscription, before=before, after=_shown(allocation), actor=actor, now=now)
    return TransitionResult(subscription, changed=True, next_entry_affected=affected)


def add_allocation(
    *, subscription_id: int, choice: AccountChoice, actor: Actor, now: dt.datetime
) -> TransitionResult:
    """Trade on one more account. It joins the next entry that is not being computed yet.

    A subscription that was paused because it had no account stays paused until it is resumed.
    Raises NotFound; TransitionRefused for a cancelled subscription; AllocationExists for an account
    that it trades on; InvalidRequest for an account or a size that does not fit; ClientIdTaken.
    """
    with transaction.atomic():
        subscription, added = _with_account(subscription_id, choice, actor, now)
        if subscription.allocations.filter(status=Allocation.Status.ACTIVE).count() > (
            limits.MAX_ALLOCATIONS
        ):
            words = f"At most {limits.MAX_ALLOCATIONS} accounts."
            raise InvalidRequest(words, details={"broker_client_id": words})
        settle([subscription], actor=actor, now=now)
        _record(subscription, before=None, after=_shown(added), actor=actor, now=now)
    return TransitionResult(subscription, changed=True, next_entry_affected=True)


def swap_account(
    *,
    subscription_id: int,
    allocation_id: str,
    choice: AccountChoice,
    actor: Actor,
    now: dt.datetime,
) -> TransitionResult:
    """Trade on another account instead of this one, with the sizes of ``choice``.

    What the old account holds is managed to its exit. In the last seconds before an entry the old
    account no longer enters and the new one does not enter yet. Raises what
    :func:`add_allocation` raises.
    """
    with transaction.atomic():
        subscription, added = _with_account(subscription_id, choice, actor, now)
        old = _named(subscription, allocation_id)
        affected = _leave(old, now)
        settle([subscription], actor=actor, now=now)
        _record(subscription, before=_shown(old), after=_shown(added), actor=actor, now=now)
    return TransitionResult(subscription, changed=True, next_entry_affected=affected)


def remove_allocation(
    *, subscription_id: int, allocation_id: str, actor: Actor, now: dt.datetime
) -> TransitionResult:
    """Stop trading on one of several accounts; what it holds is managed to its exit.

    Raises NotFound; TransitionRefused for a cancelled subscription; LastAllocation for its only
    account: a subscription that cannot trade would still be billed.
    """
    with transaction.atomic():
        subscription = _locked(subscription_id)
        allocation = _named(subscription, allocation_id)
        others = subscription.allocations.filter(status=Allocation.Status.ACTIVE)
        if not others.exclude(pk=allocation.pk).exists():
            raise LastAllocation(
                "This is the subscription's only account: add another one first, exchange it, "
                "pause or cancel."
            )
        affected = _leave(allocation, now)
        settle([subscription], actor=actor, now=now)
        _record(subscription, before=_shown(allocation), after=None, actor=actor, now=now)
    return TransitionResult(subscription, changed=True, next_entry_affected=affected)


# -- rows ------------------------------------------------------------------------------------------
def _locked(subscription_id: int) -> Subscription:
    """A live subscription, locked before its allocations, as arming locks them."""
    subscription = lock_subscription(subscription_id)
    if subscription.status == CANCELLED:
        raise TransitionRefused(
            "This subscription is cancelled.",
            status=subscription.status,
            status_reason=subscription.status_reason or None,
        )
    return subscription


def _named(subscription: Subscription, public_id: str) -> Allocation:
    """The allocation with this id, or the only one, locked."""
    rows = (
        subscription.allocations.select_for_update(of=("self",))
        .select_related("account")
        .filter(status=Allocation.Status.ACTIVE)
    )
    if public_id:
        allocation = rows.filter(public_id=public_id).first()
        if allocation is None:
            raise NotFound
        return allocation
    found = list(rows)
    if len(found) > 1:
        raise AllocationAmbiguous(
            "This subscription trades on several accounts: name one of its allocations.",
            allocation_ids=[allocation.public_id for allocation in found],
        )
    if not found:
        raise AllocationAmbiguous(
            "This subscription has no account: add one first.", allocation_ids=[]
        )
    return found[0]


def _with_account(
    subscription_id: int, choice: AccountChoice, actor: Actor, now: dt.datetime
) -> tuple[Subscription, Allocation]:
    """Store one more account; returns the locked subscription and its new allocation.

    The account is locked before the subscription, as its removal does: otherwise each would wait
    for the other.
    """
    rows = Subscription.objects.select_related("customer", "template")
    known = rows.filter(pk=subscription_id).first()
    if known is None:
        raise NotFound
    choice = cleaned(choice, known.partner_id)
    refuse_beyond_limits(choice)
    try:
        with transaction.atomic():
            allocation = allocate(known, choice, actor, now)
    except IntegrityError as error:
        if constraint_of(error) != _ONE_EACH:
            raise
        raise AllocationExists("The subscription already trades on this account.") from error
    locked = _locked(subscription_id)
    _check(locked, choice, now)
    return locked, allocation


def _leave(allocation: Allocation, now: dt.datetime) -> bool:
    """Withdraw the allocation; returns ``next_entry_affected``."""
    allocation.status = Allocation.Status.REMOVED
    allocation.save(update_fields=["status"])
    return ENTRY_GATE.get().withdraw_allocations([allocation.pk], reason=_REMOVED, now=now)


def _check(subscription: Subscription, choice: AccountChoice, now: dt.datetime) -> None:
    refuse_beyond_limits(choice)
    check_multipliers(subscription.template, [choice], ist_date(now))


def _as_choice(allocation: Allocation) -> AccountChoice:
    return AccountChoice(
        client_id=allocation.account.client_id,
        broker=allocation.account.broker,
        lot_multiplier=allocation.lot_multiplier,
        priority=allocation.priority,
        max_lots_per_order=allocation.max_lots_per_order,
    )


# -- audit and event -------------------------------------------------------------------------------
def _shown(allocation: Allocation) -> dict[str, Any]:
    return {
        "allocation_id": allocation.public_id,
        "broker_id": allocation.account.broker,
        "client_id": allocation.account.client_id,
        "lot_multiplier": json_number(Decimal(allocation.lot_multiplier)),
        "priority": allocation.priority,
        "max_lots_per_order": allocation.max_lots_per_order,
    }


def _record(
    subscription: Subscription,
    *,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
    actor: Actor,
    now: dt.datetime,
) -> None:
    events.record(events.UPDATED, subscription, actor=actor, now=now, before=before, after=after)
