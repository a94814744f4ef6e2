"""One pace for a feed login across all processes: executors, web, workers.

A broker counts a login's calls, not a process's. The login's row is the lock: its holder reads when
the last calls left, takes a slot if there is one, and releases it: some two milliseconds, with no
waiting inside. Times are the database's, so that no machine's clock matters. Without the database
every process keeps its own pace, and learns from what the broker then refuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog
from django.db import DatabaseError, connection, transaction

from brokers.models import FeedPace
from brokers.pace import SMALL, Call, Pacer, Urgency, Window

log = structlog.get_logger(__name__)
#: A process that holds the row for longer is stuck; our own pace has to do.
LOCK_MILLISECONDS: Final = 200
#: Seconds after which a call counts in none of our windows.
REMEMBERED: Final = 60.0
#: Seconds for which pages leave a login alone after an entry or exit has used it.
YIELD: Final = 1.5


def take_slot(login: str, windows: Sequence[Window], urgency: Urgency) -> float:
    """0.0 if a quote call may leave now, which is then counted; otherwise the seconds to wait.

    Also 0.0 if the database does not answer.
    """
    try:
        with transaction.atomic():
            return _take(login, windows, urgency)
    except DatabaseError as error:
        log.warning("feed_pace_not_shared", login=login, reason=str(error).split("\n")[0])
        return 0.0


def _take(login: str, windows: Sequence[Window], urgency: Urgency) -> float:
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_MILLISECONDS}ms'")
        cursor.execute(
            """
            INSERT INTO brokers_feedpace (login, calls, urgent_at) VALUES (%s, '{}', 0)
            ON CONFLICT (login) DO UPDATE SET login = EXCLUDED.login
            RETURNING calls, urgent_at, extract(epoch FROM clock_timestamp())::float8
            """,
            [login],
        )
        calls, urgent_at, now = cursor.fetchone()
    pacer = Pacer(window for window in windows if window.seconds <= REMEMBERED)
    recent = sorted(at for at in calls if now - REMEMBERED <= at <= now)
    for at in recent:
        pacer.take(at, Call.QUOTE)
    slot = pacer.next_slot(now, Call.QUOTE, urgency)
    if urgency is Urgency.FIRST:
        urgent_at = now
    elif urgency is Urgency.LAST and min(window.limit for window in windows) <= SMALL:
        slot = max(slot, urgent_at + YIELD)  # too few calls to keep some in reserve
    taken = [now] if slot <= now else []
    FeedPace.objects.filter(login=login).update(calls=[*recent, *taken], urgent_at=urgent_at)
    return max(0.0, float(slot - now))
