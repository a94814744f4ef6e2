"""A withdrawn template: its customers get the days they paid for and do not get, once."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from threading import Barrier

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from marketplace.models import Template
from marketplace.services import withdraw
from marketplace.tests.factories import load_reference_data, make_template
from partners.models import Partner
from partners.tests.factories import make_partner
from quantleap.core.audit import SYSTEM
from quantleap.core.models import OutboxEvent
from subscriptions import services
from subscriptions.billing.ledger import chart_of_accounts, checks, posting, revenue_recognition
from subscriptions.billing.models import (
    Commission,
    CreditNote,
    Invoice,
    Refund,
    WithdrawalCredit,
)
from subscriptions.billing.settlement import (
    commission_maturity,
    customer_credit,
    proration,
    refunds,
    withdrawal_credits,
)
from subscriptions.billing.tests.factories import (
    AWAY,
    bill,
    credit,
    follow,
    load_billing,
    noon,
    pay,
)
from subscriptions.models import Subscription

pytestmark = pytest.mark.django_db
#: A period of 30 days: 1 to 30 June.
FIRST = dt.date(2026, 6, 1)
DAY = dt.date(2026, 6, 12)
UNUSED = 18
ZERO = Decimal(0)


@pytest.fixture
def partner() -> Partner:
    load_billing()
    load_reference_data()
    return make_partner("zebu")


@pytest.fixture
def template(partner: Partner) -> Template:
    return make_template()


def take_away(template: Template, day: dt.date = DAY) -> None:
    withdraw(template_id=template.pk, actor=SYSTEM, now=noon(day))


def credited(day: dt.date = DAY) -> int:
    return withdrawal_credits.credit_due(now=noon(day))


def assert_books_hold() -> None:
    report = checks.check_ledger(now=noon(DAY + dt.timedelta(days=400)))
    assert report.ok, report.findings


def test_an_unpaid_invoice_is_reduced_by_the_days_left(
    template: Template, partner: Partner
) -> None:
    """The day itself counts as used: 999.00 x 18 / 30 = 599.40, its CGST 89.91 x 18 / 30."""
    follow(template, partner, [FIRST])
    bill(FIRST)
    take_away(template)
    assert not CreditNote.objects.exists(), "the withdrawal itself credits nobody"
    assert credited() == 1
    note = CreditNote.objects.get()
    parts = (note.taxable, note.cgst, note.sgst, note.igst, note.total)
    assert [str(part) for part in parts] == ["599.40", "53.94", "53.94", "0.00", "707.28"]
    assert note.number == "CN26-00000001"
    assert "withdrawn on 12 Jun 2026" in note.reason
    assert note.reason == note.snapshot["reason"]
    invoice = Invoice.objects.get()
    assert (invoice.status, invoice.total - invoice.credited) == ("DUE", Decimal("471.54"))
    assert not Refund.objects.exists()
    assert posting.balance_of("receivable") == Decimal("471.54")
    sides = dict(note.transaction.entries.values_list("account__code", "amount"))
    assert sides.pop(chart_of_accounts.receivable(invoice.customer.public_id)) == -note.total
    assert sides == {
        chart_of_accounts.DEFERRED_REVENUE: note.taxable,
        chart_of_accounts.CGST: note.cgst,
        chart_of_accounts.SGST: note.sgst,
    }
    event = OutboxEvent.objects.get(type="credit_note.issued")
    assert event.partner_id == partner.pk
    assert event.payload["credit_note"] == note.number
    assert (event.payload["total"], event.payload["refunded"]) == (707.28, 0)
    assert event.payload["invoice_number"] == invoice.number
    assert_books_hold()


def test_paid_days_become_credit_and_commission_goes_back(
    template: Template, partner: Partner
) -> None:
    """The unused days become the customer's credit, and no money moves."""
    (mine,) = follow(template, partner, [FIRST], state=AWAY)
    bill(FIRST)
    invoice = Invoice.objects.get()
    pay(invoice, invoice.total)
    take_away(template)
    assert credited() == 1
    note, refund = CreditNote.objects.get(), Refund.objects.get()
    assert (str(note.igst), str(note.total)) == ("107.89", "707.29")
    assert (refund.method, refund.amount, refund.credit_note) == (
        "CUSTOMER_CREDIT",
        note.total,
        note,
    )
    assert customer_credit.available(mine.customer) == note.total
    assert posting.balance_of("receivable") == 0
    assert posting.balance(chart_of_accounts.MANUAL_CLEARING) == invoice.total, "no money moved"
    # 30 % of the 399.60 that stay, floored
    remaining = sum(Commission.objects.values_list("amount", flat=True), ZERO)
    assert remaining == Decimal("119.88")
    assert OutboxEvent.objects.filter(type="commission.clawed_back").count() == 1
    invoice.refresh_from_db()
    assert (invoice.status, invoice.refunded) == ("PAID", note.total)
    assert_books_hold()


def test_commission_that_is_payable_already_is_taken_back_there(
    template: Template, partner: Partner
) -> None:
    follow(template, partner, [FIRST])
    bill(FIRST)
    invoice = Invoice.objects.get()
    pay(invoice, invoice.total)
    late = FIRST + dt.timedelta(days=60)
    take_away(template)
    commission_maturity.mature(late, now=noon(late))
    credited(late)
    assert posting.balance(chart_of_accounts.partner_payable("zebu")) == Decimal("-119.88")
    assert posting.balance(chart_of_accounts.partner_payable_pending("zebu")) == 0
    assert_books_hold()


def test_a_period_not_yet_invoiced_is_credited_after_it_is(
    template: Template, partner: Partner
) -> None:
    """Subscribed and withdrawn on one day: the run of the next morning still bills it."""
    follow(template, partner, [FIRST])
    take_away(template, FIRST)
    assert credited(FIRST) == 0, "it waits for the run"
    assert WithdrawalCredit.objects.get().done_at is None
    bill(FIRST + dt.timedelta(days=1))
    assert credited(FIRST + dt.timedelta(days=1)) == 1
    assert CreditNote.objects.get().taxable == Decimal("965.70")  # 29 of 30 days
    assert_books_hold()


def test_a_late_run_and_a_late_credit_are_as_if_in_time(
    template: Template, partner: Partner
) -> None:
    follow(template, partner, [FIRST])
    take_away(template)
    late = DAY + dt.timedelta(days=40)
    assert credited(late) == 0
    bill(late)
    revenue_recognition.recognise(late, now=noon(late))
    assert Invoice.objects.get().recognised == 999
    assert credited(late) == 1
    note = CreditNote.objects.get()
    assert (note.taxable, note.from_revenue) == (Decimal("599.40"), Decimal("599.40"))
    assert posting.balance(chart_of_accounts.REVENUE) == Decimal("-399.60")
    assert_books_hold()


def test_used_days_are_earned_at_once_and_never_again(template: Template, partner: Partner) -> None:
    """What is left is the price of the used days; no later day delivers anything for it."""
    follow(template, partner, [FIRST])
    bill(FIRST)
    revenue_recognition.recognise(DAY - dt.timedelta(days=1), now=noon(DAY))
    take_away(template)
    credited()
    note = CreditNote.objects.get()
    assert note.from_revenue == 0
    assert posting.balance(chart_of_accounts.REVENUE) == Decimal("-399.60")
    assert posting.balance(chart_of_accounts.DEFERRED_REVENUE) == 0
    after = FIRST + dt.timedelta(days=60)
    assert revenue_recognition.recognise(after, now=noon(after)) == 0
    assert_books_hold()


def test_again_and_again_is_once(template: Template, partner: Partner) -> None:
    follow(template, partner, [FIRST, FIRST])
    bill(FIRST)
    take_away(template)
    assert credited() == 2
    assert credited() == 0
    cancelled = Subscription.objects.all()
    assert withdrawal_credits.expect(cancelled, on=DAY, now=noon(DAY)) == 2
    assert credited() == 0
    assert CreditNote.objects.count() == WithdrawalCredit.objects.count() == 2
    # and by the credit note's own key, were the queue to forget
    (note, _) = CreditNote.objects.order_by("id")
    again = refunds.credit_unused(
        invoice_id=note.invoice_id, last_used=DAY, idem_key=note.idem_key, reason="x",
        actor=SYSTEM, now=noon(DAY),
    )  # fmt: skip
    assert again is not None
    assert (again.note, again.created) == (note, False)


def test_who_gets_no_credit(template: Template, partner: Partner) -> None:
    """Free ones and the test environment; a last day; a pause whose period is over."""
    follow(template, partner, [FIRST], fee=0)
    follow(template, partner, [FIRST], environment="test")
    follow(template, partner, [dt.date(2026, 5, 13)])  # its first period ends today
    (paused,) = follow(template, partner, [dt.date(2026, 4, 1)])
    bill(dt.date(2026, 4, 1))
    services.pause(
        subscription_id=paused.pk, actor=SYSTEM, reason="USER", now=noon(dt.date(2026, 4, 5))
    )
    bill(DAY)
    take_away(template)
    assert WithdrawalCredit.objects.count() == 2, "what is not billed does not wait for anything"
    assert credited() == 2
    assert not CreditNote.objects.exists()
    assert not WithdrawalCredit.objects.filter(done_at__isnull=True).exists()


def test_a_paused_period_is_credited_from_the_withdrawal(
    template: Template, partner: Partner
) -> None:
    """The pause began earlier, but only the days after the withdrawal are credited."""
    (paused,) = follow(template, partner, [FIRST])
    bill(FIRST)
    services.pause(
        subscription_id=paused.pk, actor=SYSTEM, reason="USER", now=noon(FIRST + dt.timedelta(2))
    )
    take_away(template)
    credited()
    assert CreditNote.objects.get().taxable == Decimal("599.40")


def test_a_customer_who_cancelled_before_gets_none(template: Template, partner: Partner) -> None:
    (cancelled,) = follow(template, partner, [FIRST])
    bill(FIRST)
    services.cancel(subscription_id=cancelled.pk, actor=SYSTEM, reason="USER", now=noon(FIRST))
    take_away(template)
    assert not WithdrawalCredit.objects.exists()


def test_what_staff_credited_before_is_not_credited_twice(
    template: Template, partner: Partner
) -> None:
    follow(template, partner, [FIRST])
    bill(FIRST)
    invoice = Invoice.objects.get()
    credit(invoice, Decimal("589.41"))  # half of it
    take_away(template)
    credited()
    invoice.refresh_from_db()
    assert invoice.credited_taxable == Decimal("799.20")  # 499.50 and 18 / 30 of the other half
    left = invoice.total - invoice.credited
    assert credit(invoice, left, key="the rest").note.total == left
    assert_books_hold()


def test_one_that_fails_does_not_keep_the_others_money(
    template: Template, partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = follow(template, partner, [FIRST, FIRST])
    bill(FIRST)
    take_away(template)
    real = refunds.credit_unused

    def fails_once(**arguments: object) -> refunds.Credited | None:
        if arguments["idem_key"] == f"withdrawal:{first.pk}":
            raise RuntimeError
        return real(**arguments)  # type: ignore[arg-type]  # the very arguments

    with monkeypatch.context() as broken:
        broken.setattr(refunds, "credit_unused", fails_once)
        assert credited() == 1
    assert credited() == 1
    assert CreditNote.objects.count() == 2


def test_the_withdrawal_takes_one_statement_more_however_many(
    template: Template, partner: Partner
) -> None:
    follow(template, partner, [FIRST] * 60)
    bill(FIRST)
    with CaptureQueriesContext(connection) as seen:
        take_away(template)
    mine = [q["sql"] for q in seen if "withdrawalcredit" in q["sql"]]
    assert len(mine) == 1
    assert not [q for q in seen if "creditnote" in q["sql"] or "billing_invoice" in q["sql"]]
    assert withdrawal_credits.credit_due(now=noon(DAY), limit=25) == 25
    assert credited() == 35


# -- what the database itself refuses ------------------------------------------------------------
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM billing_withdrawalcredit",
        "UPDATE billing_withdrawalcredit SET done_at = NULL, credit_note_id = NULL",
        "UPDATE billing_withdrawalcredit SET withdrawn_on = withdrawn_on - 5",
    ],
)
def test_a_finished_credit_stays(template: Template, partner: Partner, statement: str) -> None:
    follow(template, partner, [FIRST])
    bill(FIRST)
    take_away(template)
    credited()
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def test_a_subscription_has_one_credit(template: Template, partner: Partner) -> None:
    follow(template, partner, [FIRST])
    take_away(template)
    row = WithdrawalCredit.objects.get()
    row.pk = None
    with pytest.raises(IntegrityError, match="withdrawal_credit_uniq"), transaction.atomic():
        row.save(force_insert=True)


@pytest.mark.django_db(transaction=True)
def test_many_at_once_credit_each_once() -> None:
    load_billing()
    load_reference_data()
    template = make_template()
    follow(template, make_partner("zebu"), [FIRST] * 6)
    bill(FIRST)
    take_away(template)
    gate = Barrier(4)

    def run(_number: int) -> int:
        try:
            connection.ensure_connection()
            gate.wait(timeout=30)
            return credited()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(run, range(4)))
    assert sum(done) == CreditNote.objects.count() == 6
    assert list(CreditNote.objects.order_by("seq").values_list("seq", flat=True)) == [
        1, 2, 3, 4, 5, 6,
    ]  # fmt: skip
    assert_books_hold()


# -- arithmetic ----------------------------------------------------------------------------------
PAISE = st.integers(1, 10**9).map(lambda paise: Decimal(paise) / 100)


@given(taxable=PAISE, rate=st.integers(0, 2800), intra=st.booleans(), data=st.data())
def test_unused_days_and_every_credit_after_them_add_up(
    taxable: Decimal, rate: int, intra: bool, data: st.DataObject
) -> None:
    """Never more than the days' exact part, CGST equal to SGST; the rest can be credited whole."""
    tax = (taxable * rate / 10_000).quantize(Decimal("0.01"))
    half = (taxable * rate / 20_000).quantize(Decimal("0.01"))
    none = Decimal("0.00")
    invoiced = (
        proration.Parts(taxable, half, half, none)
        if intra
        else proration.Parts(taxable, none, none, tax)
    )
    days = data.draw(st.integers(28, 31))
    unused = data.draw(st.integers(0, days))
    parts = proration.unused_parts(invoiced, unused, days)
    for part, whole in (
        (parts.taxable, invoiced.taxable), (parts.cgst, invoiced.cgst), (parts.igst, invoiced.igst),
    ):  # fmt: skip
        assert 0 <= whole * unused / days - part < Decimal("0.01")
    assert parts.cgst == parts.sgst
    left = invoiced - parts
    amount = Decimal(data.draw(st.integers(1, max(1, int(left.total * 100))))) / 100
    if proration.may_credit(invoiced.total, parts.total, amount):
        more = proration.credit_parts(invoiced, parts, amount)
        assert more.total == amount
        rest = left - more
        for part in (more.taxable, more.cgst, more.igst, rest.taxable, rest.cgst, rest.igst):
            assert part >= 0
        assert more.cgst == more.sgst


@pytest.mark.parametrize(("unused", "days"), [(-1, 30), (31, 30), (0, 0)])
def test_no_such_days(unused: int, days: int) -> None:
    with pytest.raises(ValueError, match="cannot be unused"):
        proration.unused_parts(proration.Parts(*(Decimal(1),) * 4), unused, days)
