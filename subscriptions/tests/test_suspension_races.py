"""Suspending while others subscribe, suspend and reinstate, in real transactions."""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
from typing import Any

import pytest
from django.db import connections, transaction

from marketplace.tests.factories import load_reference_data, make_template
from partners.models import Partner
from partners.suspensions import carry_out_due, reinstate_partner, suspend_partner
from partners.tests.factories import make_partner
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.errors import InvalidTransition, PartnerSuspended
from quantleap.core.models import AuditEntry
from quantleap.core.tests.parallel import at_once, somebody_waits
from subscriptions import services
from subscriptions.errors import TransitionRefused
from subscriptions.models import Hold, Subscription
from subscriptions.services import subscribing, suspensions
from subscriptions.tests.factories import make_subscription

ROUNDS = 4
Plan = Partner.Plan

pytestmark = pytest.mark.django_db(transaction=True)


def suspend(partner: Partner, plan: str = Plan.CANCEL_AT_PERIOD_END, **more: Any) -> Any:
    values: dict[str, Any] = {"reason": "complaints", "actor": SYSTEM, "now": clock.now(), **more}
    return suspend_partner(partner_id=partner.pk, plan=plan, **values)


def suspend_beside(partner: Partner) -> None:
    suspend(partner)
    connections.close_all()


def suspended_beside_a_subscribing(partner: Partner) -> Subscription:
    """A suspension that begins when a new subscription is written and not yet committed.

    The subscription, as it is when both are done. No hold keeps it: it is to end with its period.
    """
    beside = threading.Thread(target=suspend_beside, args=[partner])
    try:
        with transaction.atomic():
            subscription = make_subscription(make_template(), partner)
            beside.start()
            while beside.is_alive() and not somebody_waits():
                pass
    finally:
        beside.join()
    subscription.refresh_from_db()
    return subscription


def test_a_suspension_waits_for_who_is_just_subscribing() -> None:
    """The suspension then finds the new subscription and ends it with its period."""
    load_reference_data()
    assert suspended_beside_a_subscribing(make_partner()).ends_on is not None


def test_control_without_the_row_lock_a_newcomer_is_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Subscribing does not share the partner's row here, and the subscription never ends."""
    load_reference_data()
    unshared = subscribing._SHARE_PARTNER.replace("FOR SHARE", "")
    monkeypatch.setattr(subscribing, "_SHARE_PARTNER", unshared)
    subscription = suspended_beside_a_subscribing(make_partner())
    # it would be renewed for ever
    assert (subscription.status, subscription.ends_on) == ("ACTIVE", None)


def test_nobody_subscribes_past_a_suspension() -> None:
    """Of eight at once one suspends and seven subscribe: whoever got in is to end, too."""
    load_reference_data()
    for _ in range(ROUNDS):
        partner = make_partner()
        templates = [make_template() for _ in range(8)]

        def act(number: int, partner: Any = partner, templates: Any = templates) -> None:
            if number == 3:
                suspend(partner)
                return
            with contextlib.suppress(PartnerSuspended):
                make_subscription(templates[number], partner)

        at_once(8, act)
        live = Subscription.objects.filter(partner_id=partner.pk)
        assert not live.filter(ends_on=None).exists()


@pytest.mark.parametrize("plan", [Plan.RUN_UNTIL, Plan.CANCEL_AT_PERIOD_END])
def test_beat_twice_beside_who_pauses_and_resumes(
    monkeypatch: pytest.MonkeyPatch, plan: str
) -> None:
    """Step by step, by two workers, while customers pause and staff let them go."""
    load_reference_data()
    monkeypatch.setattr(suspensions, "STEP", 2)
    partner, template = make_partner(), make_template()
    subscriptions = [make_subscription(template, partner) for _ in range(9)]
    today = clock.ist_date(clock.now())
    run_until = today if plan == Plan.RUN_UNTIL else None
    suspend(partner, plan, run_until=run_until)
    later = clock.now() + dt.timedelta(days=40)

    def act(number: int) -> int:
        if number < 2:
            return carry_out_due(now=later)
        for subscription in subscriptions[number::3]:
            asked: dict[str, Any] = {
                "subscription_id": subscription.pk,
                "actor": SYSTEM,
                "now": later,
            }
            with contextlib.suppress(TransitionRefused):
                services.pause(**asked, reason="USER")
                services.resume(**asked, reason="USER")
        return 0

    assert sum(at_once(5, act)) == 1
    expected = "PAUSED" if run_until else "CANCELLED"
    assert set(Subscription.objects.values_list("status", flat=True)) == {expected}
    assert Hold.objects.filter(lifted_at=None, scope="PARTNER").count() == (2 if run_until else 0)


def test_suspending_and_reinstating_at_once_leave_one_of_the_two() -> None:
    load_reference_data()
    partner = make_partner()
    subscription = make_subscription(make_template(), partner)

    def act(number: int) -> None:
        if number % 2:
            plan = (Plan.PAUSE_ALL, Plan.CANCEL_AT_PERIOD_END)[number // 2 % 2]
            with contextlib.suppress(InvalidTransition):
                suspend(partner, plan)
        else:
            reinstate_partner(
                partner_id=partner.pk, reason="settled", actor=SYSTEM, now=clock.now()
            )

    for _ in range(ROUNDS):
        at_once(8, act)
        subscription.refresh_from_db()
        partner.refresh_from_db()
        held = Hold.objects.filter(lifted_at=None).count()
        plan = partner.suspension_plan
        assert held == (2 if plan == Plan.PAUSE_ALL else 0)
        assert (subscription.status == "PAUSED") == (plan == Plan.PAUSE_ALL)
        assert (subscription.ends_on is not None) == (plan == Plan.CANCEL_AT_PERIOD_END)
    entries = AuditEntry.objects.filter(target_type="partner").order_by("pk")
    change = {"partner.suspended": 1, "partner.reinstated": -1, "partner.plan_changed": 0}
    standing = 0
    for action in entries.values_list("action", flat=True):
        standing += change[action]
        assert standing in (0, 1), "each change follows the one before"
