"""Pause, resume, cancel; and what a withdrawn template or a removed account does (section 7)."""

from __future__ import annotations

import datetime as dt
import functools
import operator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from django.db import transaction
from django.db.models import Q

from marketplace.services import adjust_subscriber_count
from quantleap.core import audit
from quantleap.core.audit import Actor
from quantleap.core.clock import ist_date
from quantleap.core.errors import NotFound
from subscriptions import events
from subscriptions.billing import segments, withdrawals
from subscriptions.errors import TransitionRefused
from subscriptions.lifecycle import Action, Source, Verdict, refusal, sources, verdict
from subscriptions.models import Allocation, Subscription
from subscriptions.periods import anchor_after_pause
from subscriptions.ports import ENTRY_GATE

NOTE_LENGTH: Final = 200
# The word that the trading day shows and explains as the reason of such an exit.
EXIT_REASON: Final = "EXIT_REQUESTED"
_BATCH: Final = 1000
_TOLD: Final = {
    Action.PAUSE: events.PAUSED,
    Action.RESUME: events.RESUMED,
    Action.CANCEL: events.CANCELLED,
}


class OpenPositions(StrEnum):
    """What happens to what is held: run to its exit, or exit at once."""

    MANAGE = "MANAGE"
    EXIT_NOW = "EXIT_NOW"


@dataclass(frozen=True, slots=True)
class TransitionResult:
    """``changed`` False: it was there already.

    ``next_entry_affected`` False: nothing changed, or the next entry was already committed and
    still goes out (execution.md I7).
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
    """No new entry until resumed. ``reason`` is a Subscription.Reason, ``note`` free words.

    TransitionRefused (409) for a cancelled one; NotFound.
    """
    return _transition(Action.PAUSE, subscription_id, actor, reason, open_positions, note, now)


def resume(
    *, subscription_id: int, actor: Actor, reason: str, now: dt.datetime, note: str = ""
) -> TransitionResult:
    """Enter again from the next entry on. Who may lift whose pause: lifecycle.liftable.

    Resumed after the period that was running at the pause, it gets a new anchor (money.md).
    TransitionRefused (409) with ``status_reason``; NotFound.
    """
    return _transition(
        Action.RESUME, subscription_id, actor, reason, OpenPositions.MANAGE, note, now
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
    """End it for good. NotFound."""
    return _transition(Action.CANCEL, subscription_id, actor, reason, open_positions, note, now)


def _transition(
    action: Action,
    subscription_id: int,
    actor: Actor,
    who: str,
    open_positions: str,
    note: str,
    now: dt.datetime,
) -> TransitionResult:
    note = note.strip()[:NOTE_LENGTH]
    with transaction.atomic():
        # no_key: invoices refer to the subscription. A billing run that holds the segment and
        # writes an invoice would wait for a stronger lock, and we for its segment.
        subscription = (
            Subscription.objects.select_for_update(of=("self",), no_key=True)
            .select_related("customer", "template")
            .filter(pk=subscription_id)
            .first()
        )
        if subscription is None:
            raise NotFound
        decided = verdict(
            action,
            who,
            explained=bool(note),
            status=subscription.status,
            status_reason=subscription.status_reason,
        )
        if decided is Verdict.REFUSE:
            raise _refused(action, who, subscription)
        affected = False
        if decided is Verdict.CHANGE:
            _move(action, subscription, who, note, now)
            if action is not Action.RESUME:
                segments.stop([subscription.pk], on=ist_date(now))
            affected = _leave(action, [subscription.pk], now)
            if action is Action.CANCEL:
                adjust_subscriber_count(template_id=subscription.template_id, delta=-1)
            events.tell(_TOLD[action], subscription, actor=actor, now=now)
        if open_positions == OpenPositions.EXIT_NOW:
            _exit(subscription, actor, now)
    return TransitionResult(subscription, decided is Verdict.CHANGE, affected)


def _refused(action: Action, who: str, subscription: Subscription) -> TransitionRefused:
    words = refusal(
        action, who, status=subscription.status, status_reason=subscription.status_reason
    )
    return TransitionRefused(
        words, status=subscription.status, status_reason=subscription.status_reason or None
    )


def _move(
    action: Action, subscription: Subscription, who: str, note: str, now: dt.datetime
) -> None:
    """One UPDATE whose WHERE clause is the transition table; the values also on the object."""
    values: dict[str, object] = {
        "status": action.value,
        "status_reason": "" if action is Action.RESUME else who,
        "status_note": note,
        "status_changed_at": now,
    }
    if action is Action.CANCEL:
        values["cancelled_at"] = now
    if action is Action.RESUME:
        values["anchor"] = _anchor_from(subscription, ist_date(now))
    moved = (
        Subscription.objects.filter(pk=subscription.pk)
        .filter(_where(sources(action, who, explained=bool(note))))
        .update(**values)
    )
    if moved != 1:  # the row is locked by us: only a wrong table could do this
        raise RuntimeError(f"{subscription.public_id}: {action.name} moved {moved} rows")
    for name, value in values.items():
        setattr(subscription, name, value)


def _anchor_from(subscription: Subscription, today: dt.date) -> dt.date:
    """From when periods are counted after a resumption today (IST); billed ones bill again."""
    if segments.is_billed(subscription):
        return segments.resume(subscription, on=today)
    paused_on = ist_date(subscription.status_changed_at)
    return anchor_after_pause(subscription.anchor, paused_on, today)


def _where(allowed: tuple[Source, ...]) -> Q:
    return functools.reduce(
        operator.or_,
        (
            Q(status=source.status)
            if source.reasons is None
            else Q(status=source.status, status_reason__in=source.reasons)
            for source in allowed
        ),
    )


def _leave(action: Action, subscription_ids: list[int], now: dt.datetime) -> bool:
    """Withdraw what is armed; nothing is armed for who comes back."""
    if action is Action.RESUME:
        return True
    return ENTRY_GATE.get().withdraw_armed(subscription_ids, reason=action.value, now=now)


def _exit(subscription: Subscription, actor: Actor, now: dt.datetime) -> None:
    """Exit what is held. Also when the status did not change: who asks wants to be out."""
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

    Open positions run to their exit (api.md section 7); what was paid for the days after today is
    credited later (billing/withdrawals.py). Batches, each of a few statements.
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
            ids = [one.pk for one in batch]
            Subscription.objects.filter(pk__in=ids).filter(
                _where(sources(Action.CANCEL, reason, explained=False))
            ).update(
                status=Subscription.Status.CANCELLED,
                status_reason=reason,
                status_note="",
                status_changed_at=now,
                cancelled_at=now,
            )
            segments.stop(ids, on=ist_date(now))
            withdrawals.expect(batch, on=ist_date(now), now=now)
            for one in batch:
                one.status, one.status_reason, one.status_note = "CANCELLED", reason.value, ""
            ENTRY_GATE.get().withdraw_armed(ids, reason=Action.CANCEL.value, now=now)
            events.tell_many(events.CANCELLED, batch, actor=actor, now=now)
            total += len(batch)
        if total:
            adjust_subscriber_count(template_id=template_id, delta=-total)
    return total


def unlink_account(account_id: int, *, now: dt.datetime) -> None:  # noqa: ARG001  the port's shape
    """A removed account trades for nobody any more; the subscriptions stay as they are."""
    Allocation.objects.filter(account_id=account_id, status=Allocation.Status.ACTIVE).update(
        status=Allocation.Status.REMOVED
    )
