"""Shard leases: exactly one process owns a shard, and knows when it may no longer act.

No token can fence a broker, so the sender fences itself: an owner whose last successful heartbeat
is older than the time to live less two seconds sends nothing more (docs/adr/0009).

Leases run by the database's clock, because their owners' clocks differ: an executor whose clock was
12 s fast took the leases of a healthy one. The times in these tables are of that clock, and do not
move with our origin (docs/adr/0022, 0040): a rehearsal that jumps a day ahead takes no lease away.
Only ``started_at`` is on our clock.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection, transaction

from execution import lifecycle
from execution.clock_offset import Reading
from execution.engine.database import sql_batch
from execution.models import ExecutorNode, ShardLease
from quantleap.core import clock

FENCE_MARGIN: Final = 2.0
_NOW: Final = "clock_timestamp()"
_SECONDS: Final = "make_interval(secs => %s)"
_LIVE: Final = f"""EXISTS (
    SELECT FROM execution_execution AS e
     WHERE e.shard = l.shard AND e.status NOT IN ({sql_batch.names(lifecycle.TERMINAL)}))"""
_TRADED: Final = f"""EXISTS (
    SELECT FROM execution_execution AS e
     WHERE e.shard = l.shard AND e.status IN ({sql_batch.names(lifecycle.WORKING)}))"""
_ALL: Final = 2**15


@dataclass(frozen=True, slots=True)
class Claim:
    """A claimed shard: its fencing token, and how many rows found SENDING became PLANNED
    (``never_sent``) or UNKNOWN."""

    shard: int
    token: int
    never_sent: int
    unknown: int


def read_clock() -> Reading:
    """The offset of our clock from the database's. The error is half the round trip."""
    with connection.cursor() as cursor:  # connects, if necessary, before the clocks are read
        wall, begun = clock.real_timestamp(), clock.monotonic()
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
        database_wall = float(cursor.fetchone()[0])
        half = (clock.monotonic() - begun) / 2
    return Reading(round((wall + half - database_wall) * 1000), math.ceil(half * 1000))


def ensure_rows(shards: int) -> None:
    """Create the missing lease rows of 0 … shards-1."""
    ShardLease.objects.bulk_create(
        [ShardLease(shard=number) for number in range(shards)], ignore_conflicts=True
    )


@dataclass(frozen=True, slots=True)
class Living:
    """Our clock offset, and the number of live executors whose clocks are right, ours included."""

    reading: Reading
    fit: int


def announce(*, owner: str, started_at: dt.datetime, ttl: float) -> Living:
    """Record ``owner`` as alive, with its clock offset; remove rows older than ``ttl`` seconds."""
    reading = read_clock()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO execution_executornode
                   (owner, started_at, heartbeat_at, clock_offset_ms, clock_error_ms)
            VALUES (%s, %s, {_NOW}, %s, %s)
                ON CONFLICT (owner) DO UPDATE
               SET heartbeat_at = EXCLUDED.heartbeat_at,
                   clock_offset_ms = EXCLUDED.clock_offset_ms,
                   clock_error_ms = EXCLUDED.clock_error_ms
            """,  # noqa: S608
            [owner, started_at, reading.offset_ms, reading.error_ms],
        )
        cursor.execute(
            f"DELETE FROM execution_executornode WHERE heartbeat_at < {_NOW} - {_SECONDS}",  # noqa: S608
            [ttl],
        )
    return Living(reading, sum(not node.is_off for node in ExecutorNode.objects.all()))


def fair_share(shards: int, executors: int) -> int:
    """The most shards that one of ``executors`` may own."""
    return math.ceil(shards / max(1, executors))


def heartbeat(*, owner: str, tokens: Mapping[int, int], ttl: float) -> frozenset[int]:
    """Extend the leases of ``tokens`` (shard -> token) by ``ttl`` seconds; return our shards."""
    if not tokens:
        return frozenset()
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE execution_shardlease AS l
               SET heartbeat_at = {_NOW}, expires_at = {_NOW} + {_SECONDS}
              FROM unnest(%s::int[], %s::bigint[]) AS mine(shard, token)
             WHERE l.shard = mine.shard AND l.token = mine.token AND l.owner = %s
            RETURNING l.shard
            """,  # noqa: S608
            [ttl, list(tokens), list(tokens.values()), owner],
        )
        return frozenset(row[0] for row in cursor.fetchall())


def leave(*, owner: str, tokens: Mapping[int, int]) -> None:
    """Release the leases and remove ``owner`` from the live executors, for a clean stop.

    One transaction. An executor that has left but still counts as alive would keep the others'
    share small, and its shards without an owner until its heartbeat is too old.
    """
    with transaction.atomic():
        release(owner=owner, tokens=tokens)
        ExecutorNode.objects.filter(owner=owner).delete()


def release(*, owner: str, tokens: Mapping[int, int]) -> None:
    """Release leases at once, for example those beyond a fair share."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE execution_shardlease AS l SET owner = '', expires_at = NULL
              FROM unnest(%s::int[], %s::bigint[]) AS mine(shard, token)
             WHERE l.shard = mine.shard AND l.token = mine.token AND l.owner = %s
            """,
            [list(tokens), list(tokens.values()), owner],
        )


def claim(
    *, owner: str, wanted: int, ttl: float, shards: int | None = None, only_traded: bool = False
) -> list[Claim]:
    """Claim up to ``wanted`` free or expired shards, and settle what their last owner left SENDING.

    Shards with open positions come first. Shard numbers from ``shards`` on, which a reduced
    ``QUANTLEAP_SHARDS`` has left behind, are claimed like others if they have a live execution.
    With ``only_traded``, only shards with open positions are claimed.

    A row that was due only after the old lease had expired was provably never sent (the old owner
    had fenced itself): it is PLANNED again. Every other SENDING row is UNKNOWN, by definition.
    Claim and settlement are one transaction, so a second crash finds settled rows.
    """
    if wanted <= 0:
        return []
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT l.shard, l.token, l.expires_at FROM execution_shardlease AS l
             WHERE (l.expires_at IS NULL OR l.expires_at < {_NOW})
               AND (l.shard < %s OR {_LIVE}) AND (NOT %s OR {_TRADED})
             ORDER BY {_TRADED} DESC, l.shard LIMIT %s FOR UPDATE SKIP LOCKED
            """,  # noqa: S608
            [_ALL if shards is None else shards, only_traded, wanted],
        )
        rows = cursor.fetchall()
        return [
            _take(cursor, owner, shard, token + 1, expires_at, ttl)
            for shard, token, expires_at in rows
        ]


def left_behind(shards: int) -> int:
    """The number of shards with unfinished executions that a smaller ``QUANTLEAP_SHARDS`` left."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*) FROM execution_shardlease AS l WHERE l.shard >= %s AND {_LIVE}",  # noqa: S608
            [shards],
        )
        return int(cursor.fetchone()[0])


def _take(
    cursor: Any,
    owner: str,
    shard: int,
    token: int,
    old_expiry: dt.datetime | None,
    ttl: float,
) -> Claim:
    cursor.execute(
        f"""
        UPDATE execution_shardlease
           SET owner = %s, token = %s, heartbeat_at = {_NOW}, expires_at = {_NOW} + {_SECONDS}
         WHERE shard = %s
        """,  # noqa: S608
        [owner, token, ttl, shard],
    )
    never_sent = 0
    if old_expiry is not None:
        cursor.execute(
            """
            UPDATE execution_orderintent SET state = 'PLANNED', sends = sends - 1
             WHERE shard = %s AND state = 'SENDING' AND sent_at IS NULL AND due_at > %s
            """,
            # Orders are due by our clock, leases by the database's.
            [shard, old_expiry + dt.timedelta(seconds=clock.offset_seconds())],
        )
        never_sent = cursor.rowcount
    cursor.execute(
        "UPDATE execution_orderintent SET state = 'UNKNOWN' WHERE shard = %s AND state = 'SENDING'",
        [shard],
    )
    return Claim(shard, token, never_sent, cursor.rowcount)


def hold(cursor: Any, *, owner: str, tokens: Mapping[int, int]) -> frozenset[int]:
    """Lock our leases against a claim, inside a transaction; return the shards that we still own.

    Whatever this transaction writes for those shards is written by their owner.
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
