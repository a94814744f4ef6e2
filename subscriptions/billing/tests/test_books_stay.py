"""Around the ORM, as the role that serves: what the database itself refuses.

Every statement here is one that a bug, a script or a hurried hand could send.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from django.conf import settings
from django.db import DatabaseError, connection, transaction

from marketplace.tests.factories import load_reference_data, make_template
from partners.tests.factories import make_partner
from quantleap.core.roles import APPEND_ONLY
from subscriptions.billing.ledger import checks, posting
from subscriptions.billing.models import Invoice, LedgerEntry, LedgerTransaction, NumberSeries
from subscriptions.billing.tests.bookrows import ENTRIES, NEXT, copy_invoice
from subscriptions.billing.tests.factories import START, bill, follow, load_billing, noon

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def billed() -> None:
    load_billing()
    load_reference_data()
    follow(make_template(), make_partner(), [START, START, START])
    bill(START)


def send(statement: str, values: Sequence[Any] = ()) -> None:
    """One statement in a transaction of its own, with what it deferred."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, values)
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def holds() -> None:
    assert Invoice.objects.count() == LedgerTransaction.objects.count() == 3
    assert checks.check_ledger(now=noon(START)).findings == []


def test_these_statements_come_from_the_application_role() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user, usesuper FROM pg_user WHERE usename = current_user")
        user, superuser = cursor.fetchone()
        cursor.execute(
            "SELECT tableowner FROM pg_tables WHERE tablename IN "
            "('billing_invoice', 'billing_ledgerentry')"
        )
        owners = {owner for (owner,) in cursor.fetchall()}
    assert owners == {settings.QUANTLEAP_OWNER_DATABASE["USER"]}
    assert user not in owners
    assert not superuser


def a_transaction(key: str = "test") -> int:
    return LedgerTransaction.objects.create(
        idem_key=key, kind="test", effective_on=START, created_at=noon(START)
    ).pk


def test_an_unbalanced_transaction() -> None:
    accounts = posting.account_ids({"bank", "suspense"})
    bank, suspense, transaction_id = accounts["bank"], accounts["suspense"], a_transaction()
    before = posting.balance("bank")
    for sides in (
        f"({transaction_id}, {bank}, 100)",
        f"({transaction_id}, {bank}, 100), ({transaction_id}, {suspense}, -99.99)",
        f"({transaction_id}, {bank}, 100), ({a_transaction('other')}, {suspense}, -100)",
    ):
        with pytest.raises(DatabaseError, match="out of balance"):
            send(ENTRIES + sides)
    assert posting.balance("bank") == before
    send(ENTRIES + f"({transaction_id}, {bank}, 100), ({transaction_id}, {suspense}, -100)")
    assert posting.balance("bank") == before + 100


def test_one_side_after_the_other_is_refused_at_the_first() -> None:
    """Even if the second would have balanced it within the same transaction."""
    bank = posting.account_ids({"bank"})["bank"]
    transaction_id = a_transaction()
    with pytest.raises(DatabaseError, match="out of balance"):
        send(
            ENTRIES
            + f"({transaction_id}, {bank}, 100); "
            + ENTRIES
            + f"({transaction_id}, {bank}, -100)"
        )


def test_more_entries_for_a_transaction_that_has_its_own() -> None:
    held = LedgerEntry.objects.earliest("id")
    sides = ", ".join(f"({held.transaction_id}, {held.account_id}, {n})" for n in (5, -5))
    with pytest.raises(DatabaseError, match="already has its entries"):
        send(ENTRIES + sides)
    holds()


@pytest.mark.parametrize("table", ["billing_ledgerentry", "billing_ledgertransaction"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET id = id", "DELETE FROM {}"])
def test_changing_or_removing_a_posting(table: str, statement: str) -> None:
    assert table in APPEND_ONLY
    with pytest.raises(DatabaseError, match="permission denied"):
        send(statement.format(table))
    holds()


def test_a_posting_under_a_used_key() -> None:
    with pytest.raises(DatabaseError, match="ledger_idem_key_uniq"):
        send(
            "INSERT INTO billing_ledgertransaction (idem_key, kind, effective_on, created_at, "
            "environment) SELECT idem_key, kind, effective_on, created_at, environment "
            "FROM billing_ledgertransaction LIMIT 1"
        )


def take_number() -> None:
    NumberSeries.objects.update(last=4)


def test_a_second_invoice_for_a_period() -> None:
    take_number()
    with pytest.raises(DatabaseError, match="invoice_period_uniq"):
        send(copy_invoice(**NEXT))
    NumberSeries.objects.update(last=3)
    holds()


def test_a_copy_for_another_period_is_possible() -> None:
    """What is refused elsewhere here is refused for the reason given, not for being a copy."""
    take_number()
    send(copy_invoice(**NEXT, period_no="1"))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"seq": "seq + 2", "number": "'QL25-00000005'"}, "do not follow 3"),
        ({"fy": "'2026-27'", "seq": "2", "number": "'QL26-00000002'"}, "do not follow 0"),
        ({**NEXT, "number": "number"}, "invoice_number_uniq"),
        ({"number": "'QL25-0000003a'"}, "invoice_fy_seq_uniq"),
        ({**NEXT, "number": "'QL25-000000000004'"}, "too long"),
        ({**NEXT, "number": "'QL25 0000004'"}, "invoice_number_format"),
        ({**NEXT, "issued_on": "issued_on - 1"}, "is dated before"),
        ({**NEXT, "total": "total + 0.01"}, "invoice_total_is_sum"),
        ({**NEXT, "cgst": "cgst + 0.01", "total": "total + 0.01"}, "invoice_cgst_is_sgst"),
        ({**NEXT, "igst": "1", "total": "total + 1"}, "invoice_one_kind_of_tax"),
        ({**NEXT, "paid": "total + 0.01"}, "invoice_paid_sane"),
        ({**NEXT, "refunded": "0.01"}, "invoice_refunded_sane"),
        ({**NEXT, "credited": "total + 0.01"}, "invoice_credited_sane"),
        ({**NEXT, "recognised": "taxable + 0.01"}, "invoice_recognised_sane"),
        ({**NEXT, "period_end": "period_start"}, "invoice_period_order"),
    ],
)
def test_an_invoice_that_cannot_be(changed: dict[str, str], reason: str) -> None:
    NumberSeries.objects.update(last=5)
    with pytest.raises(DatabaseError, match=reason):
        send(copy_invoice(period_no="1", **changed))
    NumberSeries.objects.update(last=3)
    holds()


def test_a_number_that_was_not_given_out() -> None:
    with pytest.raises(DatabaseError, match="was not given out"):
        send(copy_invoice(**NEXT, period_no="1"))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE billing_numberseries SET last = last + 1",
        "UPDATE billing_numberseries SET last = last - 1",
        "INSERT INTO billing_numberseries (series, fy, last) VALUES ('invoice', '2026-27', 1)",
    ],
)
def test_a_number_that_nobody_uses(statement: str) -> None:
    with pytest.raises(DatabaseError, match="last number given out"):
        send(statement)
    holds()


def test_removing_a_series() -> None:
    with pytest.raises(DatabaseError, match="its rows are history"):
        send("DELETE FROM billing_numberseries")


@pytest.mark.parametrize(
    "change",
    [
        "taxable = taxable - 1, total = total - 1",
        "number = 'QL25-99999999'",
        "seq = seq + 10",
        "period_no = period_no + 1",
        "customer_id = customer_id + 1",
        'snapshot = snapshot || \'{"total": "0.00"}\'',
        "issued_on = issued_on + 1, due_on = due_on + 1",
        "supplier_id = NULL",
    ],
)
def test_changing_what_was_issued(change: str) -> None:
    with pytest.raises(DatabaseError, match="its rows are history"):
        send(f"UPDATE billing_invoice SET {change}")
    holds()


def test_removing_an_invoice() -> None:
    with pytest.raises(DatabaseError, match="its rows are history"):
        send("DELETE FROM billing_invoice WHERE seq = 3")
    holds()


def test_how_far_it_is_paid_may_change() -> None:
    send("UPDATE billing_invoice SET paid = 10, status = 'PARTLY_PAID', needs_review = true")
    assert Invoice.objects.filter(paid=10).count() == 3
