"""Around the ORM, as the owner of the tables: the triggers stand before the rights.

What the application's role is refused beyond that is in test_books_stay.py, where the same
statements of changing and removing are refused by the rights already.
"""

from __future__ import annotations

from decimal import Decimal

import psycopg
import pytest
from django.db import connection

from marketplace.tests.factories import load_reference_data, make_template
from partners.tests.factories import make_partner
from quantleap.core.roles import APPEND_ONLY, grant_application_role
from subscriptions.billing.ledger import checks
from subscriptions.billing.models import Invoice, LedgerTransaction
from subscriptions.billing.tests.bookrows import ENTRIES, NEXT, copy_invoice
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


@pytest.fixture(autouse=True)
def billed() -> None:
    """Three invoices, one of them paid and credited in part."""
    load_billing()
    load_reference_data()
    follow(make_template(), make_partner(), [START, START, START])
    bill(START)
    invoice = Invoice.objects.earliest("id")
    pay(invoice, invoice.total)
    credit(Invoice.objects.get(pk=invoice.pk), Decimal(100))


def send(owner: psycopg.Connection, statement: str) -> None:
    """A statement with what it deferred, as at the commit."""
    owner.execute(statement.encode())
    owner.execute("SET CONSTRAINTS ALL IMMEDIATE")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE billing_ledgerentry SET amount = -amount",
        "UPDATE billing_ledgerentry SET amount = amount * 2",
        "UPDATE billing_ledgerentry SET id = id",
        "DELETE FROM billing_ledgerentry",
        "UPDATE billing_ledgertransaction SET effective_on = effective_on + 1",
        "DELETE FROM billing_ledgertransaction",
        "UPDATE billing_invoice SET taxable = taxable - 1, total = total - 1",
        "UPDATE billing_invoice SET number = 'QL25-99999999' WHERE seq = 1",
        "DELETE FROM billing_invoice",
        "UPDATE billing_creditnote SET reason = 'another'",
        "DELETE FROM billing_creditnote",
        "UPDATE billing_payment SET amount = amount + 1, excess = excess + 1",
        "DELETE FROM billing_payment",
        "UPDATE billing_refund SET amount = amount + 1",
        "DELETE FROM billing_refund",
        "DELETE FROM billing_numberseries",
    ],
)
def test_the_owner_cannot_change_what_was_written(
    owner: psycopg.Connection, statement: str
) -> None:
    with pytest.raises(psycopg.errors.RestrictViolation, match="its rows are history"):
        send(owner, statement)


def test_the_owner_posts_nothing_out_of_balance(owner: psycopg.Connection) -> None:
    transaction, account = (
        f"(SELECT max(id) FROM {table})"
        for table in ("billing_ledgertransaction", "billing_ledgeraccount")
    )
    send(
        owner,
        "INSERT INTO billing_ledgertransaction (idem_key, kind, effective_on, created_at, "
        "environment) SELECT 'test', kind, effective_on, created_at, environment "
        "FROM billing_ledgertransaction LIMIT 1",
    )
    with pytest.raises(psycopg.errors.CheckViolation, match="out of balance"), owner.transaction():
        send(owner, ENTRIES + f"({transaction}, {account}, 100)")
    send(owner, ENTRIES + f"({transaction}, {account}, 100), ({transaction}, {account}, -100)")
    with pytest.raises(psycopg.errors.CheckViolation, match="already has its entries"):
        send(owner, ENTRIES + f"({transaction}, {account}, 5), ({transaction}, {account}, -5)")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (NEXT, "invoice_period_uniq"),
        ({"seq": "seq + 2", "number": "'QL25-00000005'", "period_no": "1"}, "do not follow 3"),
        ({**NEXT, "period_no": "1", "total": "total + 1"}, "invoice_total_is_sum"),
    ],
    ids=["second invoice for a period", "gap", "wrong total"],
)
def test_the_owner_issues_no_invoice_that_cannot_be(
    owner: psycopg.Connection, changed: dict[str, str], reason: str
) -> None:
    owner.execute("UPDATE billing_numberseries SET last = 5 WHERE series = 'invoice'")
    with pytest.raises(psycopg.errors.IntegrityError, match=reason):
        send(owner, copy_invoice(**changed))


def test_the_owner_gives_out_no_number_that_nobody_uses(owner: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="last number given out"):
        send(owner, "UPDATE billing_numberseries SET last = last + 1 WHERE series = 'invoice'")


# -- rights ---------------------------------------------------------------------------------------
MAY = """
SELECT name, what FROM unnest(%s::text[]) AS name,
       unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE']) AS what
 WHERE has_table_privilege(%s, name, what) ORDER BY name, what
"""


def rights(owner: psycopg.Connection, role: str, tables: list[str]) -> list[tuple[str, ...]]:
    return owner.execute(MAY, [tables, role]).fetchall()


def test_the_application_may_not_change_tables_of_history(
    owner: psycopg.Connection,
) -> None:
    """Migrations leave the application no right to update, delete or truncate a table of history.

    The tests alone grant TRUNCATE, to empty tables between tests.
    """
    role = connection.settings_dict["USER"]
    tables = ["billing_invoice", "billing_numberseries", *APPEND_ONLY]
    granted = rights(owner, role, tables)
    assert {what for name, what in granted if name in APPEND_ONLY} == {"TRUNCATE"}
    for name in tables:
        owner.execute(f"REVOKE TRUNCATE ON {name} FROM {role}".encode())
    as_shipped = rights(owner, role, tables)
    assert {what for name, what in as_shipped if name not in APPEND_ONLY} == {"UPDATE", "DELETE"}
    assert not [row for row in as_shipped if row[0] in APPEND_ONLY]


def test_the_shipped_grant_has_no_truncate(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``migrate`` grants, read off the statements that it sends."""
    sent: list[str] = []
    with connection.execute_wrapper(lambda _execute, sql, *_rest: sent.append(str(sql))):
        monkeypatch.setattr(connection.introspection, "table_names", lambda _cursor: ["x"])
        grant_application_role(connection, "somebody")
    assert sent
    assert not [statement for statement in sent if "TRUNCATE" in statement]


# -- what only the proof sees ---------------------------------------------------------------------
def test_a_transaction_without_entries_is_found_by_the_proof() -> None:
    """It moves no money. A deferred trigger that looks for the entries of each transaction at the
    commit made the run 4 % slower, so it stays with the proof.
    """
    assert checks.check_ledger(now=noon(START)).ok
    LedgerTransaction.objects.create(
        idem_key="empty", kind="test", effective_on=START, created_at=noon(START)
    )
    findings = [
        (finding["what"], finding["examples"])
        for finding in checks.check_ledger(now=noon(START)).findings
    ]
    assert findings == [("transaction without entries", ["empty"])]
