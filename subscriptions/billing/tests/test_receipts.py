"""Money that came in: one row for each movement of a bank, and what invoices get of it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from marketplace.models import Template
from marketplace.tests.factories import load_reference_data, make_template
from partners.models import Partner
from partners.tests.factories import make_partner
from quantleap.core.audit import Actor
from quantleap.core.errors import InvalidRequest, NotFound
from quantleap.core.models import AuditEntry
from quantleap.core.tests.parallel import at_once
from subscriptions.billing.errors import InvoiceChanged, ReceiptExists
from subscriptions.billing.ledger import chart_of_accounts, checks, posting
from subscriptions.billing.models import (
    Commission,
    Invoice,
    LedgerTransaction,
    Payment,
    Receipt,
)
from subscriptions.billing.settlement import allocations, customer_credit, payments
from subscriptions.billing.settlement.allocations import Part, oldest_first, open_invoices
from subscriptions.billing.settlement.bank_references import reference_key, wrong_with
from subscriptions.billing.tests.factories import (
    START,
    bill,
    bounce,
    follow,
    load_billing,
    noon,
    pay,
    receive,
)
from subscriptions.periods import add_months

pytestmark = pytest.mark.django_db
TOTAL = Decimal("1178.82")
STAFF = Actor("STAFF", "asha")
LATER = START + dt.timedelta(days=10)


@pytest.fixture
def partner() -> Partner:
    load_billing()
    load_reference_data()
    return make_partner("zebu")


@pytest.fixture
def template(partner: Partner) -> Template:
    return make_template()


def billed(template: Template, partner: Partner | None, customers: int = 1) -> list[Invoice]:
    """A first invoice for each of so many customers."""
    follow(template, partner, [START] * customers)
    bill(START)
    return list(Invoice.objects.order_by("id"))


@pytest.fixture
def months(template: Template, partner: Partner) -> list[Invoice]:
    """Three invoices of one customer, of three months."""
    follow(template, partner, [START])
    for month in range(3):
        bill(add_months(START, month))
    return list(Invoice.objects.order_by("id"))


def record(invoice: Invoice, reference: str, amount: Decimal = TOTAL, **more: Any) -> Any:
    """As the page of an invoice does it."""
    return payments.record_payment(
        **{
            "invoice_id": invoice.pk,
            "idem_key": f"{invoice.number}:UPI:{reference}",
            "amount": amount,
            "method": "UPI",
            "reference": reference,
            "received_on": START,
            "actor": STAFF,
            "now": noon(START),
            **more,
        }
    )


def assert_books_hold() -> None:
    with connection.cursor() as cursor:  # what a commit would judge
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    report = checks.check_ledger(now=noon(LATER))
    assert report.ok, report.findings


# -- as it was seen --------------------------------------------------------------------------------
def test_one_utr_paid_three_customers_invoices(template: Template, partner: Partner) -> None:
    """All three were PAID, and the partner had 899.10 of one transfer."""
    first, second, third = billed(template, partner, 3)
    record(first, "UTR6123")
    for other in (second, third):
        with pytest.raises(ReceiptExists) as refused:
            record(other, "UTR6123")
        words = refused.value.details["reference"]
        assert f"₹1,178.82 received on 31 Jan 2026 from {first.customer}" in words
        assert f"recorded by asha on 31 Jan 2026 for {first.number}" in words
    statuses = [invoice.status for invoice in Invoice.objects.order_by("id")]
    assert statuses == ["PAID", "DUE", "DUE"]
    assert [commission.amount for commission in Commission.objects.all()] == [Decimal("299.70")]
    assert_books_hold()


def test_three_spellings_of_a_reference_became_credit(template: Template, partner: Partner) -> None:
    """Seen: 2,357.64 of credit for money that never came, and that could be paid out."""
    (invoice,) = billed(template, partner)
    recorded = record(invoice, "UTR6123")
    for spelling in ("utr6123", "UTR 6123", " Utr-6123 "):
        again = record(invoice, spelling)
        assert (again.payment, again.created) == (recorded.payment, False), "the same money"
        with pytest.raises(ReceiptExists):
            record(invoice, spelling, TOTAL + 1)
    assert Payment.objects.count() == Receipt.objects.count() == 1
    assert customer_credit.available(invoice.customer) == 0
    assert_books_hold()


def test_the_same_reference_on_another_rail_is_other_money(
    template: Template, partner: Partner
) -> None:
    first, second = billed(template, partner, 2)
    record(first, "000123")
    record(second, "000123", method="CHEQUE")
    assert Receipt.objects.count() == 2
    assert_books_hold()


# -- references ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("typed", "key"),
    [("UTR6123", "UTR6123"), (" utr-61 23/a.", "UTR6123A"), ("\u017f\u212a", "")],
    ids=["as it is", "as people write it", "letters that only fold into ASCII"],
)
def test_letters_and_digits_name_the_money(typed: str, key: str) -> None:
    assert reference_key(typed) == key


@pytest.mark.parametrize(
    ("method", "typed", "words"),
    [
        ("UPI", "--/..", "no letter and no digit"),
        ("UPI", "UTR६१२३", "Letters A to Z and digits"),
        ("UPI", "utſ6123", "Letters A to Z and digits"),
        ("UPI", " ", "From 1 to 80"),
        ("UPI", "x\0y", "From 1 to 80"),
        ("CHEQUE", "123", "Six digits, with their zeros"),
        ("CHEQUE", "0001234", "Six digits, with their zeros"),
        ("CHEQUE", "000123 HDFC", ""),
        ("UPI", "UTR 6123", ""),
    ],
)
def test_what_names_no_money_is_refused_in_words(method: str, typed: str, words: str) -> None:
    assert words in wrong_with(method, typed)
    assert bool(wrong_with(method, typed)) == bool(words)


# -- several invoices ------------------------------------------------------------------------------
def test_a_receipt_pays_the_oldest_invoices_first(
    months: list[Invoice],
) -> None:
    """What the receipt has left over becomes the customer's credit."""
    first, second, third = months
    assert open_invoices(first.customer) == months
    amount = TOTAL * 2 + 500
    parts = oldest_first(months, amount)
    assert parts == [
        Part(first.pk, TOTAL), Part(second.pk, TOTAL), Part(third.pk, Decimal("500.00")),
    ]  # fmt: skip
    receipt = receive({first: TOTAL, second: TOTAL}, amount=amount, day=LATER.replace(month=4))
    assert (receipt.amount, receipt.credit) == (amount, Decimal("500.00"))
    assert [payment.applied for payment in receipt.payments.order_by("id")] == [TOTAL, TOTAL]
    statuses = list(Invoice.objects.order_by("id").values_list("status", flat=True))
    assert statuses == ["PAID", "PAID", "DUE"]
    assert customer_credit.available(first.customer) == 500
    assert posting.balance(chart_of_accounts.MANUAL_CLEARING) == amount
    audited = AuditEntry.objects.get(action="receipt.recorded").data
    assert (audited["amount"], audited["credit"]) == ("2857.64", "500.00")
    assert audited["invoices"] == {first.number: "1178.82", second.number: "1178.82"}
    assert sum(commission.amount for commission in Commission.objects.all()) == Decimal("599.40")
    assert_books_hold()


def test_a_receipt_without_invoices_is_all_credit(months: list[Invoice]) -> None:
    customer = months[0].customer
    receipt = allocations.record(
        amount=Decimal(700), method="CASH", reference="book 7", received_on=START, parts=[],
        customer_id=customer.pk, actor=STAFF, now=noon(START),
    ).receipt  # fmt: skip
    assert receipt.credit == 700
    assert customer_credit.available(customer) == 700
    assert_books_hold()


def test_somebody_pays_for_three_customers_by_name(template: Template, partner: Partner) -> None:
    invoices = billed(template, partner, 3)
    given: dict[Invoice, Decimal] = dict.fromkeys(invoices, TOTAL)
    company: dict[str, Any] = {"customer_id": None, "payer_name": "Acme Traders"}
    with pytest.raises(InvalidRequest) as refused:
        receive(given, amount=TOTAL * 3 + 1, **company)
    assert "would be nobody's" in refused.value.details["parts"]
    receipt = receive(given, **company)
    assert (receipt.payer, receipt.payments.count()) == ("Acme Traders", 3)
    assert receipt.credit == 0
    assert [invoice.status for invoice in Invoice.objects.all()] == ["PAID"] * 3
    assert_books_hold()


def test_another_receipt_under_a_reference_is_refused(
    months: list[Invoice],
) -> None:
    """Recording the same receipt again returns the first one."""
    first, second, _ = months
    on = add_months(START, 2)
    receipt = receive({first: TOTAL, second: TOTAL}, day=on)
    assert receive({first: TOTAL, second: TOTAL}, day=on) == receipt
    with pytest.raises(ReceiptExists, match=f"for {first.number}, {second.number}"):
        receive({first: TOTAL}, day=on)
    with pytest.raises(ReceiptExists):
        record(second, receipt.reference, method="BANK_TRANSFER")
    assert_books_hold()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount": TOTAL - 1}, "parts"),
        ({"customer_id": None}, "payer_name"),
        ({"reference": "./."}, "reference"),
        ({"received_on": START + dt.timedelta(days=1)}, "received_on"),
        ({"received_on": dt.date(1924, 2, 28)}, "received_on"),
        ({"method": "CUSTOMER_CREDIT"}, "method"),
        ({"amount": Decimal("NaN")}, "amount"),
    ],
    ids=["less than its parts", "nobody", "no reference", "tomorrow", "last century", "credit",
         "no number"],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(
    template: Template, partner: Partner, change: dict[str, Any], field: str
) -> None:
    (invoice,) = billed(template, partner)
    with pytest.raises(InvalidRequest) as refused:
        receive({invoice: TOTAL}, **change)
    assert list(refused.value.details) == [field]
    assert not Receipt.objects.exists()


def test_more_than_an_invoice_owes_and_anothers_invoice(
    template: Template, partner: Partner
) -> None:
    (invoice,) = billed(template, partner)
    with pytest.raises(InvoiceChanged, match=r"owes 1178\.82"):
        receive({invoice: TOTAL + 1})
    with pytest.raises(NotFound):
        receive({invoice: TOTAL}, customer_id=0)
    (other,) = follow(template, make_partner("kotak"), [START])
    bill(START)
    with pytest.raises(NotFound):
        receive({invoice: TOTAL, other.invoices.get(): TOTAL})
    assert not Receipt.objects.exists()


# -- what the database itself refuses --------------------------------------------------------------
def commit() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def commit_rows(*rows: Receipt | Payment) -> None:
    """New rows in a transaction of their own, with what it deferred."""
    with transaction.atomic():
        for row in rows:
            row.save(force_insert=True)
        commit()


def test_the_database_refuses_a_receipt_that_does_not_add_up(months: list[Invoice]) -> None:
    receipt = receive({months[0]: TOTAL}, amount=TOTAL + 500)
    commit()
    for values in ({"amount": TOTAL + 501}, {"amount": TOTAL}):
        receipt.pk, receipt.public_id, receipt.reference_key = None, "rct_other", "OTHER"
        receipt.transaction_id, receipt.credit = None, Decimal(0)
        receipt.amount = values["amount"]
        with pytest.raises(IntegrityError, match="is not its credit"):
            commit_rows(receipt)


def test_the_database_refuses_an_uncounted_payment(
    months: list[Invoice],
) -> None:
    """A payment that its invoice's paid sum leaves out fails at the commit."""
    pay(months[0], TOTAL)
    commit()
    row = Payment.objects.get()
    receipt = row.receipt
    assert receipt is not None
    receipt.public_id, receipt.reference_key = "rct_other", "OTHER"
    receipt.pk = row.receipt_id = Receipt.objects.latest("id").pk + 1000
    row.pk, row.public_id, row.idem_key = None, "pay_other", "other"
    row.transaction = LedgerTransaction.objects.filter(kind="invoice").latest("id")
    with pytest.raises(IntegrityError, match="its payments say"):
        commit_rows(receipt, row)


def test_the_database_gives_no_reference_twice(months: list[Invoice]) -> None:
    receipt = receive({months[0]: TOTAL})
    for number in (1, 2):
        receipt.pk, receipt.public_id, receipt.presentation = None, "rct_other", number
        with pytest.raises(IntegrityError, match=r"receipt_reference_uniq|another receipt"):
            commit_rows(receipt)


@pytest.mark.parametrize("table", ["receipt", "reversal", "paymentreversal"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET id = id", "DELETE FROM {}"])
def test_rows_stay(months: list[Invoice], table: str, statement: str) -> None:
    bounce(receive({months[0]: TOTAL}), START)
    with (
        pytest.raises(DatabaseError, match="permission denied"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement.format(f"billing_{table}"))


# -- races: two real transactions ------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_two_clerks_with_one_reference_record_it_once() -> None:
    load_billing()
    load_reference_data()
    invoices = billed(make_template(), make_partner("zebu"), 6)

    def call(number: int) -> Any:
        return record(invoices[number], ("UTR6123", "utr 6123")[number % 2])

    outcomes = at_once(6, call, errors=(ReceiptExists,))
    assert sum(isinstance(outcome, ReceiptExists) for outcome in outcomes) == 5
    assert Receipt.objects.count() == Payment.objects.count() == Commission.objects.count() == 1
    assert checks.check_ledger(now=noon(LATER)).ok


@pytest.mark.django_db(transaction=True)
def test_two_receipts_at_once_never_pay_more_than_is_owed() -> None:
    """Four receipts for the same two invoices come at once, and three of them are refused."""
    load_billing()
    load_reference_data()
    follow(make_template(), make_partner("zebu"), [START])
    bill(add_months(START, 1))
    first, second = Invoice.objects.order_by("id")
    on = add_months(START, 1)

    def call(number: int) -> Any:
        # each in the other order: whoever locks as it is told waits for ever
        leading, other = (first, second) if number % 2 else (second, first)
        given = {leading: Decimal("700.00"), other: Decimal("700.00")}
        return receive(given, key=f"k{number}", day=on)

    outcomes = at_once(4, call, errors=(InvoiceChanged,))
    assert sum(isinstance(outcome, InvoiceChanged) for outcome in outcomes) == 3
    assert [invoice.paid for invoice in Invoice.objects.all()] == [700, 700]
    assert checks.check_ledger(now=noon(on)).ok
