"""Reads the CSV lists of contracts that brokers publish; nothing here raises on their content."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from brokers import wire_values
from brokers.instrument_rows import UnknownColumn, Unreadable

Row = Mapping[str, str]
#: Maximum number of reported unknown names: a line of a thousand fields is no header.
_NAMED: Final = 10


def read_rows(
    lines: Iterable[str],
    needed: Collection[str],
    *,
    also: Collection[str] = (),
    synonyms: Mapping[str, str] | None = None,
) -> Iterator[Row | UnknownColumn | Unreadable | None]:
    """The rows of a CSV list by column name, stripped; blank lines are skipped.

    A byte order mark and blanks around names are ignored; a line with too few fields is None.
    ``synonyms`` are other names of columns: rows use ours. A name that is neither ``needed`` nor in
    ``also`` is reported as an :class:`UnknownColumn` before the rows. A list without one of the
    needed columns, or one that stops being CSV, gives one :class:`Unreadable` and ends there.
    """
    other = synonyms or {}
    try:
        reader = csv.reader(lines)
        header = [name.strip().lstrip("\ufeff") for name in next(reader, [])]
        header = [other.get(name, name) for name in header]
        strange = [
            wire_values.clean_text(name, 30)
            for name in header
            if name and name not in {*needed, *also}
        ][:_NAMED]
        missing = [name for name in needed if name not in header]
        if len(missing) == len(needed):
            yield Unreadable("its first line names none of the columns of such a list")
            return
        if missing:
            instead = f"; unknown to us: {', '.join(strange)}" if strange else ""
            yield Unreadable(f"the list has no column {' or '.join(missing)}{instead}")
            return
        yield from map(UnknownColumn, strange)
        width = len(header) - (header[-1] == "")  # Noren's lines end in a comma
        for fields in reader:
            if not any(fields):
                continue
            if len(fields) < width:
                yield None
                continue
            texts = (text.strip() for text in fields)
            yield dict(zip(header, texts, strict=False))
    except csv.Error:
        # A field of absurd length or a NUL: nothing after it can be trusted.
        yield Unreadable("the list stops being CSV in the middle")
