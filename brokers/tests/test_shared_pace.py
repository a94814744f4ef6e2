"""One login used by several processes: the broker counts them together."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connections

from brokers import sealed_credentials, shared_pace
from brokers.feed import Ages, collect, load_feeds, load_names, spot_key
from brokers.feed_loop import FeedLoop
from brokers.models import FeedPace
from brokers.pace import Urgency, Window
from brokers.simulator.limits import Gate
from brokers.tests.factories import make_feed
from brokers.tests.running import Running
from marketplace.ports import Need

WINDOWS = (Window(1.0, 1), Window(60.0, 120))
NAMES = ("NIFTY", "BANKNIFTY", "FINNIFTY")
AGE = dt.timedelta(days=9999)  # prices are the simulator's own day's


@pytest.fixture
def simulator(settings: LazySettings) -> Iterator[Running]:
    running = Running()
    kite = f"http://127.0.0.1:{running.simulator.ports.kite}"
    settings.QUANTLEAP_BROKERS = {"zerodha": {"api": kite, "login": kite, "instruments": ""}}
    yield running
    running.stop()


@pytest.mark.django_db
def test_a_slot_taken_by_one_is_not_there_for_the_other() -> None:
    assert shared_pace.take_slot("kite F1", WINDOWS, Urgency.FIRST) == 0.0
    wait = shared_pace.take_slot("kite F1", WINDOWS, Urgency.FIRST)
    assert 0.0 < wait <= 1.0
    assert shared_pace.take_slot("kite F2", WINDOWS, Urgency.FIRST) == 0.0
    assert len(FeedPace.objects.get(login="kite F1").calls) == 1


@pytest.mark.django_db
def test_a_page_of_another_process_waits_while_an_entry_asks() -> None:
    assert shared_pace.take_slot("kite F1", WINDOWS, Urgency.LAST) == 0.0
    assert 0.0 < shared_pace.take_slot("kite F1", WINDOWS, Urgency.FIRST) <= 1.0
    assert 1.0 < shared_pace.take_slot("kite F1", WINDOWS, Urgency.LAST) <= shared_pace.YIELD
    many = (Window(1.0, 10), Window(60.0, 120))  # calls are kept back for what is urgent there
    assert shared_pace.take_slot("noren F2", many, Urgency.FIRST) == 0.0
    assert shared_pace.take_slot("noren F2", many, Urgency.LAST) == 0.0


@pytest.mark.django_db(transaction=True)
def test_of_ten_that_ask_at_once_one_gets_the_slot() -> None:
    def take_one(_: int) -> float:
        try:
            return shared_pace.take_slot("kite F1", WINDOWS, Urgency.FIRST)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(10) as pool:
        waits = list(pool.map(take_one, range(10)))
    assert sum(wait == 0.0 for wait in waits) == 1


def two_processes(simulator: Running) -> int:
    """Two loops, as two processes have them, ask for another index three times at once; how many
    calls the simulator refused."""
    login = simulator.simulator.exchange.sessions.open("zerodha", "quotes", "F1", simulator.now())
    feed = make_feed("main", client_id="F1", now=simulator.now())
    feed.api_key = sealed_credentials.seal(feed, "api_key", "quotes")
    feed.access_token = sealed_credentials.seal(feed, "access_token", login.token)
    feed.save()
    feeds = load_feeds(simulator.now())
    names = load_names(["zerodha"], underlyings=NAMES)
    loops = [FeedLoop(), FeedLoop()]

    def ask(number: int) -> int:
        ages, answered = Ages(simulator.now(), AGE, AGE), 0
        for name in NAMES:
            work = collect(loops[number], feeds, names, [spot_key(name)], ages, Need.PAGE)
            answered += len(loops[number].run(work, 4.0).quotes)
        return answered

    try:
        with ThreadPoolExecutor(2) as pool:
            assert sum(pool.map(ask, range(2))) >= len(NAMES)
    finally:
        for loop in loops:
            loop.close()
    gate: Gate = simulator.simulator.exchange.gate
    return gate.refused["zerodha", "F1"]


@pytest.mark.process
@pytest.mark.django_db(transaction=True)
def test_two_executors_share_one_logins_pace(
    simulator: Running,
) -> None:
    """Bug: each was refused every other second."""
    assert two_processes(simulator) == 0


@pytest.mark.process
@pytest.mark.django_db(transaction=True)
def test_without_the_shared_pace_they_are(
    simulator: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""

    def no_wait(*_: Any) -> float:
        return 0.0

    monkeypatch.setattr(shared_pace, "take_slot", no_wait)
    assert two_processes(simulator) > 0


def test_without_a_database_every_process_keeps_its_own_pace() -> None:
    """No database is allowed in this test: that is an error of the database's side."""
    loop = FeedLoop()
    try:
        work = loop._shared("zerodha http://127.0.0.1 F1", Urgency.FIRST)
        assert loop.run(work, 2.0) == 0.0
    finally:
        loop.close()
