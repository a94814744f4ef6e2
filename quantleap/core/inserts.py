"""INSERT of missing rows: ``ON CONFLICT`` with a named target.

``bulk_create(ignore_conflicts=True)`` names no target and so ignores every conflict, even that of
the primary key. We have observed a sequence that had fallen behind its table (a database made by
``CREATE DATABASE … TEMPLATE``, then a crash of the server): it produced a used id, and a new ledger
account was silently left out. With a named target, such a row is an IntegrityError.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.db import IntegrityError, connection, models

_BATCH: Final = 1000


def insert_missing(rows: Sequence[models.Model], *, unique: Sequence[str], where: str = "") -> int:
    """Insert unsaved ``rows`` of one model, except those that already exist by the fields
    ``unique``.

    ``unique`` names the fields of one unique constraint, ``where`` is its SQL condition if it has
    one. Returns how many rows were inserted; their instances get no ids. A concurrent second
    transaction waits for the first. Raises IntegrityError for every other conflict.
    """
    if not rows:
        return 0
    meta = type(rows[0])._meta
    fields = [field for field in meta.concrete_fields if field is not meta.auto_field]
    by_name = {field.name: field for field in fields}
    columns = _columns(fields)
    target = _columns([by_name[name] for name in unique])
    condition = f" WHERE {where}" if where else ""
    places = f"({', '.join(['%s'] * len(fields))})"
    inserted = 0
    with connection.cursor() as cursor:
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            cursor.execute(
                f"INSERT INTO {_quoted(meta.db_table)} ({columns}) "  # noqa: S608
                f"VALUES {', '.join([places] * len(batch))} "
                f"ON CONFLICT ({target}){condition} DO NOTHING",
                [value for row in batch for value in _values(row, fields)],
            )
            inserted += cursor.rowcount
    return inserted


def _values(row: models.Model, fields: Sequence[models.Field[Any, Any]]) -> list[Any]:
    return [field.get_db_prep_save(field.pre_save(row, True), connection) for field in fields]


def _columns(fields: Sequence[models.Field[Any, Any]]) -> str:
    return ", ".join(_quoted(str(field.column)) for field in fields)


def _quoted(name: str) -> str:
    return connection.ops.quote_name(name)


def constraint_of(error: IntegrityError) -> str:
    """The name of the violated constraint; empty if the database names none."""
    diagnosis: Any = getattr(error.__cause__, "diag", None)
    return str(getattr(diagnosis, "constraint_name", None) or "")
