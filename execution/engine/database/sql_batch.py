"""Set-based INSERT and UPDATE from Python rows through ``unnest``.

COPY does not work under row level security; arrays do, and 20,000 rows take about a quarter of a
second. Table, column and type names come from our own code, never from outside.

Array literals are built here: the driver looks up an adapter for every element, which is four times
the work, in a thread that shares the interpreter with the orders.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from psycopg.types.json import Jsonb

Row = Sequence[Any]


def literal(values: Iterable[Any]) -> str:
    """A PostgreSQL array literal of text, int, Decimal, datetime, Jsonb, or None.

    https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO. Raises TypeError for other types.
    """
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return _in_quotes(str(value))
    if isinstance(value, (int, Decimal)):
        return str(value)
    if isinstance(value, dt.datetime):
        return f'"{value.isoformat()}"'
    if isinstance(value, Jsonb):
        return _in_quotes(json.dumps(value.obj))
    raise TypeError(f"{type(value).__name__} stands in no row of a batch")


def _in_quotes(text: str) -> str:
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _arrays(columns: Mapping[str, str], rows: Sequence[Row]) -> list[str]:
    return [literal([row[index] for row in rows]) for index in range(len(columns))]


def _unnest(columns: Mapping[str, str]) -> str:
    places = ", ".join(f"%s::{kind}[]" for kind in columns.values())
    return f"unnest({places}) AS u({', '.join(columns)})"


def names(states: Iterable[str]) -> str:
    """A set of states for an SQL IN: ``'OPEN', 'EXITING'``.

    Only our own constants, never input: raises ValueError for anything but plain names.
    """
    state_names = list(states)
    if not all(name.isidentifier() and name.isascii() for name in state_names):
        raise ValueError(f"not names of states: {state_names}")
    return ", ".join(f"'{name}'" for name in state_names)


def quoted(name: str) -> str:
    """A column name as an SQL identifier (``group`` is a reserved word)."""
    return f'"{name}"'


def insert(
    cursor: Any,
    table: str,
    columns: Mapping[str, str],
    rows: Sequence[Row],
    *,
    conflict: str = "",
    returning: str = "",
) -> list[tuple[Any, ...]]:
    """INSERT ``rows`` (one value per column, ``columns`` maps name to SQL type)."""
    if not rows:
        return []
    named = {quoted(name): kind for name, kind in columns.items()}
    names = ", ".join(named)
    sql = f"INSERT INTO {table} ({names}) SELECT {names} FROM {_unnest(named)}"  # noqa: S608
    if conflict:
        sql += f" ON CONFLICT {conflict}"
    if returning:
        sql += f" RETURNING {returning}"
    cursor.execute(sql, _arrays(columns, rows))
    return list(cursor.fetchall()) if returning else []


def update(
    cursor: Any,
    table: str,
    key: str,
    columns: Mapping[str, str],
    rows: Sequence[Row],
    *,
    where: str,
) -> list[Any]:
    """UPDATE by ``key`` (which must be one of ``columns``); returns the keys that changed.

    ``where`` further limits the target rows (alias ``t``): the row count is the lock.
    """
    if not rows:
        return []
    named = {quoted(name): kind for name, kind in columns.items()}
    sets = ", ".join(f"{name} = u.{name}" for name in named if name != quoted(key))
    sql = (
        f"UPDATE {table} AS t SET {sets} FROM {_unnest(named)} "  # noqa: S608
        f"WHERE t.{quoted(key)} = u.{quoted(key)} AND ({where}) RETURNING t.{quoted(key)}"
    )
    cursor.execute(sql, _arrays(columns, rows))
    return [row[0] for row in cursor.fetchall()]
