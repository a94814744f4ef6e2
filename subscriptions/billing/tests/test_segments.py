"""What subscribing, pausing, resuming, cancelling and withdrawing mean for billing."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction

from marketplace.models import Template
from marketplace.services import withdraw
from marketplace.tests.factories import load_reference_data, make_template
from partners.models import RevenueShare
from partners.tests.factories import make_partner
from quantleap.core.audit import SYSTEM
from subscriptions import services
from subscriptions.billing.models import BillingSegment
from subscriptions.billing.tests.factories import bill, days_of, load_billing, noon
from subscriptions.models import ShareLine, Subscription
from subscriptions.tests.factories import make_subscription

pytestmark = pytest.mark.django_db

JANUARY_31 = dt.date(2026, 1, 31)


def day(month: int, number: int) -> dt.date:
    return dt.date(2026, month, number)


@pytest.fixture
def template() -> Template:
    load_billing()
    load_reference_data()
    return make_template(now=noon(JANUARY_31))


@pytest.fixture
def subscription(template: Template) -> Subscription:
    partner = make_partner()
    RevenueShare.objects.create(partner=partner, effective_from=day(1, 1), partner_bps=3000)
    return make_subscription(template, partner, now=noon(JANUARY_31))


def change(subscription: Subscription, what: str, on: dt.date) -> Subscription:
    done = getattr(services, what)(
        subscription_id=subscription.pk, actor=SYSTEM, reason="USER", now=noon(on)
    )
    assert done.changed
    return Subscription.objects.get(pk=subscription.pk)


def starts(subscription: Subscription) -> list[dt.date]:
    return [start for start, _ in days_of(subscription)]


def test_subscribing_opens_a_segment_and_copies_the_shares(subscription: Subscription) -> None:
    segment = BillingSegment.objects.get()
    assert (segment.subscription_id, segment.number) == (subscription.pk, 1)
    assert segment.anchor == segment.next_on == subscription.anchor == JANUARY_31
    lines = ShareLine.objects.values_list("role", "payee", "basis_points", "amount")
    assert set(lines) == {
        ("DISTRIBUTOR", subscription.partner_id, 3000, Decimal("299.70")),
        ("PLATFORM", None, 7000, Decimal("699.30")),
    }


def test_free_and_test_subscriptions_have_none(template: Template) -> None:
    free = make_template(fee=None, now=noon(JANUARY_31))
    tried = make_template(environment="test", now=noon(JANUARY_31))
    for unbilled_template in (free, tried):
        subscribed = make_subscription(unbilled_template, make_partner(), now=noon(JANUARY_31))
        change(subscribed, "pause", day(2, 1))
        assert change(subscribed, "resume", day(4, 1)).anchor == day(4, 1)
    assert not BillingSegment.objects.exists()


def test_a_short_pause_leaves_no_trace(subscription: Subscription) -> None:
    bill(JANUARY_31)
    change(subscription, "pause", day(2, 10))
    bill(day(2, 27))
    assert change(subscription, "resume", day(2, 27)).anchor == JANUARY_31
    bill(day(3, 31))
    assert starts(subscription) == [JANUARY_31, day(2, 28), day(3, 31)]


def test_a_long_pause_begins_a_new_segment(subscription: Subscription) -> None:
    change(subscription, "pause", day(2, 10))
    bill(day(4, 15))
    assert change(subscription, "resume", day(4, 15)).anchor == day(4, 15)
    bill(day(5, 15))
    assert starts(subscription) == [JANUARY_31, day(4, 15), day(5, 15)]
    assert list(subscription.segments.values_list("number", "anchor", "stop_on")) == [
        (1, JANUARY_31, day(2, 10)),
        (2, day(4, 15), None),
    ]


def test_resumed_on_the_day_the_period_ended_is_a_new_segment(subscription: Subscription) -> None:
    change(subscription, "pause", day(2, 10))
    assert change(subscription, "resume", day(2, 28)).anchor == day(2, 28)


def test_paused_on_its_first_day_a_period_is_billed(
    subscription: Subscription,
) -> None:
    change(subscription, "pause", day(2, 28))
    bill(day(6, 1))
    assert starts(subscription) == [JANUARY_31, day(2, 28)]


def test_cancelled_bills_what_began_and_nothing_after(subscription: Subscription) -> None:
    change(subscription, "cancel", day(3, 30))
    bill(day(12, 1))
    assert starts(subscription) == [JANUARY_31, day(2, 28)]
    assert BillingSegment.objects.get().next_on is None


def test_cancelled_while_paused_keeps_the_date_of_the_pause(subscription: Subscription) -> None:
    change(subscription, "pause", day(2, 10))
    change(subscription, "cancel", day(6, 1))
    bill(day(12, 1))
    assert starts(subscription) == [JANUARY_31]


def test_subscribed_and_cancelled_on_one_day_is_one_invoice(subscription: Subscription) -> None:
    change(subscription, "cancel", JANUARY_31)
    bill(day(12, 1))
    assert starts(subscription) == [JANUARY_31]


def test_withdrawn_stops_everybody(subscription: Subscription, template: Template) -> None:
    withdraw(template_id=template.pk, actor=SYSTEM, now=noon(day(2, 10)))
    bill(day(12, 1))
    assert starts(subscription) == [JANUARY_31]


@pytest.mark.parametrize(
    "run_on",
    [None, day(1, 31), day(2, 10), day(2, 28), day(4, 14), day(4, 15), day(5, 15)],
)
def test_when_runs_happen_changes_nothing(
    subscription: Subscription, run_on: dt.date | None
) -> None:
    """The same story with one more run at any point of it, late or never."""
    for what, on in (("pause", day(2, 10)), ("resume", day(4, 15)), ("pause", day(5, 20))):
        if run_on is not None and run_on <= on:
            bill(run_on)
        change(subscription, what, on)
    bill(day(12, 1))
    assert starts(subscription) == [JANUARY_31, day(4, 15), day(5, 15)]


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("UPDATE billing_billingsegment SET next_on = next_on + 1", "segment_next_from_anchor"),
        ("UPDATE billing_billingsegment SET next_on = NULL", "segment_next_before_stop"),
        ("UPDATE billing_billingsegment SET stop_on = anchor - 1", "segment_"),
        ("UPDATE billing_billingsegment SET environment = 'test'", "segment_live_only"),
    ],
)
def test_the_database_keeps_segments_sane(
    subscription: Subscription, statement: str, constraint: str
) -> None:
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        connection.cursor().execute(statement)


def test_shares_that_do_not_add_up_are_refused(subscription: Subscription) -> None:
    with transaction.atomic():
        ShareLine.objects.filter(role="PLATFORM").update(amount=Decimal("699.31"))
        with pytest.raises(IntegrityError, match="share lines"), transaction.atomic():
            connection.check_constraints()
        ShareLine.objects.filter(role="PLATFORM").update(amount=Decimal("699.30"))
