"""A fresh installation has prices, keeps them over night, and says so in red when it has none."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
import threading
from collections.abc import Iterator

import pytest
from django.conf import LazySettings
from django.core.management import call_command

from brokers.dashboard import feed_tile
from brokers.feed import Level
from brokers.models import FeedAccount
from brokers.ports import QUOTES_RESERVED
from brokers.services import feed_watch, simulated_feeds
from brokers.services.feed_watch import watch_feeds
from brokers.simulator.exchange import Settings
from brokers.simulator.server import Ports, Simulator
from brokers.tests.factories import make_feed
from marketplace.calendar import Hours, TradingCalendar
from quantleap.core.models import AuditEntry

#: A Tuesday, 10:00 IST, and the Sunday before.
MORNING = dt.datetime(2026, 9, 8, 4, 30, tzinfo=dt.UTC)
SUNDAY = MORNING - dt.timedelta(days=2)
NIGHT = dt.timedelta(hours=24)
CALENDAR = TradingCalendar(
    years=frozenset({2026}), hours=((dt.date(2026, 1, 1), Hours(dt.time(9, 15), dt.time(15, 30))),)
)


class Clock:
    """The simulator's time, which the test moves."""

    def __init__(self) -> None:
        self.now = MORNING

    def __call__(self) -> dt.datetime:
        return self.now


@pytest.fixture
def time() -> Clock:
    return Clock()


@pytest.fixture
def simulator(time: Clock, settings: LazySettings) -> Iterator[Simulator]:
    """A running simulator to which the settings lead."""
    server = Simulator(Settings(), Ports(0, 0, 0), now=time)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
        lead_to(settings, server.ports)
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def lead_to(settings: LazySettings, ports: Ports) -> None:
    kite, noren = f"http://127.0.0.1:{ports.kite}", f"http://127.0.0.1:{ports.noren}"
    settings.QUANTLEAP_SIMULATOR_URL = f"http://127.0.0.1:{ports.control}"
    settings.QUANTLEAP_BROKERS = {
        "zerodha": {"api": kite, "login": kite, "instruments": ""},
        "zebu": {"api": noren, "login": noren, "instruments": ""},
    }


def seed() -> str:
    out = io.StringIO()
    call_command("seed_feeds", stdout=out)
    return out.getvalue()


# -- the simulator's own accounts ----------------------------------------------------------------
@pytest.mark.django_db
def test_a_fresh_installation_had_no_feed_and_could_never_trade(simulator: Simulator) -> None:
    seed()
    assert watch_feeds(now=MORNING) == 2
    for feed in FeedAccount.objects.all():
        assert feed.has_session(MORNING)
        assert (feed.quote_at, feed.problem) == (MORNING, "")
    assert AuditEntry.objects.filter(action="feed_account.logged_in").count() == 2
    assert feed_tile(list(FeedAccount.objects.all()), CALENDAR, MORNING).value == "Fresh"


@pytest.mark.django_db
def test_it_logs_in_again_on_the_second_morning(simulator: Simulator, time: Clock) -> None:
    seed()
    watch_feeds(now=MORNING)
    time.now = MORNING + NIGHT
    assert not any(feed.has_session(time.now) for feed in FeedAccount.objects.all())
    assert watch_feeds(now=time.now) == 2
    assert all(feed.quote_at == time.now for feed in FeedAccount.objects.all())


@pytest.mark.django_db
def test_it_logs_in_again_when_the_simulator_was_started_again(simulator: Simulator) -> None:
    seed()
    watch_feeds(now=MORNING)
    simulator.exchange.sessions._logins.clear()  # what a restart forgets
    simulator.exchange.gate.clear()
    assert watch_feeds(now=MORNING) == 2
    assert AuditEntry.objects.filter(action="feed_account.logged_in").count() == 4
    simulator.exchange.gate.clear()  # ten seconds later
    assert watch_feeds(now=MORNING) == 2  # and not once more than needed
    assert AuditEntry.objects.filter(action="feed_account.logged_in").count() == 4


@pytest.mark.django_db
def test_staffs_own_feed_is_never_logged_in_by_the_machine(simulator: Simulator) -> None:
    call_command("load_calendar", stdout=io.StringIO())
    feed = make_feed("main", "zerodha", client_id="FEED09", app="mine", logged_in=False)
    assert watch_feeds(now=MORNING) == 0
    feed.refresh_from_db()
    assert (feed.access_token, feed.problem) == ("", feed_watch.NO_LOGIN)
    with pytest.raises(ValueError, match="main"):
        simulated_feeds.log_in(feed, now=MORNING)


@pytest.mark.django_db
def test_a_feed_of_staffs_own_keeps_the_seed_away() -> None:
    make_feed("main", logged_in=False)
    assert simulated_feeds.seed_feeds() == 0


@pytest.mark.django_db
@pytest.mark.parametrize("profile", ["production", "staging"])
def test_production_neither_seeds_nor_logs_in(
    simulator: Simulator, settings: LazySettings, profile: str
) -> None:
    seed()
    feed = FeedAccount.objects.get(role="PRIMARY")
    assert simulated_feeds.logs_in_by_itself(feed)
    settings.QUANTLEAP_PROFILE = profile
    assert not simulated_feeds.logs_in_by_itself(feed)
    FeedAccount.objects.all().delete()
    assert "no simulator" in seed()
    assert not FeedAccount.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("what", ["no simulator", "an address outside this machine"])
def test_only_a_simulator_on_this_machine_is_logged_in_to(
    settings: LazySettings, what: str
) -> None:
    lead_to(settings, Ports(8900, 8901, 8902))
    seed()
    feed = FeedAccount.objects.get(role="PRIMARY")
    assert simulated_feeds.logs_in_by_itself(feed)
    if what == "no simulator":
        settings.QUANTLEAP_SIMULATOR_URL = ""
    else:
        settings.QUANTLEAP_BROKERS["zerodha"]["login"] = "https://kite.zerodha.com"
    assert not simulated_feeds.logs_in_by_itself(feed)


@pytest.mark.django_db
def test_a_simulator_that_is_not_up_yet_is_a_problem_in_words(settings: LazySettings) -> None:
    lead_to(settings, Ports(1, 1, 1))
    seed()
    assert watch_feeds(now=MORNING) == 0
    assert "did not answer" in FeedAccount.objects.get(role="PRIMARY").problem


# -- when it asks --------------------------------------------------------------------------------
@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the feeds that were asked."""
    names: list[str] = []

    def read(feed: FeedAccount) -> Level:
        names.append(feed.name)
        return Level(at=MORNING)

    monkeypatch.setattr(feed_watch, "read_level", read)
    call_command("load_calendar", stdout=io.StringIO())
    return names


@pytest.mark.django_db
def test_a_brokers_feed_is_asked_in_market_hours_only(asked: list[str]) -> None:
    make_feed("main", now=MORNING)
    watch_feeds(now=MORNING)
    assert asked == ["main"]
    watch_feeds(now=SUNDAY)
    watch_feeds(now=MORNING.replace(hour=2))  # 07:30 in India
    assert asked == ["main"]


@pytest.mark.django_db
def test_nobody_asks_while_an_entry_reads_its_prices(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_feed("main", now=MORNING)
    reserved = [True]
    monkeypatch.setattr(QUOTES_RESERVED, "get", lambda: lambda now: reserved[0])
    assert watch_feeds(now=MORNING) == 0
    assert asked == []
    reserved[0] = False
    assert watch_feeds(now=MORNING) == 1


@pytest.mark.django_db
def test_an_undecryptable_feed_does_not_hide_the_others(
    simulator: Simulator,
) -> None:
    call_command("load_calendar", stdout=io.StringIO())
    seed()
    watch_feeds(now=MORNING)
    broken = make_feed("own", "zebu", FeedAccount.Role.SPARE, now=MORNING)
    FeedAccount.objects.filter(pk=broken.pk).update(access_token="v1:gone:AAAA")
    simulator.exchange.gate.clear()  # ten seconds later
    assert watch_feeds(now=MORNING) == 2
    assert "enter them again" in FeedAccount.objects.get(name="own").problem


# -- the first page ------------------------------------------------------------------------------
@pytest.mark.django_db
@pytest.mark.parametrize(
    ("feeds", "now", "value", "tone"),
    [
        ("none", MORNING, "No feed", "bad"),
        ("none", SUNDAY, "No feed", "bad"),
        ("ended", MORNING, "Not logged in", "bad"),
        ("ended", SUNDAY, "Not logged in", ""),
        ("silent", MORNING, "Stale", "bad"),
        ("old", MORNING, "Stale", "bad"),
        ("fresh", MORNING, "Fresh", "good"),
        ("fresh", SUNDAY, "Logged in", "good"),
        ("spare", MORNING, "Spare only", "warn"),
    ],
)
def test_the_first_page_was_green_without_prices(
    feeds: str, now: dt.datetime, value: str, tone: str
) -> None:
    if feeds != "none":
        make_feed("main", logged_in=feeds not in ("ended", "spare"), now=now)
    if feeds == "spare":
        make_feed("spare", "zebu", FeedAccount.Role.SPARE, now=now)
    ages = {"fresh": 5, "spare": 5, "old": 61}
    if feeds in ages:
        at = now - dt.timedelta(seconds=ages[feeds])
        which = "spare" if feeds == "spare" else "main"
        FeedAccount.objects.filter(name=which).update(quote_at=at)
    tile = feed_tile(list(FeedAccount.objects.all()), CALENDAR, now)
    assert (tile.value, tile.tone) == (value, tone)
    assert tile.link.startswith("/admin/brokers/feedaccount/")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("main", "spare", "value", "tone"),
    [
        ([180.2, 180.9, 180.4], [0.5, 0.6, 0.7], "Clock off", "warn"),
        ([-180.2, -180.9, -180.4], None, "Clock off", "bad"),
        ([86_400.5] * 3, [86_400.5] * 3, "Clock off", "bad"),
        ([0.5, 0.6, 0.7], [180.2, 180.9, 180.4], "Fresh", "good"),
        ([180.2, 180.9], None, "Fresh", "good"),
    ],
)
def test_a_feed_with_a_wrong_clock_says_so(
    main: list[float], spare: list[float] | None, value: str, tone: str
) -> None:
    """Bug: its prices were fresh or stale without a reason."""
    make_feed("main", now=MORNING)
    FeedAccount.objects.filter(name="main").update(quote_at=MORNING, clock_samples=main)
    if spare is not None:
        make_feed("spare", "zebu", FeedAccount.Role.SPARE, now=MORNING)
        FeedAccount.objects.filter(name="spare").update(quote_at=MORNING, clock_samples=spare)
    tile = feed_tile(list(FeedAccount.objects.all()), CALENDAR, MORNING)
    assert (tile.value, tile.tone) == (value, tone)
    assert value == "Fresh" or tile.note.startswith("main: its clock is ")


@pytest.mark.django_db
def test_the_watch_measures_the_clock_of_a_feed(monkeypatch: pytest.MonkeyPatch) -> None:
    call_command("load_calendar", stdout=io.StringIO())
    make_feed("main", now=MORNING)
    now = [MORNING]
    behind = dt.timedelta(minutes=3)
    monkeypatch.setattr(feed_watch, "read_level", lambda feed: Level(at=now[0] - behind))
    for _ in range(5):
        watch_feeds(now=now[0])
        now[0] += dt.timedelta(seconds=10)
    feed = FeedAccount.objects.get()
    assert feed.clock_samples == [180.0] * 4  # how old the first one was, nobody knows
    assert feed.problem == "its clock is 3 min behind ours"


@pytest.mark.django_db
def test_the_watch_does_not_repeat_the_executors_request(asked: list[str]) -> None:
    call_command("load_calendar", stdout=io.StringIO())
    make_feed("main", now=MORNING)
    FeedAccount.objects.update(used_at=MORNING - dt.timedelta(seconds=5))
    assert watch_feeds(now=MORNING) == 1
    assert asked == []
    FeedAccount.objects.update(problem="HTTP 502")
    watch_feeds(now=MORNING)
    FeedAccount.objects.update(problem="", used_at=MORNING - dt.timedelta(seconds=20))
    watch_feeds(now=MORNING)
    assert asked == ["main", "main"]
