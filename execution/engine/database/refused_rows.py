"""Rows that the database refuses: once isolated, they raise an alarm on their execution."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from django.db import connection, transaction

from execution.alarms import UNWRITABLE, Alarm, plain
from execution.engine.database import leases
from execution.engine.database.alarm_writer import About, Raised, insert_alarms

log = structlog.get_logger(__name__)
#: Seconds until a refused write is tried again.
REFUSED_AGAIN: Final = 5.0


@dataclass(frozen=True, slots=True)
class Refused:
    """One item that the database refused.

    ``what`` is its kind: result, sending, changing, insert, status, cleared, raised or entry.
    ``code`` is that of its intent, if it has one; ``message`` is the database's.
    """

    what: str
    execution_id: int
    code: str
    message: str


def ask_for_a_person(
    refused: Sequence[Refused], *, owner: str, tokens: Mapping[int, int], now: dt.datetime
) -> None:
    """Raise an alarm on the executions of refused items.

    Only the alarm and the cause are written, so this cannot be refused for the same reason.
    """
    for refusal in refused:
        log.error(
            "row_refused",
            what=refusal.what,
            execution=refusal.execution_id,
            code=refusal.code,
            reason=refusal.message,
        )
    words = {
        refusal.execution_id: plain(f"{refusal.what} {refusal.code}: {refusal.message}", 300)
        for refusal in refused
        if refusal.execution_id
    }
    with transaction.atomic(), connection.cursor() as cursor:
        shards = leases.hold(cursor, owner=owner, tokens=tokens)
        cursor.execute(
            """
            UPDATE execution_execution AS t
               SET cause = %s, message = u.message
              FROM unnest(%s::bigint[], %s::text[]) AS u(id, message)
             WHERE t.id = u.id AND t.shard = ANY(%s) RETURNING t.id
            """,
            [UNWRITABLE, list(words), list(words.values()), list(shards)],
        )
        updated_ids = [row[0] for row in cursor.fetchall()]
        insert_alarms(
            cursor,
            [
                Raised(
                    About(execution_id=execution_id), Alarm(UNWRITABLE, words=words[execution_id])
                )
                for execution_id in updated_ids
            ],
            owner=owner,
            now=now,
        )
