"""INSERT of missing rows: known rows are skipped, any other conflict is an error."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from quantleap.core import clock, outbox
from quantleap.core.inserts import insert_missing
from quantleap.core.models import OutboxEvent
from subscriptions.billing.ledger import posting
from subscriptions.billing.models import LedgerAccount

ROOT = Path(__file__).resolve().parents[3]
ROOMS = ("quantleap", "marketplace", "partners", "brokers", "subscriptions", "execution")
#: Tables whose primary key is what may be there already: the row of a template, of a shard.
KEYED_BY_WHAT_THEY_DESCRIBE = {"TemplateStats", "ShardLease"}

pytestmark = pytest.mark.django_db


def account(code: str) -> LedgerAccount:
    return LedgerAccount(code=code, kind=LedgerAccount.Kind.ASSET)


def set_sequence_back(table: str) -> None:
    """Make the next id collide with that of a row of ``table``."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), min(id), false) FROM {table}"
        )


def test_what_is_missing_is_inserted_and_counted() -> None:
    insert_missing([account("bank"), account("cash")], unique=("code",))

    inserted = insert_missing([account("cash"), account("fees")], unique=("code",))

    assert inserted == 1
    assert set(LedgerAccount.objects.values_list("code", flat=True)) >= {"bank", "cash", "fees"}


def test_no_rows_are_no_statement(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert insert_missing([], unique=("code",)) == 0


def test_more_rows_than_a_statement_takes_are_all_inserted() -> None:
    codes = [f"receivable:usr_{number}" for number in range(2_500)]

    assert insert_missing([account(code) for code in codes], unique=("code",)) == 2_500


def test_a_used_id_is_an_error_and_not_a_row_left_out() -> None:
    """Bug: KeyError in ``posting.account_ids``, since the account that it made was not there."""
    insert_missing([account("bank")], unique=("code",))
    set_sequence_back("billing_ledgeraccount")

    with pytest.raises(IntegrityError, match="_pkey"), transaction.atomic():
        posting.account_ids({"partner_payable:kotak"})


def test_an_event_with_a_used_id_is_not_lost_in_silence() -> None:
    """The same fault where it would cost a partner a webhook."""
    emit_one("first")
    set_sequence_back("core_outboxevent")

    with pytest.raises(IntegrityError, match="_pkey"), transaction.atomic():
        emit_one("second")


def test_a_repeated_dedupe_key_writes_nothing() -> None:
    emit_one("once")
    emit_one("once")

    assert OutboxEvent.objects.filter(dedupe_key="once").count() == 1


def emit_one(dedupe_key: str) -> None:
    outbox.emit(
        "invoice.issued", {}, about="inv_1", partner_id=None, dedupe_key=dedupe_key, now=clock.now()
    )


def test_no_insert_ignores_conflicts_that_it_does_not_name() -> None:
    """``ignore_conflicts=True`` hides a conflict of the primary key."""
    calls = {
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
        if "tests" not in path.parts and "migrations" not in path.parts
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and any(keyword.arg == "ignore_conflicts" for keyword in call.keywords)
        and ast.unparse(call.func).split(".")[0] not in KEYED_BY_WHAT_THEY_DESCRIBE
    }

    assert calls == set(), "use quantleap.core.inserts.insert_missing"
