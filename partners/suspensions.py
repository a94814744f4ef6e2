"""Suspends and reinstates partners: who may call the API, and what happens to their subscriptions.

Every suspension includes a plan for the subscriptions, because they trade for people who cannot
choose another partner (adr 0051). Each operation is one transaction, with the partner's row locked
first. It writes the mails to the partner's contacts, which are sent afterwards
(:mod:`partners.notices.mails`). When a day of the plan is over, the rest is done in steps of one
transaction each (adr 0057).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import Final

from django.db import transaction

from partners.models import Partner
from partners.notices.mails import tell_reinstated, tell_suspended
from partners.ports import FOLLOWERS
from partners.webhooks.services import hold_deliveries
from quantleap.core import audit
from quantleap.core.audit import SYSTEM, Actor
from quantleap.core.clock import ist_date
from quantleap.core.errors import InvalidRequest, InvalidTransition, NotFound

REASON_LENGTH: Final = 200
#: A later day is more likely a typing error than a plan.
LONGEST_RUN: Final = dt.timedelta(days=366)

Plan = Partner.Plan
_NOTHING: Final[dict[str, object]] = {
    "suspended_at": None,
    "suspended_by": "",
    "suspension_reason": "",
    "suspension_plan": "",
    "run_until": None,
    "plan_done_at": None,
}


@dataclass(frozen=True, slots=True)
class Suspension:
    """``changed`` False: this suspension is already in force. Otherwise how many subscriptions were
    ``paused`` or ``ended`` at once, how many will end (``ending``), how many webhook deliveries are
    held, and how many of the partner's contacts get a mail (``told``)."""

    changed: bool
    paused: int = 0
    ended: int = 0
    ending: int = 0
    deliveries: int = 0
    told: int = 0


@dataclass(frozen=True, slots=True)
class Reinstatement:
    """``changed`` False: the partner was not suspended. Otherwise how many subscriptions trade
    again (``released``; those held by others stay paused), how many continue that were due to end
    (``kept``), and how many of the partner's contacts get a mail (``told``)."""

    changed: bool
    released: int = 0
    kept: int = 0
    told: int = 0


def suspend_partner(
    *,
    partner_id: int,
    plan: str,
    reason: str,
    actor: Actor,
    now: dt.datetime,
    run_until: dt.date | None = None,
) -> Suspension:
    """Close the API for a partner except for what lets its customers leave, and carry out ``plan``.

    ``plan`` is a value of :class:`Partner.Plan`; ``run_until`` the last day (IST) on which the
    subscriptions trade, for RUN_UNTIL only. ``reason`` is for the console and the audit log:
    neither the partner nor a customer reads it. The plan of a suspended partner can be replaced
    until it has been carried out; the suspension continues.

    InvalidRequest; NotFound; InvalidTransition (409) if the current plan has been carried out.
    """
    reason = _checked_reason(reason)
    _check_plan(plan, run_until, now)
    with transaction.atomic():
        partner = _locked(partner_id)
        suspended = partner.status == Partner.Status.SUSPENDED
        if suspended and (partner.suspension_plan, partner.run_until) == (plan, run_until):
            return Suspension(False)
        if suspended:
            _take_back(partner, now)
        _write(
            partner,
            status=Partner.Status.SUSPENDED,
            suspended_at=partner.suspended_at or now,
            suspended_by=str(actor),
            suspension_reason=reason,
            suspension_plan=plan,
            run_until=run_until,
        )
        done = _begin(partner, actor, now)
        done = replace(done, told=tell_suspended(partner, done, replaced=suspended, now=now))
        facts = {
            "plan": plan,
            "run_until": str(run_until or ""),
            "paused": done.paused,
            "ended": done.ended,
            "ending": done.ending,
            "deliveries_held": done.deliveries,
            "contacts_told": done.told,
        }
        action = "partner.plan_changed" if suspended else "partner.suspended"
        _record(action, partner, actor, reason=reason, **facts)
    return done


def reinstate_partner(
    *, partner_id: int, reason: str, actor: Actor, now: dt.datetime
) -> Reinstatement:
    """Accept a partner's calls again; lift the suspension's hold, and drop the rest of its plan.

    What the plan has done by today stays done: cancelled subscriptions stay cancelled. No other
    hold is lifted, and held deliveries are only sent by a replay. NotFound; InvalidRequest.
    """
    reason = _checked_reason(reason)
    # Late steps count for their own day: nobody is billed for the days since then.
    _carry_out(partner_id, now)
    with transaction.atomic():
        partner = _locked(partner_id)
        if partner.status != Partner.Status.SUSPENDED:
            return Reinstatement(False)
        while _step(partner, now):  # whatever has become due since
            pass
        kept = FOLLOWERS.get().keep_all(partner.pk, now=now)
        plan = partner.suspension_plan
        # Before its hold is lifted, because the plan's day holds its customers too.
        _write(partner, status=Partner.Status.ACTIVE, **_NOTHING)
        released = FOLLOWERS.get().release_all(partner.pk, note=reason, actor=actor, now=now)
        done = Reinstatement(True, released, kept)
        done = replace(done, told=tell_reinstated(partner, done, now=now))
        _record(
            "partner.reinstated",
            partner,
            actor,
            reason=reason,
            plan=plan,
            released=released,
            kept=kept,
            contacts_told=done.told,
        )
    return done


def carry_out_due(*, now: dt.datetime) -> int:
    """Carry out what suspended partners' plans say for days that are over; returns how many plans
    ended.

    Any number of processes may call it any number of times. A killed process leaves complete steps
    behind, and the next one continues from there.
    """
    waiting = Partner.objects.filter(
        status=Partner.Status.SUSPENDED, plan_done_at__isnull=True
    ).exclude(suspension_plan="")
    partners = list(waiting.order_by("pk").values_list("pk", flat=True))
    return sum(_carry_out(partner_id, now) for partner_id in partners)


def _carry_out(partner_id: int, now: dt.datetime) -> bool:
    """Carry out a plan in steps of one transaction each; whether this call did its last step."""
    while True:
        with transaction.atomic():
            partner = _locked(partner_id)
            was_done = partner.plan_done_at is not None
            more = _step(partner, now)
        if not more:
            return partner.plan_done_at is not None and not was_done


# -- one partner, its row locked -----------------------------------------------------------------
def _locked(partner_id: int) -> Partner:
    """Lock the row without its key, so that rows that only refer to it need not wait. Subscribing
    shares the lock."""
    partner = Partner.objects.select_for_update(no_key=True).filter(pk=partner_id).first()
    if partner is None:
        raise NotFound
    return partner


def _write(partner: Partner, **fields: object) -> None:
    for name, value in fields.items():
        setattr(partner, name, value)
    partner.save(update_fields=list(fields))


def _begin(partner: Partner, actor: Actor, now: dt.datetime) -> Suspension:
    """Carry out what a plan does on its first day."""
    paused, ended, ending = 0, 0, 0
    if partner.suspension_plan == Plan.PAUSE_ALL:
        paused = FOLLOWERS.get().hold_all(partner.pk, actor=actor, now=now)
        _write(partner, plan_done_at=now)
    elif partner.suspension_plan == Plan.CANCEL_AT_PERIOD_END:
        step = FOLLOWERS.get().end_when_paid(partner.pk, actor=actor, now=now)
        ended, ending = step.done, step.left
        if not ending:
            _write(partner, plan_done_at=now)
    # Last, like all code that locks endpoints.
    deliveries = hold_deliveries(partner_id=partner.pk)
    return Suspension(True, paused, ended, ending, deliveries)


def _step(partner: Partner, now: dt.datetime) -> bool:
    """One step of what is due under a plan; whether there is more."""
    if partner.status != Partner.Status.SUSPENDED or partner.plan_done_at is not None:
        return False
    if _run_is_over(partner, now):
        what, step = "paused", FOLLOWERS.get().pause_due(partner.pk, now=now)
    elif partner.suspension_plan == Plan.CANCEL_AT_PERIOD_END:
        what, step = "ended", FOLLOWERS.get().end_due(partner.pk, now=now)
    else:
        return False
    if not step.left:
        _write(partner, plan_done_at=now)
    if not step.left or step.done:
        _record("partner.plan_carried_out", partner, SYSTEM, left=step.left, **{what: step.done})
    return step.more


def _run_is_over(partner: Partner, now: dt.datetime) -> bool:
    return partner.run_until is not None and partner.run_until < ist_date(now)


def _take_back(partner: Partner, now: dt.datetime) -> None:
    """Undo a plan that another one replaces."""
    over = _run_is_over(partner, now)
    while not over and _step(partner, now):
        pass
    if over or partner.plan_done_at is not None:
        raise InvalidTransition(
            f"{partner.name} is suspended, and its plan has been carried out "
            f"({Plan(partner.suspension_plan).label}). Reinstate it first.",
            status=partner.status,
        )
    FOLLOWERS.get().keep_all(partner.pk, now=now)


# -- refusals -----------------------------------------------------------------------------------
def _checked_reason(reason: str) -> str:
    reason = reason.strip()
    if not 0 < len(reason) <= REASON_LENGTH:
        raise InvalidRequest(details={"reason": f"From 1 to {REASON_LENGTH} characters."})
    return reason


def _check_plan(plan: str, run_until: dt.date | None, now: dt.datetime) -> None:
    words = plan_refusal(plan, run_until, ist_date(now))
    if words:
        field, text = words
        raise InvalidRequest(f"{field}: {text}", details={field: text})


def plan_refusal(plan: str, run_until: dt.date | None, today: dt.date) -> tuple[str, str] | None:
    """The field and the message that say why a plan is impossible; None if it is possible."""
    if plan not in Plan.values:
        return "plan", f"One of: {', '.join(Plan.values)}."
    if plan != Plan.RUN_UNTIL:
        return None if run_until is None else ("run_until", "Only if they run until a day.")
    if run_until is None:
        return "run_until", "Give the last day on which they trade."
    if run_until < today:
        return "run_until", "This day is over: pause them now."
    if run_until > today + LONGEST_RUN:
        return "run_until", f"At most {LONGEST_RUN.days} days from now."
    return None


def _record(action: str, partner: Partner, actor: Actor, **data: object) -> None:
    audit.record(
        actor=actor,
        action=action,
        target_type="partner",
        target_id=partner.slug,
        partner_id=partner.pk,
        data=data,
    )
