"""What a suspended partner's customers trade and pay, by the real arming and the billing run.

Seen: a partner was suspended, the next arming took its customers' subscriptions all the same, and
the run invoiced them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

import pytest

from execution.arming import arm_due
from execution.models import Execution
from execution.tests.rows import make_execution, make_run
from execution.timing import from_settings
from marketplace.models import Template, TemplateStats
from marketplace.tests.factories import load_reference_data, make_short_straddle
from partners.models import Partner
from partners.suspensions import (
    Reinstatement,
    Suspension,
    carry_out_due,
    reinstate_partner,
    suspend_partner,
)
from partners.tests.factories import make_partner
from quantleap.core.audit import SYSTEM
from quantleap.core.clock import at_ist
from subscriptions import services
from subscriptions.billing.models import BillingSegment, Invoice
from subscriptions.billing.tests.factories import HOME, bill, load_billing
from subscriptions.models import Hold, Subscription
from subscriptions.tests.factories import make_subscription

pytestmark = pytest.mark.django_db
Plan = Partner.Plan


def day(text: str) -> dt.date:
    return dt.date.fromisoformat(f"2026-{text}")


def at(text: str, hour: int = 10, minute: int = 0) -> dt.datetime:
    """An instant of a day of 2026, India time."""
    return at_ist(day(text), dt.time(hour, minute))


@pytest.fixture
def template() -> Template:
    load_reference_data()
    load_billing()
    return make_short_straddle(now=at("07-01"))  # enters at 09:20


@pytest.fixture
def partner() -> Partner:
    return make_partner("zebu")


@pytest.fixture
def control(template: Template) -> Subscription:
    """Of another partner's customer: goes on whatever happens."""
    return subscribed(template, make_partner("kite"), "08-01")


def subscribed(template: Template, partner: Partner, on: str) -> Subscription:
    return make_subscription(template, partner, now=at(on, 9), user_state=HOME)


def traders(on: str) -> set[int]:
    """Subscriptions that the ticks before a day's entry arm, and nothing else has come by."""
    arm_due(now=at(on, 9, 18), timing=from_settings())
    arm_due(now=at(on, 9, 19), timing=from_settings())
    armed = Execution.objects.filter(run__trade_date=day(on), status="ARMED")
    return set(armed.values_list("subscription_id", flat=True))


def periods(subscription: Subscription) -> list[str]:
    """First days of its invoiced periods."""
    invoices = Invoice.objects.filter(subscription=subscription).order_by("period_start")
    return [f"{start:%m-%d}" for start in invoices.values_list("period_start", flat=True)]


def suspend(partner: Partner, plan: str, on: str, run_until: str = "") -> Suspension:
    return suspend_partner(
        partner_id=partner.pk,
        plan=plan,
        run_until=day(run_until) if run_until else None,
        reason="complaints of customers",
        actor=SYSTEM,
        now=at(on),
    )


def reinstate(partner: Partner, on: str) -> Reinstatement:
    return reinstate_partner(partner_id=partner.pk, reason="settled", actor=SYSTEM, now=at(on))


def keys(subscriptions: Iterable[Subscription]) -> set[int]:
    return {subscription.pk for subscription in subscriptions}


def test_a_suspended_partners_customers_were_invoiced(
    template: Template, partner: Partner, control: Subscription
) -> None:
    """Seen: suspended, and the next arming took them and the run invoiced them."""
    mine = [subscribed(template, partner, "08-01") for _ in range(3)]
    bill(day("08-01"))
    assert traders("08-19") == keys([*mine, control])
    suspension = suspend(partner, Plan.PAUSE_ALL, "08-19")
    assert (suspension.changed, suspension.paused) == (True, 3)
    assert traders("08-20") == {control.pk}
    bill(day("09-01"))
    bill(day("10-01"))
    assert [periods(subscription) for subscription in mine] == [["08-01"]] * 3
    assert periods(control) == ["08-01", "09-01", "10-01"]
    assert traders("10-01") == {control.pk}  # and so on every other day


def test_what_was_armed_before_is_withdrawn(template: Template, partner: Partner) -> None:
    subscription = subscribed(template, partner, "08-01")
    assert traders("08-20") == {subscription.pk}
    suspend_partner(
        partner_id=partner.pk,
        plan=Plan.PAUSE_ALL,
        reason="fraud",
        actor=SYSTEM,
        now=at("08-20", 9, 19),
    )
    assert traders("08-20") == set()
    assert Execution.objects.get().status == "WITHDRAWN"


@pytest.mark.parametrize("what", ["pause", "cancel"])
def test_a_held_customer_exits_what_is_open(
    template: Template, partner: Partner, what: str
) -> None:
    """The customer exits the position while the suspension holds them."""
    mine, other = (subscribed(template, partner, "08-01") for _ in range(2))
    run = make_run(template, day("08-20"))
    for subscription in (mine, other):
        make_execution(run, subscription)
    suspend(partner, Plan.PAUSE_ALL, "08-20")
    assert not Execution.objects.exclude(exit_requested_at=None).exists()  # they are managed on
    getattr(services, what)(
        subscription_id=mine.pk,
        actor=SYSTEM,
        reason="USER",
        open_positions=services.OpenPositions.EXIT_NOW,
        now=at("08-20", 11),
    )
    leaving = Execution.objects.exclude(exit_requested_at=None).get()
    assert leaving.subscription_id == mine.pk


@pytest.mark.parametrize(
    ("last", "trades", "rests"),
    [("08-30", "08-28", "08-31"), ("08-31", "08-31", "09-01")],
    ids=["a weekend", "the month's end"],
)
def test_they_run_until_a_day_whether_beat_comes_by_or_not(
    template: Template, partner: Partner, control: Subscription, last: str, trades: str, rests: str
) -> None:
    """The period of 1 September begins after the last day: nobody pays for it."""
    subscription = subscribed(template, partner, "08-01")
    bill(day("08-01"))
    suspension = suspend(partner, Plan.RUN_UNTIL, "08-10", last)
    assert (suspension.changed, suspension.paused) == (True, 0)
    assert traders(trades) == {subscription.pk, control.pk}
    assert carry_out_due(now=at(last, 23, 59)) == 0
    # beat is not there: arming and the run go by the day
    assert traders(rests) == {control.pk}
    bill(day("09-01"))
    assert (periods(subscription), periods(control)) == (["08-01"], ["08-01", "09-01"])
    # it comes late, and again, and again on the second day
    assert carry_out_due(now=at("09-02", 0, 1)) == 1
    assert carry_out_due(now=at("09-02", 0, 2)) == 0
    assert carry_out_due(now=at("09-03")) == 0
    subscription.refresh_from_db()
    assert (subscription.status, subscription.status_reason) == ("PAUSED", "PARTNER_SUSPENDED")
    assert Hold.objects.filter(holder="PARTNER_SUSPENDED").count() == 2  # live and test
    assert BillingSegment.objects.get(subscription=subscription).stop_on == day(last)
    assert traders("09-03") == {control.pk}
    bill(day("10-01"))
    assert periods(subscription) == ["08-01"]


def test_control_within_the_run_they_trade_and_pay(
    template: Template, partner: Partner, control: Subscription
) -> None:
    """The same day is armed and invoiced if the suspension lets customers trade until later."""
    subscription = subscribed(template, partner, "08-01")
    suspend(partner, Plan.RUN_UNTIL, "08-10", "09-01")
    assert traders("09-01") == {subscription.pk, control.pk}
    bill(day("09-01"))
    assert periods(subscription) == ["08-01", "09-01"]


def test_reinstated_nobody_pays_for_the_time_between(template: Template, partner: Partner) -> None:
    """The partner is reinstated after a day that beat missed."""
    subscription = subscribed(template, partner, "08-01")
    bill(day("08-01"))
    suspend(partner, Plan.RUN_UNTIL, "08-10", "08-31")
    reinstatement = reinstate(partner, "09-15")
    assert (reinstatement.changed, reinstatement.released) == (True, 1)
    bill(day("09-15"))
    subscription.refresh_from_db()
    assert (subscription.status, subscription.anchor, periods(subscription)) == (
        "ACTIVE",
        day("09-15"),
        ["08-01", "09-15"],
    )
    assert traders("09-16") == {subscription.pk}


def test_each_ends_with_what_is_paid_for_and_is_not_renewed(
    template: Template, partner: Partner, control: Subscription
) -> None:
    """On 20 August one has paid until the 1st and one until the 14th of September."""
    early, late = subscribed(template, partner, "08-01"), subscribed(template, partner, "08-14")
    bill(day("08-14"))
    suspension = suspend(partner, Plan.CANCEL_AT_PERIOD_END, "08-20")
    assert (suspension.ended, suspension.ending) == (0, 2)
    assert traders("08-31") == {early.pk, late.pk, control.pk}
    assert traders("09-01") == {late.pk, control.pk}  # beat has not come by yet
    bill(day("09-01"))
    assert carry_out_due(now=at("09-01", 12)) == 0  # one is left
    early.refresh_from_db()
    late.refresh_from_db()
    assert (early.status, early.status_reason) == ("CANCELLED", "PARTNER_SUSPENDED")
    assert (late.status, late.ends_on) == ("ACTIVE", day("09-14"))
    assert traders("09-11") == {late.pk, control.pk}
    bill(day("09-14"))
    assert carry_out_due(now=at("09-14", 0, 1)) == 1
    assert carry_out_due(now=at("09-15", 0, 1)) == 0
    late.refresh_from_db()
    assert late.status == "CANCELLED"
    assert (periods(early), periods(late)) == (["08-01"], ["08-14"])
    bill(day("10-14"))
    assert (periods(early), periods(late)) == (["08-01"], ["08-14"])
    assert TemplateStats.objects.get(template=template).subscriber_count == 1


def test_reinstated_before_its_end_it_is_renewed(template: Template, partner: Partner) -> None:
    """The subscription is renewed as if there had been no suspension."""
    ended, renewed = subscribed(template, partner, "08-01"), subscribed(template, partner, "08-14")
    suspend(partner, Plan.CANCEL_AT_PERIOD_END, "08-20")
    reinstatement = reinstate(partner, "09-05")
    assert (reinstatement.kept, reinstatement.released) == (1, 0)
    bill(day("09-14"))
    ended.refresh_from_db()
    renewed.refresh_from_db()
    assert (ended.status, periods(ended)) == ("CANCELLED", ["08-01"])  # it stays cancelled
    assert (renewed.status, renewed.ends_on, renewed.anchor) == ("ACTIVE", None, day("08-14"))
    assert periods(renewed) == ["08-14", "09-14"]
    assert traders("09-15") == {renewed.pk}


def test_who_let_go_of_a_hold_meanwhile_is_not_renewed_for_it(
    template: Template, partner: Partner
) -> None:
    """Staff pause and resume between the suspension and the end: the segment was open again."""
    subscription = subscribed(template, partner, "08-14")
    suspend(partner, Plan.CANCEL_AT_PERIOD_END, "08-20")
    for ask, on in ((services.pause, "08-21"), (services.resume, "08-25")):
        ask(subscription_id=subscription.pk, actor=SYSTEM, reason="ADMIN", now=at(on))
    bill(day("09-14"))
    carry_out_due(now=at("09-14", 12))
    bill(day("10-14"))
    subscription.refresh_from_db()
    assert (subscription.status, periods(subscription)) == ("CANCELLED", ["08-14"])


def test_who_had_paused_and_whose_month_is_over_ends_at_once(
    template: Template, partner: Partner
) -> None:
    rested, resting = (subscribed(template, partner, "07-10") for _ in range(2))
    for subscription, on in ((rested, "07-20"), (resting, "08-15")):
        services.pause(subscription_id=subscription.pk, actor=SYSTEM, reason="USER", now=at(on))
    suspension = suspend(partner, Plan.CANCEL_AT_PERIOD_END, "08-20")
    assert (suspension.ended, suspension.ending) == (1, 1)
    rested.refresh_from_db()
    resting.refresh_from_db()
    assert rested.status == "CANCELLED"
    assert (resting.status, resting.ends_on) == ("PAUSED", day("09-10"))
