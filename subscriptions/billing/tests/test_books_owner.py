"""The owner of the tables cannot change a posting either: a trigger stands before the rights."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import psycopg
import pytest
from django.conf import settings
from django.db import connection, transaction

from subscriptions.billing import ledger
from subscriptions.billing.tests.factories import START, noon

TEN = Decimal(10)
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def owner() -> Iterator[psycopg.Connection]:
    """A session of the role that migrates; what it does is rolled back."""
    role, target = settings.QUANTLEAP_OWNER_DATABASE, connection.settings_dict
    with psycopg.connect(
        host=target["HOST"],
        port=target["PORT"] or None,
        dbname=target["NAME"],
        user=role["USER"],
        password=role["PASSWORD"],
        options="-c lock_timeout=10000",
    ) as session:
        yield session
        session.rollback()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE billing_ledgerentry SET amount = -amount",
        "DELETE FROM billing_ledgerentry",
        "UPDATE billing_ledgertransaction SET effective_on = effective_on + 1",
        "DELETE FROM billing_ledgertransaction",
    ],
)
def test_the_owner_cannot_change_a_posting(owner: psycopg.Connection, statement: str) -> None:
    with transaction.atomic():
        ledger.post(
            idem_key="test",
            kind="test",
            effective_on=START,
            postings=[ledger.debit("bank", TEN), ledger.credit("suspense", TEN)],
            now=noon(START),
        )
    with pytest.raises(psycopg.errors.RestrictViolation, match="its rows are history"):
        owner.execute(statement.encode())
