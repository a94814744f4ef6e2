"""Money recorded by many at once: real transactions, and the same without what protects them."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from threading import Barrier
from typing import Any

import pytest
from django.db import IntegrityError
from django.db.models import Sum

from marketplace.tests.factories import load_reference_data, make_template
from partners.tests.factories import make_partner
from quantleap.core.models import OutboxEvent
from quantleap.core.tests.parallel import at_once
from subscriptions.billing.errors import NothingToCredit, PaymentKeyReused
from subscriptions.billing.ledger import checks, posting
from subscriptions.billing.models import Commission, CreditNote, Invoice, LedgerEntry, Payment
from subscriptions.billing.settlement import commission_maturity, commissions, payments
from subscriptions.billing.tests.factories import (
    START,
    bill,
    credit,
    follow,
    load_billing,
    noon,
    pay,
)

pytestmark = pytest.mark.django_db(transaction=True)
TOTAL = Decimal("1178.82")
LATER = START + dt.timedelta(days=40)


def _invoices(count: int = 1) -> list[Invoice]:
    load_billing()
    load_reference_data()
    follow(make_template(), make_partner("zebu"), [START] * count)
    bill(START)
    return list(Invoice.objects.order_by("id"))


def assert_books_hold() -> None:
    assert LedgerEntry.objects.aggregate(sum=Sum("amount"))["sum"] == 0
    report = checks.check_ledger(now=noon(LATER))
    assert report.ok, report.findings


def test_one_key_pays_once() -> None:
    (invoice,) = _invoices()
    outcomes = at_once(8, lambda _number: pay(invoice, TOTAL))
    assert [outcome.created for outcome in outcomes].count(True) == 1
    assert len({outcome.payment.pk for outcome in outcomes}) == 1
    assert Payment.objects.count() == Commission.objects.count() == 1
    assert OutboxEvent.objects.filter(type="invoice.paid").count() == 1
    assert_books_hold()


def test_two_keys_pay_too_much_and_nothing_is_lost() -> None:
    (invoice,) = _invoices()
    at_once(6, lambda number: pay(invoice, Decimal("1000.00"), key=f"k{number}"))
    invoice.refresh_from_db()
    assert (invoice.status, invoice.paid) == ("PAID", TOTAL)
    assert posting.balance_of("customer_credit") == TOTAL - 6000
    sums = Payment.objects.aggregate(applied=Sum("applied"), excess=Sum("excess"))
    assert sums == {"applied": TOTAL, "excess": 6000 - TOTAL}
    assert Commission.objects.aggregate(sum=Sum("amount"))["sum"] == Decimal("299.70")
    assert_books_hold()


def test_control_without_the_lock_the_database_refuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same calls on a row that nobody locked: the sums of one would overwrite the other's."""
    (invoice,) = _invoices()
    read = Barrier(2)

    def unlocked(invoice_id: int) -> Invoice:
        row = Invoice.objects.select_related("customer", "subscription__template").get(
            pk=invoice_id
        )
        read.wait(timeout=30)
        return row

    monkeypatch.setattr(payments, "lock_invoice", unlocked)
    outcomes = at_once(
        2,
        lambda number: pay(invoice, Decimal("500.00"), key=f"k{number}"),
        errors=(IntegrityError,),
    )
    (refused,) = (outcome for outcome in outcomes if isinstance(outcome, IntegrityError))
    assert "500.00 are paid and 0.00 reversed, its payments say 1000.00" in str(refused)
    invoice.refresh_from_db()
    assert Payment.objects.aggregate(sum=Sum("applied"))["sum"] == invoice.paid == 500
    assert_books_hold()


def test_one_key_for_two_invoices_is_used_once() -> None:
    first, second = _invoices(2)
    second.number = first.number  # the factory's key begins with it

    def call(number: int) -> str:
        try:
            pay((first, second)[number % 2], TOTAL)
        except PaymentKeyReused:
            return "refused"
        return "done"

    assert sorted(set(at_once(6, call))) == ["done", "refused"]
    assert Payment.objects.count() == 1
    assert_books_hold()


def test_refunds_at_once_never_give_back_more_than_was_paid() -> None:
    (invoice,) = _invoices()
    pay(invoice, TOTAL)

    def call(number: int) -> str:
        try:
            credit(invoice, Decimal("400.00"), key=f"c{number}")
        except NothingToCredit:
            return "refused"
        return "done"

    assert sorted(at_once(6, call)) == ["done"] * 2 + ["refused"] * 4
    assert list(CreditNote.objects.order_by("seq").values_list("seq", flat=True)) == [1, 2]
    assert_books_hold()


def test_maturing_refunding_and_paying_at_once_adds_up() -> None:
    """No accrual matures twice, and the ledger check finds nothing."""
    invoices = _invoices(4)
    for invoice in invoices:
        pay(invoice, Decimal("800.00"))

    def call(number: int) -> None:
        invoice = invoices[number % 4]
        if number < 4:
            credit(invoice, Decimal("900.00"), day=LATER)
        elif number < 8:
            pay(invoice, Decimal("300.00"), key="second", day=LATER)
        else:
            commission_maturity.mature(LATER, now=noon(LATER), chunk=2)

    at_once(10, call)
    commission_maturity.mature(LATER, now=noon(LATER))
    released = Commission.objects.filter(kind="MATURITY").values_list("accrual", flat=True)
    assert len(released) == len(set(released))
    assert_books_hold()


def test_a_payment_that_fails_half_way_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    (invoice,) = _invoices()
    before = LedgerEntry.objects.count()

    def crash(*_arguments: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(commissions, "_write", crash)  # all postings are made by then
    with pytest.raises(RuntimeError):
        pay(invoice, TOTAL)
    invoice.refresh_from_db()
    assert (invoice.status, Payment.objects.count()) == ("DUE", 0)
    assert LedgerEntry.objects.count() == before
    assert_books_hold()
