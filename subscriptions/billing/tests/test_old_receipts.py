"""Payments from before receipts were rows: what migration 0013 makes of them."""

from __future__ import annotations

from decimal import Decimal
from importlib import import_module
from typing import Any

import psycopg
import pytest

from marketplace.tests.factories import load_reference_data, make_template
from partners.tests.factories import make_partner
from subscriptions.billing.ledger import checks
from subscriptions.billing.models import Invoice, Payment
from subscriptions.billing.tests.factories import START, bill, follow, load_billing, pay
from subscriptions.periods import add_months

pytestmark = pytest.mark.django_db(transaction=True)
MIGRATION = import_module("subscriptions.billing.migrations.0013_receipts_of_payments")
NEXT = add_months(START, 1)
TWICE = "reference of a rail that names more than one receipt"

#: Back to what the tables were: payments without receipts, under the references that people typed.
AS_BEFORE = """
ALTER TABLE billing_receipt DISABLE TRIGGER USER;
ALTER TABLE billing_payment DISABLE TRIGGER USER;
ALTER TABLE billing_payment DROP CONSTRAINT payment_money_has_receipt;
UPDATE billing_payment SET receipt_id = NULL;
DELETE FROM billing_receipt;
"""
TYPED = "UPDATE billing_payment SET reference = %s WHERE public_id = %s"
FOUND = """
SELECT payment.public_id, receipt.id, receipt.reference_key, receipt.presentation,
       receipt.in_doubt, receipt.amount
  FROM billing_payment AS payment JOIN billing_receipt AS receipt ON receipt.id = receipt_id
 ORDER BY payment.id
"""


@pytest.fixture
def payments() -> list[Payment]:
    """Two customers with two invoices each, all paid; the first invoice twice."""
    load_billing()
    load_reference_data()
    follow(make_template(), make_partner(), [START, START])
    bill(NEXT)
    for number, invoice in enumerate(Invoice.objects.order_by("customer_id", "id")):
        pay(invoice, invoice.total, key=f"k{number}", day=NEXT)
    pay(Invoice.objects.earliest("id"), Decimal("1178.82"), key="again", day=NEXT)
    return list(Payment.objects.order_by("id"))


def migrated(owner: psycopg.Connection, typed: dict[str, str]) -> list[tuple[Any, ...]]:
    """The payments with their receipts, after they had been recorded under these references."""
    owner.execute(AS_BEFORE.encode())
    for public_id, reference in typed.items():
        owner.execute(TYPED, [reference, public_id])
    owner.execute(b"SET CONSTRAINTS ALL IMMEDIATE")
    owner.execute(MIGRATION.FORWARDS.encode())
    return owner.execute(FOUND.encode()).fetchall()


def test_conflicts_of_old_references_are_kept_and_marked(
    owner: psycopg.Connection, payments: list[Payment]
) -> None:
    first, second, third, fourth, again = (payment.public_id for payment in payments)
    records = migrated(
        owner,
        # one transfer for two invoices of one customer; the same spelled otherwise for another
        # customer, and once more for the first invoice; a reference that says nothing
        {first: "UTR6123", second: " UTR6123 ", third: "utr 6123", fourth: "--", again: "UTR6123"},
    )
    rows = {row[0]: row[1:] for row in records}
    assert len(rows) == 5
    total = payments[0].amount
    assert rows[first] == rows[second], "one movement of money"
    assert rows[first][1:] == ("UTR6123", 1, False, total * 2)
    assert sorted(rows[public_id][1:] for public_id in (third, again)) == [
        ("UTR6123", 2, True, total), ("UTR6123", 3, True, total),
    ]  # fmt: skip
    assert rows[fourth][1:] == (f"PAYMENT{payments[3].pk}", 1, False, total)
    questions = dict(checks._QUESTIONS)
    named = owner.execute(questions[TWICE].replace("%%", "%").encode()).fetchall()
    assert [row[0] for row in named] == ["BANK_TRANSFER UTR6123"]


def test_without_conflicts_each_has_its_own_and_the_books_hold(
    owner: psycopg.Connection, payments: list[Payment]
) -> None:
    records = migrated(owner, {})
    assert len({row[1] for row in records}) == len(payments)
    assert not any(row[4] for row in records)
    for what, question in checks._QUESTIONS:
        assert owner.execute(question.replace("%%", "%").encode()).fetchall() == [], what


def test_and_back(owner: psycopg.Connection, payments: list[Payment]) -> None:
    migrated(owner, {})
    owner.execute(MIGRATION.BACKWARDS.encode())
    (left,) = owner.execute(
        b"SELECT count(*) FROM billing_payment WHERE receipt_id IS NOT NULL"
    ).fetchone() or (None,)
    assert left == 0
