"""Pause, resume and cancel; the effects of a withdrawn template and of a removed account.

The rules: docs/subscriptions.md#lifecycle.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from django.db import transaction

from marketplace.services import adjust_subscriber_count
from quantleap.core import audit
from quantleap.core.audit import Actor
from quantleap.core.clock import ist_date
from quantleap.core.errors import NotFound
from subscriptions import events
from subscriptions.errors import TransitionRefused
from subscriptions.hold_state import open_holds, settle, without_account
from subscriptions.lifecycle import (
    ACTIVE,
    CANCELLED,
    LASTING,
    NO_ACCOUNT,
    PAUSED,
    USER,
    Action,
    Verdict,
    liftable,
    refusal,
    verdict,
)
from subscriptions.models import Allocation, Hold, Subscription
from subscriptions.ports import BILLING, ENTRY_GATE
from subscriptions.services.holds import NOTE_LENGTH, end_holds, first_locked

# The reason that the trading day shows and explains for such an exit.
EXIT_REASON: Final = "EXIT_REQUESTED"
_BATCH: Final = 1000


class OpenPositions(StrEnum):
    """What happens to what is held: run to its exit, or exit at once."""

    MANAGE = "MANAGE"
    EXIT_NOW = "EXIT_NOW"


@dataclass(frozen=True, slots=True)
class TransitionResult:
    """``changed`` False: the subscription was in that state already.

    ``next_entry_affected`` False: nothing changed, or the next entry was already committed and
    still goes out, by I7 (no entry outside its window).
    """

    subscription: Subscription
    changed: bool
    next_entry_affected: bool


def pause(
    *,
    subscription_id: int,
    actor: Actor,
    reason: str,
    now: dt.datetime,
    open_positions: str = OpenPositions.MANAGE,
    note: str = "",
) -> TransitionResult:
    """Take no new entry until resumed. ``reason`` is the holder, ``note`` free text.

    It adds a hold to those of others; the subscription trades when none is left. Raises
    TransitionRefused (409) for a cancelled one; NotFound.
    """
    return _transition(
        Action.PAUSE,
        subscription_id,
        actor=actor,
        who=reason,
        open_positions=open_positions,
        note=note,
        now=now,
    )


def resume(
    *, subscription_id: int, actor: Actor, reason: str, now: dt.datetime, note: str = ""
) -> TransitionResult:
    """Lift the holds that the caller may lift (lifecycle.liftable); it trades if no other is left.

    If resumed after the period in which the pause began, it gets a new anchor. Raises
    TransitionRefused (409) with ``status_reason``; NotFound.
    """
    return _transition(
        Action.RESUME,
        subscription_id,
        actor=actor,
        who=reason,
        open_positions=OpenPositions.MANAGE,
        note=note,
        now=now,
    )


def cancel(
    *,
    subscription_id: int,
    actor: Actor,
    reason: str,
    now: dt.datetime,
    open_positions: str = OpenPositions.MANAGE,
    note: str = "",
) -> TransitionResult:
    """End it for good. Raises NotFound."""
    return _transition(
        Action.CANCEL,
        subscription_id,
        actor=actor,
        who=reason,
        open_positions=open_positions,
        note=note,
        now=now,
    )


def _transition(
    action: Action,
    subscription_id: int,
    *,
    actor: Actor,
    who: str,
    open_positions: str,
    note: str,
    now: dt.datetime,
) -> TransitionResult:
    note = note.strip()[:NOTE_LENGTH]
    with transaction.atomic():
        subscription = lock_subscription(subscription_id)
        own = list(open_holds().filter(subscription=subscription))
        accountless = action is Action.RESUME and bool(without_account([subscription.pk]))
        decided = verdict(
            action,
            who,
            explained=bool(note),
            cancelled=subscription.status == CANCELLED,
            own={hold.holder for hold in own},
            held=subscription.status == PAUSED,
            accountless=accountless,
        )
        if decided is Verdict.REFUSE:
            raise _refused(action, who, subscription, accountless)
        affected = False
        if decided is Verdict.CHANGE:
            if action is Action.RESUME:
                holders = liftable(who, explained=bool(note), accountless=accountless)
                own = [hold for hold in own if hold.holder in holders]
            affected = _change(
                action, subscription, own=own, who=who, note=note, actor=actor, now=now
            )
        if open_positions == OpenPositions.EXIT_NOW:
            _exit(subscription, actor, now)
    return TransitionResult(subscription, decided is Verdict.CHANGE, affected)


def lock_subscription(subscription_id: int) -> Subscription:
    """A subscription with customer and template, locked until commit. Raises NotFound.

    no_key: invoices refer to the subscription. A billing run that holds the segment and writes an
    invoice would wait for a stronger lock while we wait for its segment.
    """
    subscription = (
        Subscription.objects.select_for_update(of=("self",), no_key=True)
        .select_related("customer", "template")
        .filter(pk=subscription_id)
        .first()
    )
    if subscription is None:
        raise NotFound
    return subscription


def _refused(
    action: Action, who: str, subscription: Subscription, accountless: bool
) -> TransitionRefused:
    words = refusal(
        action,
        who,
        cancelled=subscription.status == CANCELLED,
        reason=subscription.status_reason,
        accountless=accountless,
    )
    return TransitionRefused(
        words, status=subscription.status, status_reason=subscription.status_reason or None
    )


def _change(
    action: Action,
    subscription: Subscription,
    *,
    own: list[Hold],
    who: str,
    note: str,
    actor: Actor,
    now: dt.datetime,
) -> bool:
    """Write what was decided; returns ``next_entry_affected``.

    ``own`` are the subscription's open holds; for a resumption those that the caller may lift.
    """
    if action is Action.CANCEL:
        end_holds(
            [hold for hold in own if hold.holder not in LASTING], note="", actor=actor, now=now
        )
        return _cancel(subscription, who, note, actor, now)
    if action is Action.PAUSE:
        Hold.objects.create(
            scope=Hold.Scope.SUBSCRIPTION,
            holder=who,
            partner_id=subscription.partner_id,
            environment=subscription.environment,
            subscription=subscription,
            note=note,
            placed_at=now,
            placed_by=str(actor),
        )
    else:
        end_holds(own, note=note, actor=actor, now=now)
    status_before = subscription.status
    _, affected = settle([subscription], actor=actor, now=now, tell=False)
    active = subscription.status == ACTIVE
    if active:
        # The reason for resuming stays visible until the next pause.
        Subscription.objects.filter(pk=subscription.pk).update(status_note=note)
        subscription.status_note = note
    events.record(events.RESUMED if active else events.PAUSED, subscription, actor=actor, now=now)
    return affected and subscription.status != status_before


def _cancel(
    subscription: Subscription, who: str, note: str, actor: Actor, now: dt.datetime
) -> bool:
    subscription.status, subscription.status_reason = Subscription.Status.CANCELLED, who
    subscription.status_note = note
    subscription.status_changed_at = subscription.cancelled_at = now
    subscription.save(
        update_fields=[
            "status",
            "status_reason",
            "status_note",
            "status_changed_at",
            "cancelled_at",
        ]
    )
    BILLING.get().stop([subscription.pk], on=ist_date(now))
    affected = ENTRY_GATE.get().withdraw_armed([subscription.pk], reason=CANCELLED, now=now)
    adjust_subscriber_count(template_id=subscription.template_id, delta=-1)
    events.record(events.CANCELLED, subscription, actor=actor, now=now)
    return affected


def _exit(subscription: Subscription, actor: Actor, now: dt.datetime) -> None:
    """Exit open positions, even if the status did not change: the caller wants to be out."""
    reached = ENTRY_GATE.get().request_exit(
        [subscription.pk], reason=OpenPositions.EXIT_NOW.value, now=now
    )
    if reached:
        audit.record(
            actor=actor,
            action="subscription.exit_requested",
            target_type="subscription",
            target_id=subscription.public_id,
            partner_id=subscription.partner_id,
            environment=subscription.environment,
            data={"executions": reached},
        )


def cancel_for_withdrawal(template_id: int, *, actor: Actor, now: dt.datetime) -> int:
    """Cancel every live subscription of a template, in the withdrawal's transaction.

    Open positions run to their exit; what was paid for the days after today is credited later
    (docs/billing.md#withdrawn-templates). Works in batches of a few statements each.
    """
    reason = Subscription.Reason.TEMPLATE_WITHDRAWN
    total = 0
    with transaction.atomic():
        while True:
            batch = list(
                Subscription.objects.select_for_update(of=("self",), no_key=True)
                .select_related("customer", "template")
                .filter(template_id=template_id)
                .exclude(status=Subscription.Status.CANCELLED)
                .order_by("pk")[:_BATCH]
            )
            if not batch:
                break
            cancel_many(batch, reason=reason, actor=actor, now=now)
            BILLING.get().expect_credits(batch, on=ist_date(now), now=now)
            total += len(batch)
        if total:
            adjust_subscriber_count(template_id=template_id, delta=-total)
    return total


def cancel_many(
    subscriptions: Sequence[Subscription], *, reason: str, actor: Actor, now: dt.datetime
) -> None:
    """Cancel live subscriptions, locked and loaded with customer and template; a few statements.

    Open positions run to their exit. The caller reduces the templates' subscriber counts, last.
    """
    ids = [subscription.pk for subscription in subscriptions]
    Subscription.objects.filter(pk__in=ids).update(
        status=Subscription.Status.CANCELLED,
        status_reason=reason,
        status_note="",
        status_changed_at=now,
        cancelled_at=now,
    )
    BILLING.get().stop(ids, on=ist_date(now))
    for subscription in subscriptions:
        subscription.status, subscription.status_reason, subscription.status_note = (
            "CANCELLED",
            str(reason),
            "",
        )
    ENTRY_GATE.get().withdraw_armed(ids, reason=CANCELLED, now=now)
    Hold.objects.filter(subscription_id__in=ids, lifted_at__isnull=True).exclude(
        holder__in=LASTING
    ).update(lifted_at=now, lifted_by=str(actor))
    events.record_many(events.CANCELLED, list(subscriptions), actor=actor, now=now)


def unlink_account(account_id: int, *, now: dt.datetime) -> None:
    """Stop all trading on a removed account; subscriptions continue on their other accounts.

    A subscription that loses its last account gets the customer's hold, which cannot be lifted:
    nothing could trade, and a new month would be billed (adr 0057). One whose other accounts are
    all held is paused, too.
    """
    allocations = Allocation.objects.filter(account_id=account_id, status=Allocation.Status.ACTIVE)
    keys = sorted(allocations.values_list("subscription_id", flat=True))
    for start in range(0, len(keys), _BATCH):
        subscriptions = Subscription.objects.filter(pk__in=keys[start : start + _BATCH])
        batch = first_locked(subscriptions, _BATCH)
        # After their subscriptions, in arming's lock order; a locked account gets no new
        # allocation.
        allocations.filter(subscription__in=batch).update(status=Allocation.Status.REMOVED)
        _hold_without_account(batch, now)
        settle(batch, actor=audit.SYSTEM, now=now)


def _hold_without_account(subscriptions: Sequence[Subscription], now: dt.datetime) -> None:
    """Place the customer's hold on those without an account, unless they have one already."""
    live = {
        subscription.pk: subscription
        for subscription in subscriptions
        if subscription.status != CANCELLED
    }
    accountless = without_account(live)
    held = open_holds().filter(subscription_id__in=accountless, holder=USER)
    accountless -= set(held.values_list("subscription_id", flat=True))
    Hold.objects.bulk_create(
        Hold(
            scope=Hold.Scope.SUBSCRIPTION,
            holder=USER,
            partner_id=live[key].partner_id,
            environment=live[key].environment,
            subscription=live[key],
            note=NO_ACCOUNT,
            placed_at=now,
            placed_by=str(audit.SYSTEM),
        )
        for key in sorted(accountless)
    )
