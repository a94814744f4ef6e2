"""What the database will not take: its execution asks for a person, once it stands alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from django.db import connection, transaction

from execution.engine import leases

log = structlog.get_logger(__name__)
#: Cause of an execution with something that the database will not take.
UNWRITABLE: Final = "UNWRITABLE"
#: Seconds until something is written again that the database refused.
REFUSED_AGAIN: Final = 5.0


@dataclass(frozen=True, slots=True)
class Refused:
    """One thing that the database will not take.

    ``what`` is its kind (result, sending, insert, status, entry), ``code`` that of its intent if
    it has one, ``message`` the database's words.
    """

    what: str
    execution_id: int
    code: str
    message: str


def ask_for_a_person(refused: Sequence[Refused], *, owner: str, tokens: Mapping[int, int]) -> None:
    """Raise the alarm of executions with what the database will not take.

    Nothing of theirs is written with it but the alarm, so that it cannot be refused for the same.
    """
    for one in refused:
        log.error(
            "row_refused",
            what=one.what,
            execution=one.execution_id,
            code=one.code,
            reason=one.message,
        )
    words = {one.execution_id: f"{one.what} {one.code}: {one.message}" for one in refused}
    with transaction.atomic(), connection.cursor() as cursor:
        shards = leases.hold(cursor, owner=owner, tokens=tokens)
        cursor.execute(
            """
            UPDATE execution_execution AS t
               SET needs_attention = TRUE, cause = %s, message = u.message
              FROM unnest(%s::bigint[], %s::text[]) AS u(id, message)
             WHERE t.id = u.id AND t.shard = ANY(%s)
            """,
            [
                UNWRITABLE,
                list(words),
                [text.replace("\0", " ")[:300] for text in words.values()],
                list(shards),
            ],
        )
