"""Audit entries are history for every role that serves requests."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection, transaction

from quantleap.core.audit import SYSTEM, record
from quantleap.core.models import AuditEntry

pytestmark = pytest.mark.django_db


def _entry() -> AuditEntry:
    return record(actor=SYSTEM, action="key.issued", target_type="key", target_id="key_1")


def test_an_entry_can_be_added_and_read() -> None:
    entry = _entry()
    assert AuditEntry.objects.get(pk=entry.pk).action == "key.issued"


@pytest.mark.parametrize(
    "statement", ["UPDATE core_auditentry SET action = 'x'", "DELETE FROM core_auditentry"]
)
def test_an_entry_can_neither_be_changed_nor_removed(statement: str) -> None:
    _entry()
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert AuditEntry.objects.filter(action="key.issued").exists()
