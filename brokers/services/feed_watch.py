"""Checks all day whether every feed account still gives prices, so that staff notice in time.

The result is stored on the feed account: when it was asked, the exchange's time of its price, or
why it gave none.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

import structlog

from brokers import clock_skew
from brokers.errors import CredentialsUnreadable
from brokers.feed import Level, read_level
from brokers.models import FeedAccount
from brokers.ports import QUOTES_RESERVED
from brokers.services import simulated_feeds
from marketplace.selectors import load_calendar
from quantleap.core import clock
from quantleap.core.errors import DomainError

log = structlog.get_logger(__name__)

#: A feed is asked from this long before a session opens until this long after it has closed.
AROUND_SESSION: Final = dt.timedelta(minutes=15)
#: What the executor asks every second is not asked here as well: a broker may count one request a
#: second for all callers together.
IN_USE: Final = dt.timedelta(seconds=15)
NO_LOGIN: Final = "not logged in today"


def watch_feeds(*, now: dt.datetime) -> int:
    """Ask every active feed account for one index level; returns how many gave one.

    Asks nobody outside market hours, or while an entry reads its own prices. Feed accounts of the
    simulator are logged in whenever they have no session or it is no longer accepted.
    """
    if QUOTES_RESERVED.get()(now):
        return 0
    open_now = _near_session(now)
    return sum(
        _watch(feed, now)
        for feed in FeedAccount.objects.filter(is_active=True)
        if open_now or simulated_feeds.logs_in_by_itself(feed)
    )


def _near_session(now: dt.datetime) -> bool:
    session = load_calendar().session(clock.ist_date(now), special_ok=True)
    return (
        session is not None
        and session.opens - AROUND_SESSION <= now <= session.closes + AROUND_SESSION
    )


def _watch(feed: FeedAccount, now: dt.datetime) -> bool:
    """Check one feed; a simulated one without a session is logged in and asked once more.

    A restarted simulator has no logins, and a session ends every morning: both look the same from
    here, and one login fixes both.
    """
    if feed.used_at is not None and now - feed.used_at < IN_USE and not feed.problem:
        return True
    level = _read(feed, now)
    if level.ended and simulated_feeds.logs_in_by_itself(feed):
        try:
            level = _read(simulated_feeds.log_in(feed, now=now), now)
        except DomainError as error:
            level = Level(problem=error.message)
    measured = clock_skew.Skew(feed.clock_samples, feed.quote_at)
    known: dict[str, object] = {}
    if level.at is not None:
        measured.heard(level.at, now)
        known = {"quote_at": level.at, "clock_samples": measured.samples}
    problem = level.problem or clock_skew.words(measured.samples)
    FeedAccount.objects.filter(pk=feed.pk).update(read_at=now, problem=problem[:200], **known)
    if problem:
        log.warning("feed_gives_no_price", feed=feed.name, problem=problem)
    return level.at is not None


def _read(feed: FeedAccount, now: dt.datetime) -> Level:
    if not feed.has_session(now):
        return Level(problem=NO_LOGIN, ended=True)
    try:
        return read_level(feed)
    except CredentialsUnreadable:
        return Level(problem="its credentials cannot be decrypted: enter them again")
