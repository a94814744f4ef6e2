"""A suspended partner's customers trade until a day, that day is over, and beat has not come by.

Seen: whoever paused, cancelled or was let go meanwhile was billed, once the partner was reinstated,
for a month that began when nobody traded.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from marketplace.models import Template
from marketplace.services import withdraw
from marketplace.tests.factories import load_reference_data, make_short_straddle
from partners import suspensions as partner_suspensions
from partners.models import Partner
from partners.suspensions import carry_out_due, reinstate_partner, suspend_partner
from partners.tests.factories import make_partner
from quantleap.core.audit import SYSTEM
from quantleap.core.clock import at_ist
from quantleap.core.models import AuditEntry, OutboxEvent
from subscriptions import services
from subscriptions.billing.models import Invoice, WithdrawalCredit
from subscriptions.billing.settlement.withdrawal_credits import credit_due
from subscriptions.billing.tests.factories import HOME, bill, load_billing, pay
from subscriptions.models import Hold, Subscription
from subscriptions.services import suspensions
from subscriptions.tests.factories import make_subscription

pytestmark = pytest.mark.django_db
Plan = Partner.Plan


def day(text: str) -> dt.date:
    return dt.date.fromisoformat(f"2026-{text}")


def at(text: str, hour: int = 10) -> dt.datetime:
    """An instant of a day of 2026, India time."""
    return at_ist(day(text), dt.time(hour))


@pytest.fixture
def template() -> Template:
    load_reference_data()
    load_billing()
    return make_short_straddle(now=at("07-01"))


@pytest.fixture
def partner() -> Partner:
    return make_partner("zebu")


@pytest.fixture
def mine(template: Template, partner: Partner) -> Subscription:
    """Its month ends with August, and so does the run that is decided on the tenth."""
    subscription = subscribed(template, partner)
    bill(day("08-01"))
    return subscription


def subscribed(
    template: Template, partner: Partner, on: str = "08-01", **more: Any
) -> Subscription:
    return make_subscription(template, partner, now=at(on, 9), user_state=HOME, **more)


def suspend(partner: Partner, plan: str = Plan.RUN_UNTIL, run_until: str = "08-31") -> None:
    suspend_partner(
        partner_id=partner.pk,
        plan=plan,
        run_until=day(run_until) if plan == Plan.RUN_UNTIL else None,
        reason="complaints",
        actor=SYSTEM,
        now=at("08-10"),
    )


def reinstate(partner: Partner, on: str) -> Any:
    return reinstate_partner(partner_id=partner.pk, reason="settled", actor=SYSTEM, now=at(on))


def ask(what: str, subscription: Subscription, on: str, who: str = "USER") -> str:
    """What the subscription is then."""
    done = getattr(services, what)(
        subscription_id=subscription.pk, actor=SYSTEM, reason=who, now=at(on)
    )
    return str(done.subscription.status)


def periods(subscription: Subscription) -> list[str]:
    """First days of its invoiced periods."""
    invoices = Invoice.objects.filter(subscription=subscription).order_by("period_start")
    return [f"{start:%m-%d}" for start in invoices.values_list("period_start", flat=True)]


# -- what is billed --------------------------------------------------------------------------------
@pytest.mark.parametrize("beat", ["", "09-03"], ids=["beat never came", "beat came late"])
@pytest.mark.parametrize("what", ["pause", "cancel", "withdraw"])
def test_who_left_after_the_run_was_billed_once_reinstated(
    template: Template, partner: Partner, mine: Subscription, what: str, beat: str
) -> None:
    suspend(partner)
    if what == "withdraw":
        withdraw(template_id=template.pk, actor=SYSTEM, now=at("09-02"))
    else:
        ask(what, mine, "09-02")
    if beat:
        carry_out_due(now=at(beat))
    bill(day("09-05"))
    reinstate(partner, "09-15")
    bill(day("09-15"))
    assert periods(mine) == ["08-01"]  # seen: 09-01, too
    if what == "pause":
        assert ask("resume", mine, "09-20") == "ACTIVE"
        bill(day("09-20"))
        assert periods(mine) == ["08-01", "09-20"]


def test_control_who_left_within_the_run_owes_what_began(
    partner: Partner, mine: Subscription
) -> None:
    """The run that is late bills September, which began while they traded."""
    suspend(partner, run_until="09-01")
    ask("cancel", mine, "09-01")
    reinstate(partner, "09-15")
    bill(day("09-15"))
    assert periods(mine) == ["08-01", "09-01"]


def test_who_was_let_go_after_the_run_began_a_month_and_paid(
    partner: Partner, mine: Subscription
) -> None:
    """Seen: ACTIVE on 2 September, and a month from that day once the partner was reinstated."""
    ask("pause", mine, "08-20", "ADMIN")
    suspend(partner)
    assert ask("resume", mine, "09-02", "ADMIN") == "PAUSED"
    mine.refresh_from_db()
    assert (mine.status_reason, mine.status_note) == (
        "PARTNER_SUSPENDED",
        "The partner is suspended.",
    )
    bill(day("09-05"))
    carry_out_due(now=at("09-06"))
    assert reinstate(partner, "09-15").released == 1
    bill(day("09-15"))
    assert periods(mine) == ["08-01", "09-15"]


def test_who_came_back_went_on_in_a_month_that_never_began(
    template: Template, partner: Partner, mine: Subscription
) -> None:
    invoice = Invoice.objects.get()
    pay(invoice, invoice.total)
    suspend(partner)
    ask("cancel", mine, "09-02")
    reinstate(partner, "09-15")
    again = subscribed(template, partner, "09-15", email=mine.customer.email)
    bill(day("09-15"))
    assert (again.anchor, periods(mine), periods(again)) == (day("09-15"), ["08-01"], ["09-15"])


def test_a_credit_waited_for_a_month_that_is_never_billed(
    template: Template, partner: Partner, mine: Subscription
) -> None:
    suspend(partner, run_until="08-20")
    withdraw(template_id=template.pk, actor=SYSTEM, now=at("09-02"))
    assert credit_due(now=at("09-03")) == 1
    assert WithdrawalCredit.objects.get(subscription=mine).done_at is not None


# -- in steps --------------------------------------------------------------------------------------
class Killed(Exception):
    """The worker was killed here."""


@pytest.mark.parametrize("plan", [Plan.RUN_UNTIL, Plan.CANCEL_AT_PERIOD_END])
def test_killed_between_two_steps_the_next_beat_goes_on(
    template: Template, partner: Partner, plan: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscriptions = [subscribed(template, partner) for _ in range(5)]
    suspend(partner, plan)
    monkeypatch.setattr(suspensions, "STEP", 2)
    ended = "PAUSED" if plan == Plan.RUN_UNTIL else "CANCELLED"
    steps: list[int] = []
    original = partner_suspensions._step

    def killed_in_the_second(*given: Any) -> bool:
        more = original(*given)
        steps.append(1)
        if len(steps) == 2:
            raise Killed
        return more

    with monkeypatch.context() as patched:
        patched.setattr(partner_suspensions, "_step", killed_in_the_second)
        with pytest.raises(Killed):
            carry_out_due(now=at("09-02"))
    status = Subscription.objects.filter(partner_id=partner.pk).order_by("pk")
    assert list(status.values_list("status", flat=True)) == [ended] * 2 + ["ACTIVE"] * 3
    assert not Hold.objects.exists()
    partner.refresh_from_db()
    assert partner.plan_done_at is None
    # whoever was paused stays so, whatever hold of theirs is lifted now
    if plan == Plan.RUN_UNTIL:
        ask("pause", subscriptions[0], "09-02", "ADMIN")
        assert ask("resume", subscriptions[0], "09-02", "ADMIN") == "PAUSED"
    assert carry_out_due(now=at("09-02")) == 1
    assert carry_out_due(now=at("09-02")) == 0
    assert set(status.values_list("status", flat=True)) == {ended}
    assert Hold.objects.filter(lifted_at=None).count() == (2 if plan == Plan.RUN_UNTIL else 0)
    what = "paused" if plan == Plan.RUN_UNTIL else "ended"
    entries = AuditEntry.objects.filter(action="partner.plan_carried_out").order_by("pk")
    assert [(entry.data[what], entry.data["left"]) for entry in entries] == [(2, 3), (2, 1), (1, 0)]
    events = OutboxEvent.objects.filter(type__in=("subscription.paused", "subscription.cancelled"))
    assert set(events.values_list("object_id", flat=True)) == {
        subscription.public_id for subscription in subscriptions
    }


def test_the_last_step_shows_the_suspension_to_who_had_paused(
    template: Template, partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A weaker hold gives way to it, a stronger one goes on being shown."""
    mine, staffs = (subscribed(template, partner) for _ in range(2))
    ask("pause", mine, "08-05")
    ask("pause", staffs, "08-05", "ADMIN")
    suspend(partner)
    monkeypatch.setattr(suspensions, "STEP", 1)
    assert carry_out_due(now=at("09-02")) == 1
    reasons = {
        subscription.pk: subscription.status_reason for subscription in Subscription.objects.all()
    }
    assert reasons == {mine.pk: "PARTNER_SUSPENDED", staffs.pk: "ADMIN"}


@pytest.mark.parametrize("plan", [Plan.RUN_UNTIL, Plan.CANCEL_AT_PERIOD_END, Plan.PAUSE_ALL])
def test_as_many_queries_for_thirty_subscriptions_as_for_three(
    template: Template, partner: Partner, plan: str
) -> None:
    """Seen: one query for the segment of each that was kept or let go."""

    def count(many: int, other: Partner) -> tuple[int, int]:
        for _ in range(many):
            subscribed(template, other)
        on = "08-20" if plan == Plan.CANCEL_AT_PERIOD_END else "09-02"
        suspend(other, plan)
        with CaptureQueriesContext(connection) as carried:
            carry_out_due(now=at(on))
        with CaptureQueriesContext(connection) as taken_back:
            reinstate(other, on)
        live = Subscription.objects.filter(partner_id=other.pk, status="ACTIVE", ends_on=None)
        assert live.count() == many
        return len(carried), len(taken_back)

    assert count(3, partner) == count(30, make_partner("kite"))


def test_as_many_queries_to_end_thirty_as_to_end_three(
    template: Template, partner: Partner
) -> None:
    def count(many: int, other: Partner) -> int:
        for _ in range(many):
            subscribed(template, other)
        suspend(other, Plan.CANCEL_AT_PERIOD_END)
        with CaptureQueriesContext(connection) as carried:
            assert carry_out_due(now=at("09-02")) == 1
        return len(carried)

    assert count(3, partner) == count(30, make_partner("kite"))
