"""Deferred revenue becomes revenue by the day, once, and all of it by the end."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from marketplace.models import Template
from marketplace.tests.factories import load_reference_data, make_template
from partners.tests.factories import make_partner
from subscriptions.billing.errors import FutureDate
from subscriptions.billing.ledger import checks, posting
from subscriptions.billing.ledger.revenue_recognition import recognise
from subscriptions.billing.models import Invoice, LedgerTransaction
from subscriptions.billing.tests.factories import START, bill, follow, load_billing, noon

pytestmark = pytest.mark.django_db


@pytest.fixture
def template() -> Template:
    load_billing()
    load_reference_data()
    return make_template()


def after(days: int) -> dt.date:
    return START + dt.timedelta(days=days)


def through(day: dt.date, **options: int) -> Decimal:
    return recognise(day, now=noon(day + dt.timedelta(days=1)), **options)


def test_one_day_of_twenty_eight(template: Template) -> None:
    follow(template, make_partner(), [START])
    bill(START)
    assert through(START) == Decimal("35.67")  # 999 / 28, floored
    assert through(START) == 0
    assert posting.balance("revenue") == Decimal("-35.67")
    assert posting.balance("deferred_revenue") == Decimal("-963.33")
    posted = LedgerTransaction.objects.get(kind="recognition")
    assert posted.effective_on == START


def test_every_day_or_once_comes_to_the_same_and_to_all(template: Template) -> None:
    follow(template, make_partner(), [START])
    bill(START)
    parts = [through(after(days)) for days in range(28)]
    assert sum(parts) == Decimal("999.00")
    assert set(parts) == {Decimal("35.67"), Decimal("35.68")}
    assert through(after(60)) == 0
    assert Invoice.objects.get().deferred is False
    late = make_template()
    follow(late, None, [START])
    bill(after(27))
    assert through(after(9)) == sum(parts[:10])
    assert through(after(27)) == sum(parts[10:])
    assert posting.balance("deferred_revenue") == 0
    assert checks.check_ledger(now=noon(START)).findings == []


def test_partners_are_posted_apart_and_chunks_lose_nothing(template: Template) -> None:
    first, second = make_partner(), make_partner()
    for partner in (first, second, None):
        follow(template, partner, [START] * 3)
    bill(START)
    assert through(START, chunk=2) == 9 * Decimal("35.67")
    posted = LedgerTransaction.objects.filter(kind="recognition")
    assert set(posted.values_list("partner_id", flat=True)) == {first.pk, second.pk, None}
    assert checks.check_ledger(now=noon(START)).findings == []


def test_what_was_credited_is_not_earned(template: Template) -> None:
    follow(template, make_partner(), [START])
    bill(START)
    Invoice.objects.update(credited=Decimal("590.00"), credited_taxable=Decimal("500.00"))
    assert through(after(13)) == Decimal("249.50")  # half of 499
    assert through(after(27)) == Decimal("249.50")
    assert Invoice.objects.get().deferred is False


def test_a_period_that_begins_tomorrow_earns_nothing(template: Template) -> None:
    follow(template, make_partner(), [START])
    bill(START)
    assert through(after(-1)) == 0
    assert not LedgerTransaction.objects.filter(kind="recognition").exists()


def test_days_to_come_are_not_recognised(template: Template) -> None:
    with pytest.raises(FutureDate):
        recognise(after(1), now=noon(START))
