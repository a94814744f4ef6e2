"""Writes alarm rows: raised once, whichever executor raises them, and cleared by a fact."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django.db import connection, transaction

from execution import lifecycle
from execution.alarms import CLOCK, ENDED_BY_CLOSING, Alarm, means, plain
from execution.engine.database import sql_batch
from execution.engine.runtime import facts
from execution.models import Alarm as AlarmRow
from execution.state import LiveExecution

_COLUMNS: Final[Mapping[str, str]] = {
    "execution_id": "bigint",
    "run_id": "bigint",
    "account_id": "bigint",
    "cause": "text",
    "leg_key": "text",
    "order_tag": "text",
    "words": "text",
    "raised_at": "timestamptz",
    "raised_by": "text",
    "acknowledged_by": "text",
    "settled_by": "text",
    "note": "text",
    "cleared_by": "text",
}
#: The constraint alarm_open_uniq: any other conflict, even of a used id, is an error.
_CONFLICT: Final = (
    f"(execution_id, run_id, account_id, cause, leg_key) WHERE {AlarmRow.OPEN_SQL} DO NOTHING"
)
#: Causes whose alarms end with the execution, by the execution's final status.
_ENDED: Final[Mapping[str, frozenset[str]]] = {lifecycle.CLOSED: CLOCK | ENDED_BY_CLOSING}


@dataclass(frozen=True, slots=True)
class About:
    """What an alarm is about: an execution, a run, or an account; exactly one of them.

    ``shard`` is that of the execution or account: only its owner writes. None: any executor may.
    """

    execution_id: int | None = None
    run_id: int | None = None
    account_id: int | None = None
    shard: int | None = None
    #: Its name in the log.
    name: str = field(default="", compare=False)

    @classmethod
    def of(cls, execution: LiveExecution) -> About:
        """About an execution."""
        return cls(execution_id=execution.id, shard=execution.shard, name=execution.public_id)

    @property
    def ids(self) -> tuple[int | None, int | None, int | None]:
        """Ids of execution, run and account."""
        return self.execution_id, self.run_id, self.account_id


@dataclass(frozen=True, slots=True)
class Raised:
    """An alarm to write, and what it is about."""

    about: About
    alarm: Alarm


@dataclass(frozen=True, slots=True)
class Cleared:
    """An alarm to clear: its cause and leg, and the fact that ended it, as text."""

    about: About
    cause: str
    leg: str
    fact: str


def raise_at_once(raised: Raised, *, owner: str, now: dt.datetime) -> None:
    """Write one alarm, even if its shard has another owner by now: only we know of its fact."""
    with transaction.atomic(), connection.cursor() as cursor:
        insert_alarms(cursor, [raised], owner=owner, now=now)


def insert_alarms(
    cursor: Any, raised: Sequence[Raised], *, owner: str, now: dt.datetime
) -> tuple[Raised, ...]:
    """INSERT alarms that are not open yet; return those that were new.

    In a fixed order, so that two executors that raise the same alarms do not deadlock.
    """
    by_key = {(*r.about.ids, *r.alarm.key): r for r in raised}
    new_keys = sql_batch.insert(
        cursor,
        AlarmRow._meta.db_table,
        _COLUMNS,
        [_row(by_key[key], owner, now) for key in sorted(by_key, key=_order)],
        conflict=_CONFLICT,
        returning="execution_id, run_id, account_id, cause, leg_key",
    )
    return tuple(by_key[key] for key in new_keys)


def _order(key: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*(part or 0 for part in key[:3]), *key[3:])


def _row(raised: Raised, owner: str, now: dt.datetime) -> tuple[Any, ...]:
    alarm = raised.alarm
    return (
        *raised.about.ids,
        alarm.cause,
        alarm.leg,
        alarm.order,
        plain(alarm.words, 300),
        now,
        owner[:80],
        "",
        "",
        "",
        "",
    )


def log_alarms(raised: Sequence[Raised], cleared: Sequence[Cleared]) -> None:
    """Log one line for each newly opened alarm and for each cleared one."""
    for raised_alarm in raised:
        facts.note(
            "alarm_raised",
            "error",
            about=raised_alarm.about.name,
            account=raised_alarm.about.account_id,
            cause=raised_alarm.alarm.cause,
            means=means(raised_alarm.alarm.cause),
            leg=raised_alarm.alarm.leg,
            tag=raised_alarm.alarm.order,
            words=plain(raised_alarm.alarm.words, 300),
        )
    for cleared_alarm in cleared:
        facts.note(
            "alarm_over",
            about=cleared_alarm.about.name,
            cause=cleared_alarm.cause,
            leg=cleared_alarm.leg,
            fact=cleared_alarm.fact,
        )


def clear_alarms(cursor: Any, cleared: Sequence[Cleared], *, now: dt.datetime) -> None:
    """Mark alarms, open or settled, as cleared: their facts are over."""
    if not cleared:
        return
    rows = [(*c.about.ids, c.cause, c.leg, plain(c.fact, 200)) for c in cleared]
    cursor.execute(
        """
        UPDATE execution_alarm AS t SET cleared_at = %s, cleared_by = u.fact
          FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[])
               AS u(execution_id, run_id, account_id, cause, leg_key, fact)
         WHERE (t.execution_id = u.execution_id OR t.run_id = u.run_id
                OR t.account_id = u.account_id)
           AND t.cause = u.cause AND t.leg_key = u.leg_key AND t.cleared_at IS NULL
        """,
        [now, *(list(column) for column in zip(*rows, strict=True))],
    )


def clear_with_execution(cursor: Any, statuses: Mapping[int, str], *, now: dt.datetime) -> None:
    """Clear the alarms about waits of executions that are over.

    ``statuses``: the new status by execution id. Alarms that a person must settle stay open.
    """
    for status in sorted(set(statuses.values()) & set(lifecycle.TERMINAL)):
        ids = [key for key, value in statuses.items() if value == status]
        cursor.execute(
            """
            UPDATE execution_alarm SET cleared_at = %s, cleared_by = %s
             WHERE execution_id = ANY(%s) AND cause = ANY(%s) AND cleared_at IS NULL
            """,
            [now, f"the execution is {status}", ids, sorted(_ENDED.get(status, CLOCK))],
        )
