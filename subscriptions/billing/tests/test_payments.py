"""Payments, refunds and what partners earn of them, to the paisa; the books stay balanced."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import Sum

from marketplace.tests.factories import load_reference_data, make_template
from partners.models import Partner
from partners.tests.factories import make_partner
from quantleap.core.audit import Actor
from quantleap.core.errors import InvalidRequest
from quantleap.core.models import AuditEntry, OutboxEvent
from subscriptions.billing.errors import FutureDate, NothingToCredit, PaymentKeyReused
from subscriptions.billing.ledger import chart_of_accounts, checks, posting, revenue_recognition
from subscriptions.billing.models import (
    Commission,
    CreditNote,
    Invoice,
    LedgerEntry,
    Payment,
    Refund,
)
from subscriptions.billing.settlement import commission_maturity, customer_credit, payments
from subscriptions.billing.tests.factories import (
    AWAY,
    START,
    bill,
    credit,
    follow,
    load_billing,
    noon,
    pay,
)

pytestmark = pytest.mark.django_db
TOTAL = Decimal("1178.82")
ZERO = Decimal(0)
STAFF = Actor("STAFF", "clerk")


@pytest.fixture
def partner() -> Partner:
    load_billing()
    load_reference_data()
    return make_partner("zebu")


@pytest.fixture
def invoice(partner: Partner) -> Invoice:
    follow(make_template(), partner, [START])
    bill(START)
    return Invoice.objects.get()


def rupees(text: str) -> Decimal:
    return Decimal(text)


def books(partner: str = "zebu") -> dict[str, Decimal]:
    """Balances that matter here, debit positive."""
    return {
        "clearing": posting.balance(chart_of_accounts.MANUAL_CLEARING),
        "receivable": posting.balance_of("receivable"),
        "credit": posting.balance_of("customer_credit"),
        "deferred": posting.balance(chart_of_accounts.DEFERRED_REVENUE),
        "revenue": posting.balance(chart_of_accounts.REVENUE),
        "tax": posting.balance_of("gst_output"),
        "expense": posting.balance(chart_of_accounts.REVSHARE_EXPENSE),
        "pending": posting.balance(chart_of_accounts.partner_payable_pending(partner)),
        "payable": posting.balance(chart_of_accounts.partner_payable(partner)),
    }


def assert_books_hold() -> None:
    assert LedgerEntry.objects.aggregate(sum=Sum("amount"))["sum"] == 0
    report = checks.check_ledger(now=noon(START + dt.timedelta(days=400)))
    assert report.ok, report.findings


def earned(invoice: Invoice) -> Decimal:
    commissions = Commission.objects.filter(invoice=invoice).exclude(kind="MATURITY")
    total: Decimal | None = commissions.aggregate(sum=Sum("amount"))["sum"]
    return total or Decimal(0)


# -- payments ------------------------------------------------------------------------------------
def test_a_payment_settles_and_earns(invoice: Invoice) -> None:
    recorded = pay(invoice, TOTAL)
    invoice.refresh_from_db()
    assert recorded.created
    assert (invoice.status, invoice.paid) == ("PAID", TOTAL)
    row = Commission.objects.get()
    assert (row.kind, row.role, row.base, row.bps, row.amount) == (
        "ACCRUAL", "DISTRIBUTOR", rupees("999.00"), 3000, rupees("299.70"),
    )  # fmt: skip
    assert row.payment == recorded.payment
    assert row.matures_on == START + dt.timedelta(days=30)
    sides = dict(row.transaction.entries.values_list("account__code", "amount"))
    assert sides == {
        "revshare_expense": rupees("299.70"),
        "partner_payable_pending:zebu": rupees("-299.70"),
    }
    assert books()["receivable"] == 0
    assert books()["clearing"] == TOTAL
    payloads = dict(OutboxEvent.objects.values_list("type", "payload"))
    assert payloads["invoice.paid"]["status"] == "PAID"
    assert payloads["commission.accrued"]["amount"] == 299.7
    assert payloads["commission.accrued"]["payment_id"] == recorded.payment.public_id
    assert AuditEntry.objects.filter(action="payment.recorded").count() == 1
    assert_books_hold()


def test_the_same_key_records_a_payment_once(
    invoice: Invoice,
) -> None:
    """A payment of another amount under a used key is refused."""
    first = pay(invoice, TOTAL, key="utr-1")
    again = pay(invoice, TOTAL, key="utr-1")
    assert (again.payment, again.created) == (first.payment, False)
    with pytest.raises(PaymentKeyReused):
        pay(invoice, TOTAL - 1, key="utr-1")
    assert Payment.objects.count() == Commission.objects.count() == 1
    assert_books_hold()


def test_parts_are_exact_in_total(invoice: Invoice) -> None:
    statuses = []
    for number, amount in enumerate(("0.01", "333.33", "500.00", "345.48")):
        pay(invoice, rupees(amount), key=f"part-{number}")
        invoice.refresh_from_db()
        statuses.append(invoice.status)
    assert statuses == ["PARTLY_PAID", "PARTLY_PAID", "PARTLY_PAID", "PAID"]
    assert earned(invoice) == rupees("299.70")
    assert Commission.objects.aggregate(sum=Sum("base"))["sum"] == 999
    assert OutboxEvent.objects.filter(type="invoice.paid").count() == 1
    assert_books_hold()


def test_too_much_is_the_customers_credit_and_can_go_back(invoice: Invoice) -> None:
    paid = pay(invoice, rupees("1500.00")).payment
    assert (paid.applied, paid.excess) == (TOTAL, rupees("321.18"))
    assert books()["credit"] == rupees("-321.18")
    second = pay(invoice, TOTAL, key="again").payment
    assert (second.applied, second.excess) == (ZERO, TOTAL)
    assert earned(invoice) == rupees("299.70")
    arguments: dict[str, Any] = {
        "payment_id": paid.pk,
        "method": "UPI",
        "reference": "back",
        "actor": STAFF,
        "now": noon(START),
    }
    customer_credit.return_excess(idem_key="b1", amount=rupees("300"), **arguments)
    customer_credit.return_excess(idem_key="b1", amount=rupees("300"), **arguments)
    with pytest.raises(NothingToCredit):
        customer_credit.return_excess(idem_key="b2", amount=rupees("21.19"), **arguments)
    customer_credit.return_excess(idem_key="b3", amount=rupees("21.18"), **arguments)
    assert books()["credit"] == -TOTAL
    assert Refund.objects.count() == 2
    assert_books_hold()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", Decimal(0)),
        ("amount", Decimal("-1")),
        ("amount", Decimal("1.001")),
        ("amount", Decimal("NaN")),
        ("method", "BARTER"),
        ("reference", " "),
        ("idem_key", ""),
        ("received_on", START + dt.timedelta(days=1)),
    ],
)
def test_what_cannot_be_is_refused_by_name(invoice: Invoice, field: str, value: Any) -> None:
    given: dict[str, Any] = {
        "invoice_id": invoice.pk,
        "idem_key": "k",
        "amount": TOTAL,
        "method": "UPI",
        "reference": "r",
        "received_on": START,
        "actor": STAFF,
        "now": noon(START),
    }
    with pytest.raises(InvalidRequest) as refused:
        payments.record_payment(**{**given, field: value})
    assert list(refused.value.details) == [field]
    assert not Payment.objects.exists()


def test_a_direct_customers_payment_earns_nobody_anything(partner: Partner) -> None:
    follow(make_template(), None, [START])
    bill(START)
    invoice = Invoice.objects.get()
    pay(invoice, TOTAL)
    assert not Commission.objects.exists()
    credit(invoice, TOTAL)
    assert_books_hold()


# -- refunds -------------------------------------------------------------------------------------
@pytest.mark.parametrize("recognised_through", [None, 9, 27])
@pytest.mark.parametrize("state", ["33", AWAY])
def test_a_full_refund_leaves_nothing(
    partner: Partner, state: str, recognised_through: int | None
) -> None:
    follow(make_template(), partner, [START], state=state)
    bill(START)
    invoice = Invoice.objects.get()
    pay(invoice, TOTAL)
    day = START + dt.timedelta(days=28)
    if recognised_through is not None:
        through = START + dt.timedelta(days=recognised_through)
        revenue_recognition.recognise(through, now=noon(day))
    credited = credit(invoice, TOTAL, day=day)
    invoice.refresh_from_db()
    assert (invoice.status, invoice.refunded, invoice.credited) == ("CREDITED", TOTAL, TOTAL)
    assert (invoice.credited_taxable, invoice.recognised) == (rupees("999"), ZERO)
    assert credited.refund is not None
    assert credited.refund.amount == TOTAL
    assert earned(invoice) == 0
    assert set(books().values()) == {Decimal(0)}
    payload = OutboxEvent.objects.get(type="commission.clawed_back").payload
    assert (payload["amount"], payload["credit_note"]) == (-299.7, credited.note.number)
    assert_books_hold()


def test_partial_refunds_take_back_in_proportion(invoice: Invoice) -> None:
    pay(invoice, TOTAL)
    revenue_recognition.recognise(
        START + dt.timedelta(days=6), now=noon(START + dt.timedelta(days=7))
    )
    day = START + dt.timedelta(days=7)
    first = credit(invoice, rupees("500.00"), key="c1", day=day)
    invoice.refresh_from_db()
    assert invoice.status == "PAID"
    assert first.note.number.endswith("-00000001")
    # 500 of 1178.82 are 423.74 and twice 38.13; 30 % of the 575.26 that stay
    assert (first.note.taxable, first.note.cgst) == (rupees("423.74"), rupees("38.13"))
    assert earned(invoice) == rupees("172.57")
    again = credit(invoice, rupees("500.00"), key="c1", day=day)
    assert (again.note, again.refund, again.created) == (first.note, first.refund, False)
    with pytest.raises(PaymentKeyReused):
        credit(invoice, rupees("501.00"), key="c1", day=day)
    with pytest.raises(NothingToCredit):
        credit(invoice, rupees("679.00"), key="c2", day=day)
    credit(invoice, rupees("678.82"), key="c3", day=day)
    assert earned(invoice) == 0
    assert set(books().values()) == {Decimal(0)}
    assert list(CreditNote.objects.order_by("seq").values_list("seq", flat=True)) == [1, 2]
    assert_books_hold()


def test_a_credit_of_an_unpaid_invoice_gives_no_money_back(invoice: Invoice) -> None:
    done = credit(invoice, rupees("178.82"))
    assert done.refund is None
    assert pay(invoice, rupees("1000.00")).payment.excess == 0
    invoice.refresh_from_db()
    assert invoice.status == "PAID"
    left = invoice.taxable - invoice.credited_taxable
    assert earned(invoice) == (left * 3 / 10).quantize(Decimal("0.01"), "ROUND_DOWN")
    assert_books_hold()


def test_crediting_a_partly_paid_invoice_returns_the_excess(invoice: Invoice) -> None:
    pay(invoice, rupees("500.00"))
    credit(invoice, rupees("600.00"), key="c1")
    assert not Refund.objects.exists()
    credited = credit(invoice, rupees("578.82"), key="c2")
    assert credited.refund is not None
    assert credited.refund.amount == rupees("500.00")
    invoice.refresh_from_db()
    assert (invoice.status, invoice.paid, invoice.refunded) == (
        "CREDITED",
        rupees("500"),
        rupees("500"),
    )
    assert earned(invoice) == 0
    assert set(books().values()) == {Decimal(0)}
    assert_books_hold()


# -- maturity ------------------------------------------------------------------------------------
def test_commission_matures_after_the_window(invoice: Invoice) -> None:
    """What a credit note took back does not mature, and the rest matures once."""
    pay(invoice, TOTAL)
    credit(invoice, rupees("500.00"), key="c1")
    with pytest.raises(FutureDate):
        commission_maturity.mature(START + dt.timedelta(days=30), now=noon(START))
    day = START + dt.timedelta(days=29)
    assert commission_maturity.mature(day, now=noon(day)).accruals == 0
    day += dt.timedelta(days=1)
    matured = commission_maturity.mature(day, now=noon(day))
    assert (matured.accruals, matured.amount) == (1, rupees("172.57"))
    assert commission_maturity.mature(day, now=noon(day)).accruals == 0
    assert (books()["pending"], books()["payable"]) == (ZERO, rupees("-172.57"))
    credit(invoice, rupees("678.82"), key="c2", day=day)
    assert (books()["pending"], books()["payable"], books()["expense"]) == (ZERO, ZERO, ZERO)
    assert list(Commission.objects.order_by("id").values_list("kind", flat=True)) == [
        "ACCRUAL", "CLAWBACK", "MATURITY", "CLAWBACK",
    ]  # fmt: skip
    assert_books_hold()


def test_what_was_taken_back_entirely_matures_to_nothing(invoice: Invoice) -> None:
    pay(invoice, TOTAL)
    credit(invoice, TOTAL)
    day = START + dt.timedelta(days=40)
    done = commission_maturity.mature(day, now=noon(day))
    assert (done.accruals, done.amount) == (1, ZERO)
    assert not Commission.objects.filter(kind="MATURITY").exists()
    assert_books_hold()


# -- what the database itself refuses ------------------------------------------------------------
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE billing_payment SET amount = amount + 1, excess = excess + 1",
        "DELETE FROM billing_payment",
        "UPDATE billing_creditnote SET reason = 'other'",
        "DELETE FROM billing_creditnote",
        "UPDATE billing_refund SET amount = 1",
        "DELETE FROM billing_refund",
        "UPDATE billing_commission SET amount = amount + 1 WHERE kind = 'ACCRUAL'",
        "UPDATE billing_commission SET matured_at = NULL",
        "DELETE FROM billing_commission",
        "UPDATE billing_invoice SET refunded = paid + 1",
        "UPDATE billing_invoice SET paid = total + 1",
    ],
)
def test_history_stays(invoice: Invoice, statement: str) -> None:
    pay(invoice, TOTAL)
    credit(invoice, rupees("500.00"))
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def test_a_credit_note_number_is_not_left_out(invoice: Invoice) -> None:
    pay(invoice, TOTAL)
    note = credit(invoice, rupees("500.00")).note
    note.pk, note.seq, note.number, note.idem_key = None, 3, "CN25-00000003", "other"
    note.transaction_id = Payment.objects.get().transaction_id
    with pytest.raises(IntegrityError), transaction.atomic():
        note.save(force_insert=True)


def test_more_than_was_earned_cannot_be_taken_back(invoice: Invoice) -> None:
    pay(invoice, rupees("400.00"), key="older")
    pay(invoice, rupees("778.82"), key="newer")
    credit(invoice, rupees("500.00"))
    older, _ = Commission.objects.filter(kind="ACCRUAL").order_by("id")
    row = Commission.objects.get(kind="CLAWBACK")
    assert row.accrual != older, "the newest payment's goes first"
    row.pk, row.public_id, row.accrual = None, "com_other", older
    row.amount = -older.amount - rupees("0.01")
    row.save(force_insert=True)
    with pytest.raises(IntegrityError, match="of accrual"), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # as at the commit
