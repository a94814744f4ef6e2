"""What went wrong in the billing systems before ours, by the name under which it was reported.

Sources: the issues of https://github.com/killbill/killbill and the pull requests of
https://github.com/getlago/lago-api that the names say.
"""

from __future__ import annotations

import datetime as dt
import itertools
from decimal import Decimal

import pytest
from django.db import DataError

from marketplace.models import Template
from marketplace.tests.factories import load_reference_data, make_template
from partners.models import Partner
from partners.tests.factories import make_partner
from quantleap.core.audit import SYSTEM
from quantleap.core.clock import at_ist
from quantleap.core.tests.parallel import at_once
from subscriptions import services
from subscriptions.billing.errors import FutureDate
from subscriptions.billing.invoicing import run_sql
from subscriptions.billing.ledger import posting
from subscriptions.billing.models import BillingSegment, Invoice, LedgerEntry, NumberSeries
from subscriptions.billing.tests.exactbooks import ANCHORS, LATE, expected, the_books_are_exact
from subscriptions.billing.tests.factories import START, bill, days_of, follow, load_billing, noon
from subscriptions.models import Subscription
from subscriptions.services import transitions


@pytest.fixture
def template() -> Template:
    load_billing()
    load_reference_data()
    return make_template()


@pytest.fixture
def partner() -> Partner:
    return make_partner()


@pytest.mark.django_db
@pytest.mark.parametrize("late", [False, True])
def test_day_31_drift_kill_bill_127(late: bool, template: Template, partner: Partner) -> None:
    """A month added to the last end: the 31st became the 28th for ever, then billing stopped."""
    (subscription,) = follow(template, partner, [dt.date(2027, 8, 31)])
    days = [
        *(dt.date(2027, month, day) for month, day in ((8, 31), (9, 30), (10, 31), (11, 30))),
        *(dt.date(2027, 12, 31), dt.date(2028, 1, 31), dt.date(2028, 2, 29)),
        *(dt.date(2028, 3, 31), dt.date(2028, 4, 30), dt.date(2028, 5, 31)),
    ]
    for on in days[-2:-1] if late else days[:-1]:
        bill(on)
    assert days_of(subscription) == list(itertools.pairwise(days))
    segment = BillingSegment.objects.get()
    assert (segment.next_no, segment.next_on) == (len(days) - 1, days[-1])
    # of periods that came late only the one that runs today may be debited without a look
    assert Invoice.objects.filter(needs_review=True).count() == (len(days) - 2 if late else 0)


@pytest.mark.django_db
def test_endless_regeneration_kill_bill_640(template: Template, partner: Partner) -> None:
    """The same items over and over, because progress was not what the next run read."""
    follow(template, partner, [START])
    bill(dt.date(2026, 3, 31))
    BillingSegment.objects.update(next_no=0, next_on=START)
    assert bill(dt.date(2026, 4, 30)).invoices == 1
    assert bill(dt.date(2026, 4, 30)).invoices == 0
    assert Invoice.objects.count() == 4
    assert BillingSegment.objects.get().next_no == 4


@pytest.mark.django_db
def test_a_failure_in_the_run_is_not_swallowed_kill_bill_640(
    template: Template, partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop went on after a swallowed exception. Ours stops, says so, and the next run heals."""
    follow(template, partner, [START] * 3)
    monkeypatch.setattr(run_sql, "EVENTS", "SELECT 1 / 0")
    with pytest.raises(DataError, match="division by zero"):
        bill(START)
    monkeypatch.undo()
    assert not Invoice.objects.exists()
    assert bill(START).invoices == 3
    assert NumberSeries.objects.get(series="invoice").last == 3


@pytest.mark.django_db
def test_time_zone_loop_kill_bill_150(template: Template, partner: Partner) -> None:
    """A date in one zone and a run in another invoiced again and again around midnight."""
    (subscription,) = follow(template, partner, [START])
    midnight = dt.datetime(2026, 1, 30, 18, 30, tzinfo=dt.UTC)  # START begins in India
    with pytest.raises(FutureDate):
        bill(START, now=midnight - dt.timedelta(seconds=1))
    counts = [
        bill(START, now=midnight + dt.timedelta(minutes=minutes)).invoices
        for minutes in (0, 1, 329, 330, 331, 1439)  # 330: midnight in UTC
    ]
    assert counts == [1, 0, 0, 0, 0, 0]
    assert days_of(subscription) == [(START, dt.date(2026, 2, 28))]
    assert Invoice.objects.get().issued_on == START


def _paused_and_resumed_just_after_midnight(subscription: Subscription) -> list[dt.date]:
    """First days of its periods; it is still yesterday in UTC whenever its customer acts."""
    for change, month, day in (
        # the period that begins on this very day in India had begun: it is billed
        (services.pause, 2, 28),
        # the first day in India after what was paid: a new segment begins
        (services.resume, 3, 31),
        (services.cancel, 4, 30),
    ):
        at = at_ist(dt.date(2026, month, day), dt.time(0, 3))
        change(subscription_id=subscription.pk, actor=SYSTEM, reason="USER", now=at)
    bill(LATE)
    return [start for start, _ in days_of(subscription)]


_BY_INDIAN_DAYS = [START, *(dt.date(2026, *day) for day in ((2, 28), (3, 31), (4, 30)))]


@pytest.mark.django_db
def test_the_day_of_a_pause_is_the_indian_one_kill_bill_150(
    template: Template, partner: Partner
) -> None:
    """The other half of the same mistake: a business date taken from an instant in UTC."""
    (subscription,) = follow(template, partner, [START])
    assert _paused_and_resumed_just_after_midnight(subscription) == _BY_INDIAN_DAYS


@pytest.mark.django_db
def test_control_days_of_utc_bill_something_else(
    template: Template, partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    (subscription,) = follow(template, partner, [START])
    monkeypatch.setattr(transitions, "ist_date", lambda now: now.date())
    assert _paused_and_resumed_just_after_midnight(subscription) != _BY_INDIAN_DAYS


@pytest.mark.django_db
def test_overlapping_terms_after_repeated_pauses_kill_bill_2306(
    template: Template, partner: Partner
) -> None:
    """Blocked and unblocked again and again: terms overlapped and the account was parked."""
    (subscription,) = follow(template, partner, [START])
    for on in (dt.date(2026, 2, 10),) * 2 + (dt.date(2026, 4, 15),) * 2:
        for change in (services.pause, services.resume):
            outcome = change(
                subscription_id=subscription.pk, actor=SYSTEM, reason="USER", now=noon(on)
            )
            assert outcome.changed
    bill(dt.date(2026, 5, 15))
    periods = days_of(subscription)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(periods))
    assert periods[-1][0] == dt.date(2026, 4, 30)
    assert Subscription.objects.get(pk=subscription.pk).status == "ACTIVE"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("workers", [2, 3])
def test_double_invoice_by_parallel_jobs_lago_1086_1484_1988(
    workers: int, template: Template, partner: Partner
) -> None:
    """Two jobs, two invoices for a period (1086); then the second attempt was an error (1988).

    What fails without the locks and constraints: the controls in test_run_races.py.
    """
    subscriptions = follow(template, partner, ANCHORS * 15)
    results = at_once(workers, lambda _: bill(LATE, chunk=10).invoices)
    assert sum(results) == expected(subscriptions), "nobody's attempt is an error"
    the_books_are_exact(expected(subscriptions))
    assert bill(LATE).invoices == 0


@pytest.mark.django_db
def test_days_that_nobody_looked_at_lago(template: Template, partner: Partner) -> None:
    """Asked only whether today is a billing day; the days of an outage were never billed."""
    subscriptions = follow(template, partner, [START, dt.date(2026, 2, 5), dt.date(2026, 2, 14)])
    bill(dt.date(2026, 2, 14))
    outage = dt.timedelta(days=40)
    assert bill(dt.date(2026, 2, 14) + outage).invoices == 3
    assert [len(days_of(subscription)) for subscription in subscriptions] == [2, 2, 2]


@pytest.mark.django_db
def test_a_ledger_that_does_not_deduplicate_openmeter() -> None:
    """A job that came twice posted twice: the caller had to remember. Ours knows the key."""
    sides = [posting.debit("bank", Decimal(100)), posting.credit("suspense", Decimal(100))]
    again = [
        posting.post(
            idem_key="receipt:1", kind="receipt", effective_on=START, postings=sides, now=on
        ).created
        for on in (noon(START), noon(LATE))
    ]
    assert again == [True, False]
    assert LedgerEntry.objects.count() == 2
    assert posting.balance("bank") == 100
