"""How long to pause after a broker's "too many requests", and when to try again. Pure.

The broker's own ``Retry-After`` decides (RFC 9110 section 10.2.3: seconds, or an HTTP date that is
compared with the ``Date`` of the same answer, so that neither clock matters). Without a usable one
the broker's documented cool-down applies. No answer may pause an account for longer than
:data:`LONGEST`: an entry may not be later than that, and an exit tries again by then.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

#: HTTP status "Too Many Requests" (RFC 6585 section 4).
TOO_MANY: Final = 429
RETRY_AFTER: Final = "retry-after"
LONGEST: Final = 30.0
_SECONDS: Final = re.compile(r"[0-9]{1,20}(\.[0-9]{1,6})?")
_LONGEST_DATE: Final = 40


def asked_wait(headers: Mapping[str, str], *, now: dt.datetime, cool_down: float) -> float:
    """Seconds (0 to :data:`LONGEST`) to pause after this refusal.

    ``headers`` of the answer, names in lower case; ``now`` in UTC, for an answer without a date;
    ``cool_down`` in seconds, for an answer with no wait, or a negative or unreadable one.
    """
    text = headers.get(RETRY_AFTER, "").strip()
    if _SECONDS.fullmatch(text):
        wait = float(text)
    else:
        until, since = _date(text), _date(headers.get("date", "")) or now
        wait = (until - since).total_seconds() if until is not None else 0.0
    return min(wait if wait > 0 else cool_down, LONGEST)


def _date(text: str) -> dt.datetime | None:
    if not text or len(text) > _LONGEST_DATE:
        return None
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=dt.UTC)


def next_try(asked: float, *, sends: int, grace_left: float | None) -> float:
    """Seconds until an order that was throttled may be sent again, after ``sends`` sends.

    The first wait is exactly what the broker asked for. If it throttles again, the last try comes
    halfway through what is left of the grace (``grace_left`` in seconds; None for an exit, which
    has none), not within the same second: there are only three sends, and no entry should be
    MISSED at T+3 s.
    """
    if grace_left is None or sends < 2:
        return asked
    return max(asked, min(grace_left, LONGEST) / 2)
