"""The suspension of a partner: one front door, a hold of its own, a plan that can be replaced."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from marketplace.tests.factories import TEST_NOW, load_reference_data, make_template
from partners.models import Partner
from partners.suspensions import Suspension, carry_out_due, reinstate_partner, suspend_partner
from partners.tests.factories import make_partner
from quantleap.core.audit import SYSTEM
from quantleap.core.errors import (
    InvalidRequest,
    InvalidTransition,
    NotFound,
    PartnerSuspended,
)
from quantleap.core.models import AuditEntry, OutboxEvent
from subscriptions import services
from subscriptions.errors import HoldRefused, TransitionRefused
from subscriptions.models import Hold, Subscription
from subscriptions.tests.factories import make_subscription

pytestmark = pytest.mark.django_db
LATER = TEST_NOW + dt.timedelta(hours=1)
TODAY = dt.date(2026, 8, 4)
Plan = Partner.Plan


@pytest.fixture
def partner() -> Partner:
    load_reference_data()
    return make_partner("zebu")


def suspend(partner: Partner, plan: str = Plan.PAUSE_ALL, **more: Any) -> Suspension:
    values: dict[str, Any] = {"reason": "complaints", "actor": SYSTEM, "now": LATER, **more}
    return suspend_partner(partner_id=partner.pk, plan=plan, **values)


def reinstate(partner: Partner, now: dt.datetime = LATER) -> Any:
    return reinstate_partner(partner_id=partner.pk, reason="settled", actor=SYSTEM, now=now)


def follower(partner: Partner, **more: Any) -> Subscription:
    return make_subscription(make_template(), partner, now=TEST_NOW, **more)


def state(subscription: Subscription) -> tuple[str, str]:
    subscription.refresh_from_db()
    return subscription.status, subscription.status_reason


# -- its hold --------------------------------------------------------------------------------------
def test_reinstating_lifts_the_suspensions_hold_alone(partner: Partner) -> None:
    """A suspension holds both environments, and the holds of staff and customers outlast it."""
    live = follower(partner)
    test = make_subscription(make_template(environment="test"), partner, now=TEST_NOW)
    theirs, staffs = follower(partner), follower(partner)
    services.pause(subscription_id=theirs.pk, actor=SYSTEM, reason="USER", now=LATER)
    for scope, target in (("CUSTOMER", staffs.customer_id), ("PARTNER", partner.pk)):
        services.place_hold(
            scope=scope,
            target_id=target,
            environment="live",
            holder="ADMIN",
            note="compliance hold",
            actor=SYSTEM,
            now=LATER,
        )
    assert suspend(partner).changed
    assert {state(test), state(live)} == {("PAUSED", "PARTNER_SUSPENDED"), ("PAUSED", "ADMIN")}
    assert reinstate(partner).changed
    assert state(test) == ("ACTIVE", "")
    assert {state(subscription) for subscription in (live, theirs, staffs)} == {("PAUSED", "ADMIN")}
    left = Hold.objects.filter(lifted_at=None).values_list("scope", "holder")
    assert sorted(left) == [("CUSTOMER", "ADMIN"), ("PARTNER", "ADMIN"), ("SUBSCRIPTION", "USER")]


def test_nobody_lifts_it_but_who_reinstates(partner: Partner) -> None:
    subscription = follower(partner)
    suspend(partner)
    for who in ("USER", "PARTNER", "ADMIN"):
        with pytest.raises(TransitionRefused, match="the partner's suspension"):
            services.resume(
                subscription_id=subscription.pk, actor=SYSTEM, reason=who, note="please", now=LATER
            )
    for hold in Hold.objects.all():
        with pytest.raises(HoldRefused, match="the partner's suspension"):
            services.lift_hold(hold_id=hold.pk, who="ADMIN", note="why", actor=SYSTEM, now=LATER)
    assert state(subscription) == ("PAUSED", "PARTNER_SUSPENDED")


def test_customers_pause_and_cancel_while_it_is_held(partner: Partner) -> None:
    paused, cancelled = follower(partner), follower(partner)
    suspend(partner)
    services.pause(subscription_id=paused.pk, actor=SYSTEM, reason="USER", now=LATER)
    services.cancel(subscription_id=cancelled.pk, actor=SYSTEM, reason="USER", now=LATER)
    reinstate(partner)
    assert (state(paused), state(cancelled)) == (("PAUSED", "USER"), ("CANCELLED", "USER"))


@pytest.mark.parametrize("plan", [Plan.PAUSE_ALL, Plan.RUN_UNTIL, Plan.CANCEL_AT_PERIOD_END])
def test_nobody_new_subscribes_while_it_lasts(partner: Partner, plan: str) -> None:
    suspend(partner, plan, run_until=TODAY if plan == Plan.RUN_UNTIL else None)
    with pytest.raises(PartnerSuspended):
        follower(partner)
    assert not Subscription.objects.exists()
    reinstate(partner)
    assert state(follower(partner)) == ("ACTIVE", "")


def test_what_customers_and_partners_read_does_not_say_why(partner: Partner) -> None:
    follower(partner)
    suspend(partner, reason="suspected of front-running")
    event = OutboxEvent.objects.filter(type="subscription.paused").get()
    assert (event.payload["status_reason"], event.payload["reason"]) == (
        "PARTNER_SUSPENDED",
        "The partner is suspended.",
    )


# -- one front door --------------------------------------------------------------------------------
def test_the_partner_says_who_suspended_it_when_and_why(partner: Partner) -> None:
    """The partner also names the plan for its subscriptions, and the audit log has both reasons."""
    follower(partner)
    suspend(partner)
    partner.refresh_from_db()
    assert (partner.status, partner.suspended_at, partner.suspended_by) == (
        "SUSPENDED",
        LATER,
        str(SYSTEM),
    )
    assert (partner.suspension_reason, partner.suspension_plan, partner.plan_done_at) == (
        "complaints",
        Plan.PAUSE_ALL,
        LATER,
    )
    reinstate(partner)
    left = Partner.objects.values("suspension_plan", "suspended_at", "suspended_by").get()
    assert left == {"suspension_plan": "", "suspended_at": None, "suspended_by": ""}
    entries = AuditEntry.objects.filter(target_type="partner").order_by("pk")
    assert [(entry.action, entry.data["reason"]) for entry in entries] == [
        ("partner.suspended", "complaints"),
        ("partner.reinstated", "settled"),
    ]
    assert (entries[0].data["paused"], entries[1].data["released"]) == (1, 1)


def test_asked_twice_it_changes_nothing(partner: Partner) -> None:
    follower(partner)
    assert suspend(partner).changed
    assert not suspend(partner).changed
    assert Hold.objects.count() == 2
    assert reinstate(partner).changed
    assert not reinstate(partner).changed
    assert AuditEntry.objects.filter(target_type="partner").count() == 2


def test_a_plan_is_replaced_until_it_has_been_carried_out(partner: Partner) -> None:
    subscription = follower(partner)
    suspend(partner, Plan.CANCEL_AT_PERIOD_END)
    subscription.refresh_from_db()
    assert subscription.ends_on == dt.date(2026, 9, 4)
    assert suspend(partner, Plan.RUN_UNTIL, run_until=TODAY, now=LATER).changed
    renewed = Subscription.objects.get()
    assert (renewed.ends_on, renewed.status) == (None, "ACTIVE")
    partner.refresh_from_db()
    assert (partner.run_until, partner.suspended_at) == (TODAY, LATER)
    next_day = LATER + dt.timedelta(days=1)
    with pytest.raises(InvalidTransition, match="has been carried out"):
        suspend(partner, Plan.CANCEL_AT_PERIOD_END, now=next_day)
    assert AuditEntry.objects.filter(action="partner.plan_changed").count() == 1
    assert carry_out_due(now=next_day) == 1  # the refusal took back what it had found due
    assert state(subscription) == ("PAUSED", "PARTNER_SUSPENDED")


@pytest.mark.parametrize(
    ("plan", "run_until", "field"),
    [
        ("", None, "plan"),
        ("STOP", None, "plan"),
        (Plan.RUN_UNTIL, None, "run_until"),
        (Plan.RUN_UNTIL, TODAY - dt.timedelta(days=1), "run_until"),
        (Plan.RUN_UNTIL, TODAY + dt.timedelta(days=367), "run_until"),
        (Plan.PAUSE_ALL, TODAY, "run_until"),
    ],
    ids=["none", "unknown", "no day", "yesterday", "beyond a year", "a day of nothing"],
)
def test_a_plan_that_cannot_be_is_refused(
    partner: Partner, plan: str, run_until: dt.date | None, field: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        suspend(partner, plan, run_until=run_until)
    assert set(refused.value.details) == {field}


def test_a_reason_is_required(partner: Partner) -> None:
    for reason in ("", "  ", "x" * 201):
        with pytest.raises(InvalidRequest):
            suspend(partner, reason=reason)
    with pytest.raises(NotFound):
        suspend(Partner(pk=0))
    partner.refresh_from_db()
    assert partner.status == "ACTIVE"


@pytest.mark.parametrize(
    ("fields", "constraint"),
    [
        (
            {
                "suspension_plan": "PAUSE_ALL",
                "suspended_at": LATER,
                "suspended_by": "staff:asha",
                "suspension_reason": "complaints",
            },
            "partner_plan_while_suspended",
        ),
        ({"suspended_at": LATER}, "partner_plan_while_suspended"),
        (
            {"status": "SUSPENDED", "suspension_plan": "PAUSE_ALL"},
            "partner_plan_has_who_and_why",
        ),
        ({"status": "SUSPENDED", "run_until": TODAY}, "partner_run_until_of_plan"),
        ({"status": "SUSPENDED", "plan_done_at": LATER}, "partner_plan_has_who_and_why"),
    ],
    ids=["plan of an active one", "date of an active one", "nobody", "day of no plan", "done"],
)
def test_the_database_refuses_a_plan_that_is_nobodys(
    partner: Partner, fields: dict[str, Any], constraint: str
) -> None:
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        Partner.objects.filter(pk=partner.pk).update(**fields)


def test_a_plan_is_chosen_for_a_partner_suspended_earlier(
    partner: Partner,
) -> None:
    """A partner suspended before plans existed has active subscriptions until a plan is chosen."""
    subscription = follower(partner)
    Partner.objects.filter(pk=partner.pk).update(status="SUSPENDED")
    assert carry_out_due(now=LATER) == 0
    assert state(subscription) == ("ACTIVE", "")
    assert suspend(partner).paused == 1
    assert reinstate(partner).released == 1
