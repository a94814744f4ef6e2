"""Writes the trading day back: batches in one transaction, by the shard's owner only.

Every write here first locks our leases (leases.hold): it is made by the owner, or not at all.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, Final

from django.db import connection, transaction
from psycopg.types.json import Jsonb

from execution import events, lifecycle
from execution.engine.database import leases, sql_batch
from execution.engine.database.alarm_writer import (
    Cleared,
    Raised,
    clear_alarms,
    clear_with_execution,
    insert_alarms,
    log_alarms,
)
from execution.engine.database.bisection import write_apart
from execution.engine.database.change_writer import RequestedChanges, write_changed, write_requested
from execution.engine.database.refused_rows import Refused, ask_for_a_person
from execution.engine.runtime import facts
from execution.state import LiveExecution, LiveIntent
from execution.steps import StatusChange

_FINAL: Final = sql_batch.names(lifecycle.FINAL)
_TERMINAL: Final = sql_batch.names(lifecycle.TERMINAL)

#: Columns of a new order: name, SQL type, and the attribute of the execution or intent with the
#: value.
_OF_EXECUTION: Final = (
    ("partner_id", "bigint", "partner_id"),
    ("environment", "text", "environment"),
    ("run_id", "bigint", "run.id"),
    ("execution_id", "bigint", "id"),
    ("allocation_id", "bigint", "allocation_id"),
    ("account_id", "bigint", "account_id"),
    ("shard", "int", "shard"),
)
_OF_INTENT: Final = (
    ("code", "text", "code"),
    ("tag", "text", "tag"),
    ("leg_key", "text", "leg_key"),
    ("leg_index", "int", "leg_index"),
    ("group", "int", "group"),
    ("slice", "int", "slice"),
    ("purpose", "text", "purpose"),
    ("attempt_group", "int", "attempt_group"),
    ("contract_id", "bigint", "contract_id"),
    ("symbol", "text", "instrument.symbol"),
    ("side", "text", "side"),
    ("quantity", "int", "quantity"),
    ("price", "numeric", "price"),
    ("reference_price", "numeric", "reference_price"),
    ("price_source", "text", "price_source"),
    ("price_age", "numeric", "price_age"),
    ("reason", "text", "reason"),
    ("state", "text", "state"),
    ("sends", "int", "sends"),
    ("broker_order_id", "text", "broker_order_id"),
    ("filled_quantity", "int", "filled_quantity"),
    ("average_price", "numeric", "average_price"),
    ("cause", "text", "cause"),
    ("message", "text", "message"),
    ("due_at", "timestamptz", "due_at"),
    ("planned_at", "timestamptz", "planned_at"),
)
_INSERT_COLUMNS: Final = {name: kind for name, kind, _ in (*_OF_EXECUTION, *_OF_INTENT)}
_execution_columns: Final = attrgetter(*(attribute for _, _, attribute in _OF_EXECUTION))
_intent_columns: Final = attrgetter(*(attribute for _, _, attribute in _OF_INTENT))
_SENDING_COLUMNS: Final[Mapping[str, str]] = {
    "code": "text",
    "state": "text",
    "sends": "int",
    "tag": "text",
    "due_at": "timestamptz",
}
#: Columns of an order's result: name (also the intent's attribute), SQL type, and the maximum
#: number of characters (None: no limit).
_RESULTS: Final = (
    ("code", "text", None),
    ("state", "text", None),
    ("sends", "int", None),
    ("broker_order_id", "text", None),
    ("filled_quantity", "int", None),
    ("average_price", "numeric", None),
    ("surplus_quantity", "int", None),
    ("surplus_price", "numeric", None),
    ("surplus_orders", "text", 200),
    ("cause", "text", None),
    ("message", "text", 300),
    ("sent_at", "timestamptz", None),
    ("answered_at", "timestamptz", None),
    ("final_at", "timestamptz", None),
)
_RESULT_COLUMNS: Final = {name: kind for name, kind, _ in _RESULTS}
_result_columns: Final = attrgetter(*_RESULT_COLUMNS)
_LENGTHS: Final = tuple(most for _, _, most in _RESULTS)


@dataclass(slots=True)
class Batch:
    """What one round of the executor wants to write."""

    results: list[LiveIntent] = field(default_factory=list)
    sending: list[tuple[LiveIntent, str]] = field(default_factory=list)
    #: Changes of resting orders, each with all that were requested so far.
    changing: list[RequestedChanges] = field(default_factory=list)
    inserts: list[tuple[LiveExecution, LiveIntent]] = field(default_factory=list)
    cleared: list[Cleared] = field(default_factory=list)
    raised: list[Raised] = field(default_factory=list)
    statuses: list[StatusChange] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any(getattr(self, f.name) for f in fields(self))

    def items(self) -> list[Item]:
        """All items, in the order of writing."""
        return [
            *(("result", intent.execution_id, intent) for intent in self.results),
            *(("sending", intent.execution_id, (intent, tag)) for intent, tag in self.sending),
            *(("changing", intent.execution_id, (intent, all_)) for intent, all_ in self.changing),
            *(("insert", execution.id, (execution, i)) for execution, i in self.inserts),
            *(("cleared", c.about.execution_id or 0, c) for c in self.cleared),
            *(("raised", r.about.execution_id or 0, r) for r in self.raised),
            *(("status", change.execution.id, change) for change in self.statuses),
        ]

    @classmethod
    def of(cls, items: Sequence[Item]) -> Batch:
        """The batch with these items."""
        kinds = ("result", "sending", "changing", "insert", "cleared", "raised", "status")
        by_kind: dict[str, list[Any]] = {kind: [] for kind in kinds}
        for kind, _, what in items:
            by_kind[kind].append(what)
        return cls(*(by_kind[kind] for kind in kinds))


#: The kind (result, sending, changing, insert, cleared, raised, status), the execution's id (0 for
#: none) and the item itself.
Item = tuple[str, int, Any]


@dataclass(slots=True)
class Written:
    """What the database granted: only these may be acted upon.

    ``refused`` is what it refused; their executions have an alarm now.
    """

    shards: frozenset[int]
    sending: frozenset[str] = frozenset()
    changing: frozenset[str] = frozenset()
    inserted: frozenset[str] = frozenset()
    statuses: frozenset[int] = frozenset()
    raised: tuple[Raised, ...] = ()
    refused: tuple[Refused, ...] = ()


def _insert_row(execution: LiveExecution, intent: LiveIntent) -> tuple[Any, ...]:
    return (*_execution_columns(execution), *_intent_columns(intent))


def insert_intents(cursor: Any, rows: Sequence[tuple[LiveExecution, LiveIntent]]) -> frozenset[str]:
    """INSERT intents; return the codes of those that were new.

    The database keeps I1 (one intent per place in the plan).
    """
    inserted = sql_batch.insert(
        cursor,
        "execution_orderintent",
        _INSERT_COLUMNS,
        [_insert_row(execution, intent) for execution, intent in rows],
        conflict="DO NOTHING",
        returning="code",
    )
    return frozenset(row[0] for row in inserted)


def write(batch: Batch, *, owner: str, tokens: Mapping[int, int], now: dt.datetime) -> Written:
    """Write a batch; return what was granted.

    In one transaction, unless the database refuses something in it: then everything else is
    written, and the execution of the refused item gets an alarm.
    """

    def attempt(items: Sequence[Item]) -> Written:
        return _write(Batch.of(items), owner=owner, tokens=tokens, now=now)

    apart = write_apart(batch.items(), attempt)
    refused = [
        Refused(kind, execution_id, _code_of(what), message)
        for (kind, execution_id, what), message in apart.culprits
    ]
    if refused:
        ask_for_a_person(refused, owner=owner, tokens=tokens, now=now)
    parts = apart.results
    log_alarms([r for part in parts for r in part.raised], batch.cleared)
    return Written(
        frozenset().union(*(part.shards for part in parts)),
        frozenset().union(*(part.sending for part in parts)),
        frozenset().union(*(part.changing for part in parts)),
        frozenset().union(*(part.inserted for part in parts)),
        frozenset().union(*(part.statuses for part in parts)),
        tuple(r for part in parts for r in part.raised),
        tuple(refused),
    )


def _code_of(what: Any) -> str:
    """The code of the intent in an item; '' if it has none."""
    intent = next(
        (w for w in (what if isinstance(what, tuple) else (what,)) if hasattr(w, "code")), None
    )
    return "" if intent is None else str(intent.code)


def _write(batch: Batch, *, owner: str, tokens: Mapping[int, int], now: dt.datetime) -> Written:
    """Write a batch in one transaction; return what was granted."""
    with transaction.atomic(), connection.cursor() as cursor:
        shards = leases.hold(cursor, owner=owner, tokens=tokens)
        written = Written(shards)
        results = [i for i in batch.results if i.shard in shards]
        sql_batch.update(
            cursor,
            "execution_orderintent",
            "code",
            _RESULT_COLUMNS,
            [_result_row(intent) for intent in results],
            # A final row changes only by a late fill, its own or a duplicate's: the book showed it
            # after the order was final.
            where=f"t.state NOT IN ({_FINAL}) OR t.filled_quantity < u.filled_quantity"
            " OR t.surplus_quantity < u.surplus_quantity",
        )
        write_changed(cursor, results)
        written.changing = write_requested(
            cursor, [row for row in batch.changing if row[0].shard in shards]
        )
        sending = [
            (i.code, lifecycle.SENDING, i.sends + 1, tag, now)
            for i, tag in batch.sending
            if i.shard in shards
        ]
        written.sending = frozenset(
            sql_batch.update(
                cursor,
                "execution_orderintent",
                "code",
                _SENDING_COLUMNS,
                sending,
                # SENDING with the same tag: our own commit whose answer was lost with the
                # connection. No other executor can have written it (leases.hold), and we act once.
                where="t.state = 'PLANNED' OR (t.state = 'SENDING' AND t.tag = u.tag)",
            )
        )
        inserts = [(e, i) for e, i in batch.inserts if e.shard in shards]
        written.inserted = insert_intents(cursor, inserts)
        # Before the statuses: an execution that ends with this batch waits for nothing any more.
        held_shards = {None, *shards}
        clear_alarms(cursor, [c for c in batch.cleared if c.about.shard in held_shards], now=now)
        raised = [r for r in batch.raised if r.about.shard in held_shards]
        written.raised = insert_alarms(cursor, raised, owner=owner, now=now)
        changes = [c for c in batch.statuses if c.execution.shard in shards]
        written.statuses = write_statuses(cursor, changes, now=now)
    return written


def _result_row(intent: LiveIntent) -> tuple[Any, ...]:
    values = zip(_result_columns(intent), _LENGTHS, strict=True)
    return tuple(value if most is None else value[:most] for value, most in values)


def write_statuses(
    cursor: Any, changes: Sequence[StatusChange], *, now: dt.datetime
) -> frozenset[int]:
    """Write conditional status changes and their events; return the ids of the changed rows."""
    rows = [
        (
            change.execution.id,
            change.status,
            change.cause[:30],
            change.message[:300],
            None if change.closed_outside is None else Jsonb(dict(change.closed_outside)),
            change.pnl,
            now if change.status == lifecycle.OPEN else None,
            now if change.status in lifecycle.TERMINAL else None,
        )
        for change in changes
    ]
    if not rows:
        return frozenset()
    changed = frozenset(_update_statuses(cursor, rows))
    statuses = {c.execution.id: c.status for c in changes if c.execution.id in changed}
    clear_with_execution(cursor, statuses, now=now)
    transaction.on_commit(lambda: _log_statuses(changes, changed))
    status_events = [
        event
        for change in changes
        if change.execution.id in changed
        for event in events.of_status(change.execution, change, now)
    ]
    events.emit(status_events)
    return changed


def _log_statuses(changes: Sequence[StatusChange], changed: frozenset[int]) -> None:
    """Log the new statuses of executions whose rows changed."""
    for change in changes:
        if change.execution.id not in changed:
            continue
        if change.status:
            facts.became(change.execution, change.status, change.cause, change.message, change.pnl)


def _update_statuses(cursor: Any, rows: Sequence[tuple[Any, ...]]) -> list[int]:
    """Update only what changed; alarms have rows of their own."""
    arrays = [sql_batch.literal([row[index] for row in rows]) for index in range(8)]
    cursor.execute(
        f"""
        UPDATE execution_execution AS t
           SET status = COALESCE(NULLIF(u.status, ''), t.status),
               cause = COALESCE(NULLIF(u.cause, ''), t.cause),
               message = COALESCE(NULLIF(u.message, ''), t.message),
               closed_outside = COALESCE(u.closed_outside, t.closed_outside),
               realised_pnl = COALESCE(u.pnl, t.realised_pnl),
               entered_at = COALESCE(t.entered_at, u.entered_at),
               closed_at = COALESCE(t.closed_at, u.closed_at)
          FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::jsonb[],
                      %s::numeric[], %s::timestamptz[], %s::timestamptz[])
               AS u(id, status, cause, message, closed_outside, pnl, entered_at, closed_at)
         WHERE t.id = u.id AND t.status NOT IN ({_TERMINAL})
        RETURNING t.id
        """,  # noqa: S608
        arrays,
    )
    return [row[0] for row in cursor.fetchall()]
