"""Reading the CSV lists of contracts that brokers publish; nothing here raises on their content."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator, Mapping

from brokers.base import Unreadable

Row = Mapping[str, str]


def read_rows(lines: Iterable[str], needed: Collection[str]) -> Iterator[Row | Unreadable | None]:
    """The rows of a CSV list by column name, texts stripped; blank lines are left out.

    A byte order mark and blanks around names are forgiven; a line with too few fields is None. A
    list without one of the ``needed`` columns, or one that stops being CSV, gives one
    :class:`Unreadable` and ends there.
    """
    try:
        reader = csv.reader(lines)
        header = [name.strip().lstrip("\ufeff") for name in next(reader, [])]
        missing = [name for name in needed if name not in header]
        if len(missing) == len(needed):
            yield Unreadable("its first line names none of the columns of such a list")
            return
        if missing:
            yield Unreadable(f"the list has no column {' or '.join(missing)}")
            return
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
