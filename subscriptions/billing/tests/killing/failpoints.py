"""Stops a process at a chosen statement, and the deliberate breaks of the controls.

The installation's own code has no hooks for this: Django's execute wrappers see every statement.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction

from subscriptions.billing.invoicing import number_series, run_sql, runs
from subscriptions.billing.invoicing.number_format import financial_year

_NAMES = {value.strip(): name for name, value in vars(run_sql).items() if isinstance(value, str)}


def label(sql: str) -> str:
    """A statement in a word or three: its name in run_sql, else how it begins."""
    text = str(sql).strip()
    return _NAMES.get(text) or " ".join(text.replace('"', "").split()[:3])


class Failpoint:
    """An execute wrapper: once statement number ``place`` (from 1; 0 is nowhere) was answered, or
    ``before`` it is sent, ``action`` is called with its label. Keeps the labels of what it saw.
    """

    def __init__(self, place: int, action: Callable[[str], None], *, before: bool = False) -> None:
        self.place, self.action, self.before = place, action, before
        self.seen: list[str] = []

    def __call__(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        """Once around each statement."""
        self.seen.append(label(sql))
        here = len(self.seen) == self.place
        if here and self.before:
            self.action(self.seen[-1])
        result = execute(sql, params, many, context)
        if here and not self.before:
            self.action(self.seen[-1])
        return result


def _numbers_apart() -> None:
    """Numbers are taken, and committed, in a transaction of their own."""

    def take(series: str, count: int, *, today: Any) -> tuple[str, int, Any]:
        fy = financial_year(today)
        other = connections.create_connection(DEFAULT_DB_ALIAS)
        try:
            with other.cursor() as cursor:
                cursor.execute(number_series._TAKE, [count, today, series, fy])
                last, issued_on = cursor.fetchone()
        finally:
            other.close()
        return fy, last - count + 1, issued_on

    number_series.take = take


def _advance_apart() -> None:
    """Segments move on, and that is committed, before their invoices are written."""
    issue = runs._issue

    def advance_then_issue(cursor: Any, facts: dict[str, Any], count: int) -> None:
        cursor.execute(run_sql.ADVANCE)
        connection.connection.commit()
        issue(cursor, facts, count)

    _keep_temporary_tables()
    vars(runs)["_issue"] = advance_then_issue


def _events_apart() -> None:
    """Events are written after the commit of what they tell."""

    def later(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql != run_sql.EVENTS or not connection.in_atomic_block:
            return execute(sql, params, many, context)

        def tell() -> None:
            with connection.cursor() as cursor:
                cursor.execute(run_sql.EVENTS, params)

        transaction.on_commit(tell)
        return None

    _keep_temporary_tables()
    connection.execute_wrappers.append(later)


def _keep_temporary_tables() -> None:
    for name in ("DUE", "NEW", "NAMED"):
        vars(run_sql)[name] = vars(run_sql)[name].replace("ON COMMIT DROP", "")


#: By name, what each break does to this process.
BREAKS: dict[str, Callable[[], None]] = {
    "": lambda: None,
    "numbers_apart": _numbers_apart,
    "advance_apart": _advance_apart,
    "events_apart": _events_apart,
}
