"""Who leaves and comes back inside a month goes on in it (docs/adr/0054)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from threading import Barrier
from typing import Any

import pytest
import time_machine
from django.db import DatabaseError, IntegrityError, transaction

from marketplace.models import Price, Template
from marketplace.services import withdraw
from marketplace.tests.factories import load_reference_data, make_template
from partners.models import Customer
from partners.tests.factories import Tenant, make_tenant
from quantleap.core.audit import SYSTEM
from quantleap.core.clock import at_ist
from quantleap.core.tests.parallel import at_once
from subscriptions import services
from subscriptions.billing.invoicing import runs, segments
from subscriptions.billing.ledger import checks
from subscriptions.billing.models import BillingSegment, CreditNote, Invoice
from subscriptions.billing.settlement import withdrawal_credits
from subscriptions.billing.settlement.balance_due import balance_due
from subscriptions.billing.tests.factories import (
    bill,
    credit,
    days_of,
    follow_again,
    load_billing,
    noon,
    pay,
)
from subscriptions.billing.tests.factories import follow as follow_many
from subscriptions.errors import DuplicateSubscription, PaymentDue
from subscriptions.models import Subscription
from subscriptions.periods import Period, add_months
from subscriptions.ports import PaymentStatus
from subscriptions.tests.factories import make_subscription

pytestmark = pytest.mark.django_db
DAY = dt.date(2026, 8, 4)
NEXT = dt.date(2026, 9, 4)
TOTAL = Decimal("1178.82")
WHO = "asha@example.com"
SUBSCRIBE = "/partner/marketplace/subscribe"


@pytest.fixture
def tenant(db: None) -> Tenant:
    load_billing()
    load_reference_data()
    return make_tenant("zebu")


@pytest.fixture
def template(tenant: Tenant) -> Template:
    return make_template()


def days(more: int) -> dt.date:
    return DAY + dt.timedelta(days=more)


def follow(template: Template, tenant: Tenant, on: dt.date | dt.datetime) -> Subscription:
    now = on if isinstance(on, dt.datetime) else noon(on)
    return make_subscription(template, tenant.partner, email=WHO, now=now)


def leave(subscription: Subscription, on: dt.date) -> None:
    services.cancel(subscription_id=subscription.pk, actor=SYSTEM, reason="USER", now=noon(on))


def periods() -> list[tuple[dt.date, dt.date]]:
    """Of every invoice, in order."""
    return list(
        Invoice.objects.order_by("period_start", "id").values_list("period_start", "period_end")
    )


def holds(on: dt.date) -> None:
    """The proof of the books finds nothing."""
    assert checks.check_ledger(now=noon(on)).findings == []


# -- what was seen ---------------------------------------------------------------------------------
def test_three_restarts_before_the_run_were_billed_four_times(
    tenant: Tenant, template: Template
) -> None:
    """Over HTTP, between the morning of one day and the run of the next: 4,715.28 for a month."""
    body = {
        "template_id": template.public_id,
        "user_email": WHO,
        "user_state": "33",
        "broker_client_id": "Z1",
    }
    subscribed: dict[str, Any] = {}
    for hour in (10, 11, 12, 13):
        with time_machine.travel(at_ist(DAY, dt.time(hour)), tick=False):
            answer = tenant.client.post(SUBSCRIBE, body)
            assert answer.status_code == 201, answer.content
            subscribed = answer.json()
            if hour < 13:
                tenant.client.delete(f"/partner/subscriptions/{subscribed['subscription_id']}")
    assert subscribed["next_billing_date"] == "2026-09-04"
    assert subscribed["pricing"]["billing_start_date"] == "2026-08-04"
    assert bill(days(1), now=at_ist(days(1), dt.time(4, 30))).invoices == 1
    assert Invoice.objects.get().total == TOTAL
    with time_machine.travel(noon(days(1)), tick=False):
        listed = tenant.client.get("/partner/subscriptions").json()["subscriptions"]
        assert [(row["payment"]["status"], row["payment"]["amount"]) for row in listed] == [
            ("DUE", 1178.82),  # the one that lives, in the month that the first began
            ("NOT_REQUIRED", None),
            ("NOT_REQUIRED", None),
            ("DUE", 1178.82),
        ]
        tenant.client.delete(f"/partner/subscriptions/{subscribed['subscription_id']}")
        refused = tenant.client.post(SUBSCRIBE, body)
    assert (refused.status_code, refused.json()["code"]) == (409, "payment_due")
    assert refused.json()["invoice_id"] == Invoice.objects.get().public_id
    assert (bill(NEXT).invoices, periods()) == (0, [(DAY, NEXT)])
    holds(NEXT)


def test_months_that_nobody_had_invoiced_were_no_debt(tenant: Tenant, template: Template) -> None:
    """Cancelled before the run, back after the month was over, with no run between."""
    leave(follow(template, tenant, DAY), DAY)
    with pytest.raises(PaymentDue) as refused:
        follow(template, tenant, NEXT)
    assert refused.value.extra == {"invoice_id": None, "invoice_number": None}
    assert "2026-08-04" in refused.value.message
    assert Subscription.objects.count() == 1
    bill(NEXT)
    pay(Invoice.objects.get(), TOTAL)
    follow(template, tenant, NEXT)
    bill(NEXT)
    assert periods() == [(DAY, NEXT), (NEXT, dt.date(2026, 10, 4))]
    holds(NEXT)


# -- the month that goes on ------------------------------------------------------------------------
def test_a_paid_month_goes_on_and_the_next_bears_the_new_price(
    tenant: Tenant, template: Template
) -> None:
    old = follow(template, tenant, DAY)
    bill(DAY)
    pay(Invoice.objects.get(), TOTAL)
    leave(old, days(5))
    Price.objects.update(monthly_fee=Decimal(1499))
    new = follow(template, tenant, days(9))
    assert (new.anchor, new.monthly_fee) == (DAY, Decimal(1499))
    new.refresh_from_db()
    assert (new.anchor, balance_due(new, days(9)).status) == (DAY, PaymentStatus.PAID)
    bill(days(9))
    bill(NEXT)
    assert [invoice.taxable for invoice in Invoice.objects.order_by("id")] == [999, 1499]
    assert [days_of(subscription) for subscription in (old, new)] == [
        [(DAY, NEXT)], [(NEXT, dt.date(2026, 10, 4))]
    ]  # fmt: skip
    assert balance_due(Subscription.objects.get(pk=new.pk), NEXT).status is PaymentStatus.DUE
    holds(NEXT)


@pytest.mark.parametrize(
    ("begins", "leaves", "returns", "expected"),
    [
        pytest.param((2026, 1, 31), (2026, 1, 31), (2026, 2, 27), [(1, 31), (2, 28), (3, 31)],
                     id="the 31st, back on the last day"),
        pytest.param((2026, 1, 31), (2026, 2, 5), (2026, 2, 28), [(1, 31), (2, 28), (3, 28)],
                     id="the 31st, back on the day after the month"),
        pytest.param((2028, 1, 30), (2028, 2, 10), (2028, 2, 28), [(1, 30), (2, 29), (3, 30)],
                     id="a leap year, back the day before the 29th"),
        pytest.param((2028, 2, 29), (2028, 3, 1), (2028, 3, 28), [(2, 29), (3, 29), (4, 29)],
                     id="begun on 29 February"),
        pytest.param((2026, 3, 15), (2026, 3, 15), (2026, 3, 15), [(3, 15), (4, 15), (5, 15)],
                     id="the same day"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("often", [False, True], ids=["one late run", "a run every day"])
def test_months_are_counted_on_from_the_first_day(
    tenant: Tenant,
    template: Template,
    begins: tuple[int, int, int],
    leaves: tuple[int, int, int],
    returns: tuple[int, int, int],
    expected: list[tuple[int, int]],
    often: bool,
) -> None:
    first, last = dt.date(*begins), add_months(dt.date(*begins), 2)
    (old,) = follow_many(template, tenant.partner, [first])
    day = first
    while day <= last:
        if day == dt.date(*leaves):
            leave(old, day)
        if day == dt.date(*returns):
            _come_back(day)
        if often or day == last:
            bill(day)
        day += dt.timedelta(days=1)
    assert [start for start, _ in periods()] == [
        dt.date(begins[0], *month_day) for month_day in expected
    ]
    holds(last)


def _come_back(on: dt.date) -> Subscription:
    return follow_again(Subscription.objects.latest("id"), on)


def test_several_restarts_over_the_end_of_a_month(tenant: Tenant, template: Template) -> None:
    subscription = follow(template, tenant, DAY)
    for leaves, comes in ((3, 3), (3, 10), (29, 30), (30, 30)):
        leave(subscription, days(leaves))
        subscription = _come_back(days(comes))
    assert days(31) == NEXT
    leave(subscription, NEXT)  # the second month had begun on this day
    subscription = _come_back(NEXT)
    leave(subscription, dt.date(2026, 10, 4))  # and the third
    bill(dt.date(2026, 12, 1))
    october, november = dt.date(2026, 10, 4), dt.date(2026, 11, 4)
    assert periods() == [(DAY, NEXT), (NEXT, october), (october, november)]
    holds(dt.date(2026, 12, 1))


def test_a_minute_before_and_after_the_run(tenant: Tenant, template: Template) -> None:
    """04:29: the month goes on. 04:31: its invoice lies there, and is paid first; then it goes on.
    What is billed is the same.
    """
    leave(follow(template, tenant, DAY), DAY)
    before = at_ist(days(1), dt.time(4, 29))
    new = follow(template, tenant, before)
    bill(days(1), now=at_ist(days(1), dt.time(4, 30)))
    assert balance_due(new, days(1)).amount == TOTAL
    services.cancel(
        subscription_id=new.pk, actor=SYSTEM, reason="USER", now=at_ist(days(1), dt.time(4, 31))
    )
    with pytest.raises(PaymentDue):
        follow(template, tenant, at_ist(days(1), dt.time(4, 31)))
    pay(Invoice.objects.get(), TOTAL, day=days(1))
    newest = follow(template, tenant, at_ist(days(1), dt.time(4, 32)))
    bill(NEXT)
    assert periods() == [(DAY, NEXT), (NEXT, dt.date(2026, 10, 4))]
    assert days_of(newest) == [(NEXT, dt.date(2026, 10, 4))]
    holds(NEXT)


def test_a_pause_in_a_month_that_went_on(tenant: Tenant, template: Template) -> None:
    leave(follow(template, tenant, DAY), DAY)
    new = follow(template, tenant, days(2))
    act: dict[str, Any] = {"subscription_id": new.pk, "actor": SYSTEM, "reason": "USER"}
    services.pause(**act, now=noon(days(3)))
    services.resume(**act, now=noon(days(20)))
    bill(NEXT)
    services.pause(**act, now=noon(NEXT))
    again = dt.date(2026, 11, 20)
    services.resume(**act, now=noon(again))
    bill(again)
    assert [start for start, _ in periods()] == [DAY, NEXT, again]
    holds(again)


# -- what was given back ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("amount", "begins_anew"),
    [
        pytest.param(TOTAL, True, id="all of it"),
        pytest.param(Decimal("798.56"), True, id="the 21 days from the restart on"),
        pytest.param(Decimal("798.00"), False, id="a little less"),
        pytest.param(Decimal("100.00"), False, id="a goodwill"),
    ],
)
def test_what_was_given_back_is_begun_anew(
    tenant: Tenant, template: Template, amount: Decimal, begins_anew: bool
) -> None:
    """Back on day 10 of 31: 21 of them are left, 676.74 of 999.00 before tax."""
    old = follow(template, tenant, DAY)
    bill(DAY)
    invoice = Invoice.objects.get()
    pay(invoice, TOTAL)
    leave(old, days(3))
    credit(invoice, amount, day=days(4))
    new = follow(template, tenant, days(10))
    assert (new.anchor == days(10)) == begins_anew
    bill(days(12))
    assert days_of(new) == ([(days(10), dt.date(2026, 9, 14))] if begins_anew else [])
    holds(days(12))


def test_given_back_is_counted_by_days() -> None:
    month = Period(0, DAY, NEXT)
    invoice = Invoice(taxable=Decimal("999.00"), credited_taxable=Decimal("676.74"))
    assert segments.given_back(invoice, month, days(10))
    assert not segments.given_back(invoice, month, days(9))
    invoice.credited_taxable -= Decimal("0.01")
    assert not segments.given_back(invoice, month, days(10))
    assert not segments.given_back(None, month, days(10))


def test_a_withdrawal_credits_the_month_that_went_on(tenant: Tenant, template: Template) -> None:
    """Whose invoice it is; and only once the run has issued it."""
    leave(follow(template, tenant, DAY), DAY)
    follow(template, tenant, days(2))
    withdraw(template_id=template.pk, actor=SYSTEM, now=noon(days(10)))
    assert withdrawal_credits.credit_due(now=noon(days(10))) == 0, "nothing is invoiced yet"
    bill(days(11))
    assert withdrawal_credits.credit_due(now=noon(days(11))) == 1
    note = CreditNote.objects.get()
    assert note.taxable == Decimal("644.51")  # 20 of 31 days, floored
    assert note.invoice == Invoice.objects.get()
    holds(days(11))


# -- what somebody owes ----------------------------------------------------------------------------
def test_a_due_month_without_an_invoice_is_not_paid(tenant: Tenant, template: Template) -> None:
    """Seen: PAID, because the invoices that there were had been paid."""
    subscription = follow(template, tenant, DAY)
    bill(DAY)
    pay(Invoice.objects.get(), TOTAL)
    paid = [
        balance_due(Subscription.objects.get(pk=subscription.pk), on).status
        for on in (days(30), NEXT)
    ]
    assert paid == [PaymentStatus.PAID, PaymentStatus.NOT_INVOICED]


# -- many at once ----------------------------------------------------------------------------------
@pytest.fixture
def setup(transactional_db: None) -> tuple[Template, Tenant]:
    load_billing()
    load_reference_data()
    return make_template(), make_tenant("zebu")


def _subscribe_again(template: Template, tenant: Tenant, on: dt.date) -> str:
    try:
        follow(template, tenant, on)
    except (PaymentDue, DuplicateSubscription) as error:
        return type(error).__name__
    return "made"


@pytest.mark.django_db(transaction=True)
def test_eight_that_come_back_at_once_are_one_in_the_same_month(
    setup: tuple[Template, Tenant],
) -> None:
    template, tenant = setup
    old = follow(template, tenant, DAY)

    def call(number: int) -> str:
        if number == 0:
            leave(old, days(1))
            return "left"
        return _subscribe_again(template, tenant, days(1))

    done = at_once(8, call)
    assert done.count("made") <= 1
    assert set(done) <= {"left", "made", "DuplicateSubscription"}
    _subscribe_again(template, tenant, days(1))
    assert Subscription.objects.count() == 2
    bill(NEXT)
    assert periods() == [(DAY, NEXT), (NEXT, dt.date(2026, 10, 4))]
    holds(NEXT)


@pytest.mark.django_db(transaction=True)
def test_the_run_and_a_restart_at_once_bill_the_month_once(
    setup: tuple[Template, Tenant], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run holds the old segment while the new one is made: both go through."""
    template, tenant = setup
    leave(follow(template, tenant, DAY), DAY)
    meet = Barrier(2)
    _meeting(monkeypatch, runs, "_issue", meet)
    _meeting(monkeypatch, segments, "open_first", meet)

    def call(number: int) -> Any:
        return _subscribe_again(template, tenant, days(1)) if number else bill(days(1)).invoices

    assert at_once(2, call, errors=(DatabaseError,)) == [1, "made"]
    assert bill(NEXT).invoices == 1
    assert periods() == [(DAY, NEXT), (NEXT, dt.date(2026, 10, 4))]
    holds(NEXT)


def _meeting(patch: pytest.MonkeyPatch, module: Any, name: str, meet: Barrier) -> None:
    """Before each first call the other one is waited for."""
    original: Callable[..., Any] = getattr(module, name)
    met: list[bool] = []

    def call(*arguments: Any, **options: Any) -> Any:
        if not met:
            met.append(True)
            meet.wait(timeout=30)
        return original(*arguments, **options)

    patch.setattr(module, name, call)


# -- the database ----------------------------------------------------------------------------------
def test_the_database_refuses_a_day_in_two_subscriptions(
    tenant: Tenant, template: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever lifecycle believes: a segment over days that the customer has begun is refused."""
    leave(follow(template, tenant, DAY), DAY)
    monkeypatch.setattr(segments, "begun", lambda _subscriptions: {})
    for on in (DAY, days(30)):
        with pytest.raises(IntegrityError, match="has begun"), transaction.atomic():
            _come_back(on)
    _come_back(NEXT)
    other = make_subscription(make_template(), tenant.partner, email=WHO, now=noon(DAY))
    assert other.segments.count() == 1, "another template is another month"


@pytest.mark.parametrize(
    "wrong",
    [{"first_no": 1}, {"continues_id": 0, "first_no": 0}, {"continues_id": 0, "first_no": 5}],
    ids=["nothing to go on in", "from the first", "from one that is not the next"],
)
def test_the_database_refuses_to_go_on_from_nowhere(
    tenant: Tenant, template: Template, wrong: dict[str, int]
) -> None:
    old = follow(template, tenant, DAY)
    leave(old, DAY)
    new = follow(template, tenant, DAY)
    values: dict[str, Any] = {"continues_id": None, **wrong}
    if values["continues_id"] is not None:
        values["continues_id"] = old.segments.get().pk
    with pytest.raises(IntegrityError, match="segment_continues_from_first"), transaction.atomic():
        BillingSegment.objects.filter(subscription=new).update(**values)


def test_a_direct_customer_and_another_partners_are_others(
    tenant: Tenant, template: Template
) -> None:
    """The same address with another partner is another customer, who begins their own month."""
    leave(follow(template, tenant, DAY), DAY)
    theirs = make_subscription(template, make_tenant().partner, email=WHO, now=noon(days(3)))
    assert theirs.anchor == days(3)
    assert Customer.objects.filter(email=WHO).count() == 2
