"""Shard leases: exactly one process owns a shard, and knows when it may no longer act.

No token can fence a broker, so the sender fences itself: an owner whose last successful heartbeat
is older than the time to live less two seconds sends nothing more (execution.md section 2).
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection, transaction

from execution.models import ExecutorNode, ShardLease

FENCE_MARGIN: Final = 2.0


@dataclass(frozen=True, slots=True)
class Claim:
    """One shard taken: its fencing token and what happened to the rows found SENDING."""

    shard: int
    token: int
    never_sent: int
    unknown: int


def ensure_rows(shards: int) -> None:
    """Make the lease rows 0 … shards-1 exist."""
    ShardLease.objects.bulk_create(
        [ShardLease(shard=number) for number in range(shards)], ignore_conflicts=True
    )


def announce(*, owner: str, started_at: dt.datetime, now: dt.datetime, ttl: float) -> int:
    """Note that ``owner`` lives; returns how many executors live now (at least 1)."""
    ExecutorNode.objects.bulk_create(
        [ExecutorNode(owner=owner, started_at=started_at, heartbeat_at=now)],
        update_conflicts=True,
        unique_fields=["owner"],
        update_fields=["heartbeat_at"],
    )
    gone = now - dt.timedelta(seconds=ttl)
    ExecutorNode.objects.filter(heartbeat_at__lt=gone).delete()
    return max(1, ExecutorNode.objects.count())


def fair_share(shards: int, executors: int) -> int:
    """How many shards one of ``executors`` may own."""
    return math.ceil(shards / max(1, executors))


def heartbeat(
    *, owner: str, tokens: Mapping[int, int], now: dt.datetime, ttl: float
) -> frozenset[int]:
    """Extend the leases of ``tokens`` (shard -> token); the shards that are still ours."""
    if not tokens:
        return frozenset()
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE execution_shardlease AS l
               SET heartbeat_at = %s, expires_at = %s
              FROM unnest(%s::int[], %s::bigint[]) AS mine(shard, token)
             WHERE l.shard = mine.shard AND l.token = mine.token AND l.owner = %s
            RETURNING l.shard
            """,
            [
                now,
                now + dt.timedelta(seconds=ttl),
                list(tokens),
                list(tokens.values()),
                owner,
            ],
        )
        return frozenset(row[0] for row in cursor.fetchall())


def leave(*, owner: str, tokens: Mapping[int, int]) -> None:
    """A clean stop: the leases go back, and nobody counts on ``owner`` any more.

    One transaction. An executor that has left and still counts as alive would keep the others'
    share small, and its shards without an owner until its heartbeat is too old.
    """
    with transaction.atomic():
        release(owner=owner, tokens=tokens)
        ExecutorNode.objects.filter(owner=owner).delete()


def release(*, owner: str, tokens: Mapping[int, int]) -> None:
    """Give leases back at once (more than a fair share)."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE execution_shardlease AS l SET owner = '', expires_at = NULL
              FROM unnest(%s::int[], %s::bigint[]) AS mine(shard, token)
             WHERE l.shard = mine.shard AND l.token = mine.token AND l.owner = %s
            """,
            [list(tokens), list(tokens.values()), owner],
        )


def claim(*, owner: str, wanted: int, now: dt.datetime, ttl: float) -> list[Claim]:
    """Take up to ``wanted`` free or lapsed shards, and settle what their last owner left SENDING.

    A row that was due only after the old lease had run out was provably never sent (the old owner
    had fenced itself): it is PLANNED again. Every other SENDING row is UNKNOWN, by definition.
    Claim and settlement are one transaction, so a second crash finds settled rows.
    """
    if wanted <= 0:
        return []
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT shard, token, expires_at FROM execution_shardlease
             WHERE expires_at IS NULL OR expires_at < %s
             ORDER BY shard LIMIT %s FOR UPDATE SKIP LOCKED
            """,
            [now, wanted],
        )
        rows = cursor.fetchall()
        return [
            _take(cursor, owner, shard, token + 1, expires_at, now, ttl)
            for shard, token, expires_at in rows
        ]


def _take(
    cursor: Any,
    owner: str,
    shard: int,
    token: int,
    old_expiry: dt.datetime | None,
    now: dt.datetime,
    ttl: float,
) -> Claim:
    cursor.execute(
        """
        UPDATE execution_shardlease
           SET owner = %s, token = %s, heartbeat_at = %s, expires_at = %s WHERE shard = %s
        """,
        [owner, token, now, now + dt.timedelta(seconds=ttl), shard],
    )
    never_sent = 0
    if old_expiry is not None:
        cursor.execute(
            """
            UPDATE execution_orderintent SET state = 'PLANNED', sends = sends - 1
             WHERE shard = %s AND state = 'SENDING' AND sent_at IS NULL AND due_at > %s
            """,
            [shard, old_expiry],
        )
        never_sent = cursor.rowcount
    cursor.execute(
        "UPDATE execution_orderintent SET state = 'UNKNOWN' WHERE shard = %s AND state = 'SENDING'",
        [shard],
    )
    return Claim(shard, token, never_sent, cursor.rowcount)


def hold(cursor: Any, *, owner: str, tokens: Mapping[int, int]) -> frozenset[int]:
    """Inside a transaction: lock our leases against being claimed; the shards we still own.

    What is written in this transaction for those shards is written by their owner.
    """
    cursor.execute(
        """
        SELECT l.shard FROM execution_shardlease AS l
          JOIN unnest(%s::int[], %s::bigint[]) AS mine(shard, token)
            ON l.shard = mine.shard AND l.token = mine.token
         WHERE l.owner = %s ORDER BY l.shard FOR SHARE OF l
        """,
        [list(tokens), list(tokens.values()), owner],
    )
    return frozenset(row[0] for row in cursor.fetchall())
