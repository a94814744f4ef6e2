"""Writes an entry: the commit before T, and the status of executions that do not enter.

Locks our leases first, as everything in :mod:`execution.engine.database.writer` does.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from django.db import connection, transaction

from execution import lifecycle
from execution.alarms import UNWRITABLE
from execution.engine.database import leases
from execution.engine.database.bisection import write_apart
from execution.engine.database.refused_rows import Refused, ask_for_a_person
from execution.engine.database.writer import insert_intents, write_statuses
from execution.state import LiveExecution, LiveIntent
from execution.steps import StatusChange


@dataclass(slots=True)
class EntryPlan:
    """One subscriber's entry as computed at T-2 s: its intents, or the cause why there are none."""

    execution: LiveExecution
    intents: list[LiveIntent] = field(default_factory=list)
    cause: str = ""
    message: str = ""
    status: str = lifecycle.FAILED


def commit_entries(
    plans: Sequence[EntryPlan],
    *,
    owner: str,
    tokens: Mapping[int, int],
    now: dt.datetime,
) -> frozenset[int]:
    """The commit before T: ``ARMED -> COMMITTED`` and all intents, in one transaction.

    I2 (written before it is sent) and I7 (no entry outside its window) rest on it.
    Returns the ids of the committed executions, without those that were paused, or given another
    size, first. Plans without
    intents become FAILED (or MISSED), with events. A plan that the database refuses becomes FAILED
    and raises an alarm; the others are committed without it.
    """

    def attempt(part: Sequence[EntryPlan]) -> frozenset[int]:
        return _commit_entries(part, owner=owner, tokens=tokens, now=now)

    apart = write_apart(plans, attempt)
    if apart.culprits:
        refused = [
            Refused("entry", plan.execution.id, "", message) for plan, message in apart.culprits
        ]
        for plan, message in apart.culprits:
            plan.intents, plan.status = [], lifecycle.FAILED
            plan.cause, plan.message = UNWRITABLE, message
        failed = write_apart([plan for plan, _ in apart.culprits], attempt)
        apart.results += failed.results
        ask_for_a_person(refused, owner=owner, tokens=tokens, now=now)
    return frozenset().union(*apart.results)


def _commit_entries(
    plans: Sequence[EntryPlan],
    *,
    owner: str,
    tokens: Mapping[int, int],
    now: dt.datetime,
) -> frozenset[int]:
    with transaction.atomic(), connection.cursor() as cursor:
        shards = leases.hold(cursor, owner=owner, tokens=tokens)
        ready = [p for p in plans if p.intents and p.execution.shard in shards]
        # armed_at: an execution that was given another size after it was planned stays ARMED; it is
        # planned again.
        cursor.execute(
            """
            UPDATE execution_execution AS execution SET status = 'COMMITTED', committed_at = %s
              FROM unnest(%s::bigint[], %s::timestamptz[]) AS planned(id, armed_at)
             WHERE execution.id = planned.id AND execution.status = 'ARMED'
               AND execution.armed_at = planned.armed_at RETURNING execution.id
            """,
            [now, [p.execution.id for p in ready], [p.execution.armed_at for p in ready]],
        )
        committed = frozenset(row[0] for row in cursor.fetchall())
        insert_intents(
            cursor,
            [
                (plan.execution, intent)
                for plan in ready
                if plan.execution.id in committed
                for intent in plan.intents
            ],
        )
        refused = [
            StatusChange(plan.execution, plan.status, plan.cause, plan.message)
            for plan in plans
            if not plan.intents and plan.execution.shard in shards
        ]
        write_statuses(cursor, refused, now=now)
    return committed


def miss_armed(
    run_id: int,
    executions: Collection[LiveExecution],
    cause: str,
    *,
    owner: str,
    tokens: Mapping[int, int],
    now: dt.datetime,
    message: str = "",
) -> frozenset[int]:
    """Make ARMED executions MISSED, with events: their grace is over, or their run has no price.

    ``message`` gives staff more detail than ``cause``. Returns the ids that changed.
    """

    def attempt(part: Sequence[LiveExecution]) -> frozenset[int]:
        return _miss_armed(run_id, part, cause, owner=owner, tokens=tokens, now=now, words=message)

    apart = write_apart(list(executions), attempt)
    if apart.culprits:
        refused = [
            Refused("status", execution.id, "", words) for execution, words in apart.culprits
        ]
        ask_for_a_person(refused, owner=owner, tokens=tokens, now=now)
    return frozenset().union(*apart.results)


def _miss_armed(
    run_id: int,
    executions: Sequence[LiveExecution],
    cause: str,
    *,
    owner: str,
    tokens: Mapping[int, int],
    now: dt.datetime,
    words: str,
) -> frozenset[int]:
    with transaction.atomic(), connection.cursor() as cursor:
        shards = leases.hold(cursor, owner=owner, tokens=tokens)
        cursor.execute(
            """
            SELECT id FROM execution_execution
             WHERE run_id = %s AND id = ANY(%s) AND status = 'ARMED' ORDER BY id FOR UPDATE
            """,
            [run_id, [execution.id for execution in executions]],
        )
        armed = {row[0] for row in cursor.fetchall()}
        changes = [
            StatusChange(execution, lifecycle.MISSED, cause, words)
            for execution in executions
            if execution.shard in shards and execution.id in armed
        ]
        return write_statuses(cursor, changes, now=now)
