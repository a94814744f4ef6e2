"""Encryption keys in use, and re-encryption of old values with the newest key.

Sealed columns are found by their field class. A row is read, decrypted, encrypted with the ring's
first key, and written only if nobody changed it meanwhile. So this may run beside everything else
and be stopped at any moment: remaining values are recognised by their key id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from django.apps import apps
from django.db import models, transaction
from django.db.models import Count, F, Func, TextField, Value

from quantleap.core import crypto
from quantleap.core.fields import SealedField, place_of

#: The key id of ciphertext that was not written by us.
FOREIGN: Final = "?"


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """One column that holds ciphertext."""

    model: type[models.Model]
    name: str

    def __str__(self) -> str:
        return f"{self.model._meta.db_table}.{self.name}"

    def rows(self) -> models.QuerySet[Any]:
        """Rows with a value in the column, of all tenants."""
        return self.model._base_manager.exclude(**{self.name: ""})

    def place(self, pk: object) -> str:
        """The associated data of one row's value."""
        return place_of(self.model, pk, self.name)


@dataclass(slots=True)
class Progress:
    """Progress of one column; ``unreadable`` holds the keys of rows that could not be decrypted."""

    column: SealedColumn
    total: int
    written: int = 0
    changed_meanwhile: int = 0
    unreadable: list[Any] = field(default_factory=list)

    @property
    def seen(self) -> int:
        """The number of rows processed so far."""
        return self.written + self.changed_meanwhile + len(self.unreadable)


def sealed_columns() -> list[SealedColumn]:
    """Every sealed column of every table."""
    return [
        SealedColumn(model, column.name)
        for model in apps.get_models()
        for column in model._meta.local_fields
        if isinstance(column, SealedField)
    ]


def keys_in_use() -> dict[SealedColumn, Counter[str]]:
    """How many values each key id has encrypted, by column (one query each)."""
    return {column: _count_keys(column) for column in sealed_columns()}


def unknown_keys() -> dict[str, int]:
    """The number of values by key ids that the ring lacks; nobody can decrypt them without that
    key."""
    known = crypto.key_ring().keys
    unknown: Counter[str] = Counter()
    for counted in keys_in_use().values():
        unknown.update({key: count for key, count in counted.items() if key not in known})
    return dict(unknown)


def reencrypt(
    column: SealedColumn, *, chunk: int = 500, report: Callable[[Progress], None] | None = None
) -> Progress:
    """Encrypt every value of ``column`` that is not under the ring's first key again.

    Uses one transaction per ``chunk`` rows and calls ``report`` after each. A value that changed
    between reading and writing is left alone.
    """
    primary = crypto.key_ring().primary
    old = column.rows().exclude(**{f"{column.name}__startswith": f"v1:{primary}:"})
    progress = Progress(column, old.count())
    for values in _chunks(old, column, chunk):
        with transaction.atomic():
            for pk, stored in values:
                _write_again(progress, pk, stored)
        if report is not None:
            report(progress)
    return progress


def _write_again(progress: Progress, pk: Any, stored: str) -> None:
    column = progress.column
    place = column.place(pk)
    try:
        sealed = crypto.encrypt(crypto.decrypt(stored, place=place), place=place)
    except crypto.DecryptionError:
        progress.unreadable.append(pk)
        return
    still_the_same = column.rows().filter(pk=pk, **{column.name: stored})
    if still_the_same.update(**{column.name: sealed}):
        progress.written += 1
    else:
        progress.changed_meanwhile += 1


def _chunks(
    old: models.QuerySet[Any], column: SealedColumn, size: int
) -> Iterator[list[tuple[Any, str]]]:
    """Values in the order of their rows' keys; each chunk is a query of its own."""
    last: Any = None
    while True:
        rows = old if last is None else old.filter(pk__gt=last)
        values = list(rows.order_by("pk").values_list("pk", column.name)[:size])
        if not values:
            return
        yield values
        last = values[-1][0]


def _count_keys(column: SealedColumn) -> Counter[str]:
    key_id = Func(
        F(column.name), Value(":"), Value(2), function="split_part", output_field=TextField()
    )
    counted = (
        column.rows().annotate(key=key_id).values("key").annotate(number=Count("*")).order_by("key")
    )
    return Counter({row["key"] or FOREIGN: row["number"] for row in counted})
