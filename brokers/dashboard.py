"""The room's part of the console's first page: whether the platform has prices to trade by."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from django.http import HttpRequest
from django.urls import reverse

from brokers import clock_skew
from brokers.models import FeedAccount
from marketplace.calendar import CalendarError, TradingCalendar
from marketplace.selectors import load_calendar
from quantleap.core import clock
from quantleap.core.console import Panel, Tile
from quantleap.core.dates import day_text, moment_text

TITLE: Final = "Quotes"
#: A feed is asked every ten seconds: after this long without a price something is wrong.
STALE: Final = dt.timedelta(seconds=60)


def today(request: HttpRequest, now: dt.datetime) -> Sequence[Tile | Panel]:
    """The tile and panels, in five queries; nothing for users who may not view feed accounts."""
    if not request.user.has_perm("brokers.view_feedaccount"):
        return []
    feeds = list(FeedAccount.objects.filter(is_active=True))
    return [feed_tile(feeds, load_calendar(), now)]


def feed_tile(feeds: Sequence[FeedAccount], calendar: TradingCalendar, now: dt.datetime) -> Tile:
    """Red if the next entry would find no price in the current state, with what to do."""
    link = reverse("admin:brokers_feedaccount_changelist")
    if not feeds:
        add = reverse("admin:brokers_feedaccount_add")
        return Tile(
            TITLE, "No feed", "Nothing can enter without prices: add a feed account", add, "bad"
        )
    session = calendar.session(clock.ist_date(now), special_ok=True)
    needed = session is not None and now < session.closes
    ready = [feed for feed in feeds if feed.has_session(now)]
    primary = next((f for f in feeds if f.role == FeedAccount.Role.PRIMARY), None)
    if not ready:
        if needed:
            note = "Nothing can enter without prices: log a feed account in"
            return Tile(TITLE, "Not logged in", note, _page(primary or feeds[0]), "bad")
        return Tile(TITLE, "Not logged in", f"needed again {_next_day(calendar, now)}", link)
    if session is not None and session.opens + STALE <= now < session.closes:
        return _live_tile(feeds, ready, primary, now)
    if primary is not None and primary not in ready and needed:
        return Tile(TITLE, "Spare only", f"{primary} is not logged in", _page(primary), "warn")
    until = max(feed.token_expires_at for feed in ready if feed.token_expires_at is not None)
    return Tile(TITLE, "Logged in", f"until {moment_text(until, year=False)}", link, "good")


def _live_tile(
    feeds: Sequence[FeedAccount],
    ready: Sequence[FeedAccount],
    primary: FeedAccount | None,
    now: dt.datetime,
) -> Tile:
    """During market hours: the age of the newest price."""
    off = next((feed for feed in ready if clock_skew.is_off(feed.clock_samples)), None)
    ready = [feed for feed in ready if not clock_skew.is_off(feed.clock_samples)]
    if off is not None and (off is primary or not ready):
        note = f"{off}: {clock_skew.words(off.clock_samples)}"
        return Tile(TITLE, "Clock off", note, _page(off), "warn" if ready else "bad")
    newest = max((f for f in ready if f.quote_at is not None), key=_quote_at, default=None)
    if newest is None or now - _quote_at(newest) > STALE:
        worst = primary or feeds[0]
        last = (
            f"last at {moment_text(_quote_at(newest), seconds=True, year=False)}"
            if newest
            else "none yet"
        )
        why = f": {worst.problem}" if worst.problem else ""
        return Tile(TITLE, "Stale", f"No fresh price, {last}{why}", _page(worst), "bad")
    at = f"{clock.to_ist(_quote_at(newest)):%H:%M:%S}"
    if primary is not None and (primary.quote_at is None or now - primary.quote_at > STALE):
        why = primary.problem or "gives no fresh price"
        return Tile(TITLE, "Spare only", f"{primary}: {why}", _page(primary), "warn")
    link = reverse("admin:brokers_feedaccount_changelist")
    return Tile(TITLE, "Fresh", f"{newest} at {at}", link, "good")


def _quote_at(feed: FeedAccount) -> dt.datetime:
    return feed.quote_at or dt.datetime.min.replace(tzinfo=dt.UTC)


def _page(feed: FeedAccount) -> str:
    return reverse("admin:brokers_feedaccount_change", args=[feed.pk])


def _next_day(calendar: TradingCalendar, now: dt.datetime) -> str:
    try:
        coming = calendar.on_or_after(clock.ist_date(now) + dt.timedelta(days=1))
    except CalendarError:
        return "on the next trading day"
    return f"on {day_text(coming, weekday=True, year=False)}"
