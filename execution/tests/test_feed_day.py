"""A shortened day of 40 strategies on one feed login, at the limits that its broker documents."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections

from brokers import sealed_credentials
from brokers.feed import FeedQuotes
from brokers.models import FeedAccount
from brokers.tests.factories import make_feed
from execution.engine.entries.leg_resolution import NoQuote, resolve_legs
from execution.tests.condorday import condor, refused, run_of
from execution.tests.installation import API_KEY, Installation
from marketplace.definition import StrategySpec
from marketplace.models import Contract
from marketplace.ports import Need
from quantleap.core import clock

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]
STRATEGIES, LEGS = 40, 4
#: Seconds of prices; a real day has as many as these over and over.
DAY = 15
#: Seconds for which an entry tries (the default is longer).
GRACE = 12
#: As old as the risk rules let a price be (the default), in seconds.
OLDEST = dt.timedelta(seconds=5)


@pytest.fixture(params=["zerodha", "zebu"])
def feed(installation: Installation, request: pytest.FixtureRequest) -> FeedAccount:
    """The platform's only feed."""
    kind: str = request.param
    FeedAccount.objects.all().delete()
    account = make_feed("only", kind, now=clock.now())
    account.api_key = sealed_credentials.seal(account, "api_key", API_KEY)
    account.access_token = sealed_credentials.seal(
        account, "access_token", installation.control.token(kind, account.client_id)
    )
    account.save()
    return account


def held(installation: Installation) -> list[int]:
    """160 options near the money."""
    listed = Contract.objects.filter(underlying__symbol="NIFTY", option_type__in=("CE", "PE"))
    near = sorted(listed, key=lambda contract: (contract.expiry, abs(contract.strike - 25_000)))
    return [contract.pk for contract in near[: STRATEGIES * LEGS]]


def seconds_of_prices(contracts: list[int]) -> Iterator[int]:
    """How many of the contracts the risk rules can judge, by second of the exchange's clock."""
    feeds, seen = FeedQuotes(), set[dt.datetime]()
    began = clock.now()
    while clock.now() - began < dt.timedelta(seconds=4 * DAY) and len(seen) < DAY:
        quotes = feeds.read((), contracts, now=clock.now(), need=Need.RISK).quotes
        fresh = [quote for quote in quotes.values() if quote.at >= clock.now() - OLDEST]
        newest = max((quote.at for quote in fresh), default=began)
        if newest not in seen:
            seen.add(newest)
            yield len(fresh)


def legs_decided(strategy: StrategySpec) -> int:
    """Legs of a strategy that enters now and, as the entry does, asks until its grace is over."""
    until = time.monotonic() + GRACE
    try:
        while True:
            try:
                return len(resolve_legs(run_of(strategy), now=clock.now(), max_age=2.0))
            except NoQuote:
                if time.monotonic() > until:
                    return 0
    finally:
        connections.close_all()


def beside(work: Callable[[], None]) -> threading.Thread:
    def run() -> None:
        try:
            work()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_forty_strategies_are_priced_all_day(installation: Installation, feed: FeedAccount) -> None:
    """Seen at the documented limits: no decision at all on Kite, and no price for any of four legs
    after half a minute on Noren."""
    contracts = held(installation)
    assert len(contracts) == 160
    entries: list[int] = []

    def enter() -> None:
        with ThreadPoolExecutor(10) as pool:
            entries.extend(pool.map(legs_decided, [condor(1 + n % 3) for n in range(10)]))

    priced: list[int] = []
    entering: threading.Thread | None = None
    for count in seconds_of_prices(contracts):
        priced.append(count)
        if len(priced) == DAY // 3:
            entering = beside(enter)
    assert entering is not None
    entering.join(60)
    assert entries == [LEGS] * 10
    # The first answers come while 160 subscriptions are still being answered.
    assert priced[2:] == [160] * (len(priced) - 2)
    assert len(priced) == DAY
    assert refused(installation, feed.client_id) == 0
