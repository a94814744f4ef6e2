"""Entries and stops at the quote limits that the brokers document: the simulator's own defaults."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from django.db import connections

from brokers import sealed_credentials, shared_pace
from brokers.feed import PLATFORM_QUOTES, FeedQuotes, read_level
from brokers.models import FeedAccount
from brokers.tests import loopback
from brokers.tests.factories import make_feed
from brokers.zebu import touchline
from execution.engine.database.decisions import Missed, decide_missed
from execution.engine.entries.leg_resolution import NoQuote, decide_legs, resolve_legs
from execution.models import Execution, OrderIntent, Run, RunDecision
from execution.services import request_exit
from execution.state import LiveRun
from execution.tests.condorday import condor, refused, run_of
from execution.tests.factories import log_in, make_accounts, make_partner, subscribe_accounts
from execution.tests.installation import API_KEY, DAY, Installation, runs_closed, wait_until
from execution.tests.rows import make_run, strategy_of
from execution.timing import from_settings
from marketplace.definition import StrategySpec
from marketplace.ports import Need, Quote
from marketplace.tests.factories import leg_spec, make_short_straddle, strategy_spec
from quantleap.core import clock

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]
HELD = ("OTM2", "OTM4")


def decided(strategies: list[StrategySpec]) -> list[int]:
    """Legs that were resolved, by strategy; each in a thread of its own, all at once."""

    def count_legs(strategy: StrategySpec) -> int:
        try:
            return len(resolve_legs(run_of(strategy), now=clock.now(), max_age=2.0))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(strategies)) as pool:
        return list(pool.map(count_legs, strategies))


# -- b1 --------------------------------------------------------------------------------------
def test_ten_strategies_of_one_second_are_decided(installation: Installation) -> None:
    """Seen: a Kite feed that was asked 40 ms apart gave no decision in 102 tries and 12 s."""
    feed = FeedAccount.objects.get()
    assert PLATFORM_QUOTES.spot(["NIFTY"], now=clock.now())
    until = time.monotonic() + 10
    while PLATFORM_QUOTES.read(["BANKNIFTY"], (), now=clock.now()).trouble:
        assert time.monotonic() < until
    installation.control.ask("POST", "/limits", kite_quotes_per_second=1)  # counts anew
    assert decided([condor(1 + n % 3) for n in range(10)]) == [4] * 10
    assert refused(installation, feed.client_id) == 0


def test_two_questions_in_one_second_are_one_too_many(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: what the old way did, and that the simulator minds."""
    monkeypatch.setattr(shared_pace, "take_slot", lambda *_: 0.0)
    feed = FeedAccount.objects.get()
    installation.control.ask("POST", "/limits", kite_quotes_per_second=1)
    levels = [read_level(feed) for _ in range(2)]
    assert [bool(level.problem) for level in levels] == [False, True]
    assert refused(installation, feed.client_id) == 1


def test_ten_strategies_of_one_second_all_enter_on_a_kite_feed(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    accounts = make_accounts(10, partner=make_partner(), brokers=("zebu", "zerodha"))
    log_in(accounts, installation.control.token, clock.now())
    times = installation.entry_in(16, 60)
    for account in accounts:
        subscribe_accounts(make_short_straddle(strategy=times), [account])
    executor()
    wait_until(lambda: RunDecision.objects.filter(kind="ENTRY").count() == 10, 40)
    legs = [len(d.payload["legs"]) for d in RunDecision.objects.filter(kind="ENTRY")]
    assert legs == [2] * 10
    wait_until(lambda: Execution.objects.filter(status="OPEN").count() == 10, 40)
    assert refused(installation, FeedAccount.objects.get().client_id) == 0


# -- b2 --------------------------------------------------------------------------------------
@pytest.fixture
def noren(installation: Installation) -> FeedAccount:
    """The platform's only feed is a Noren login."""
    FeedAccount.objects.all().delete()
    feed = make_feed("noren", "zebu", now=clock.now())
    feed.api_key = sealed_credentials.seal(feed, "api_key", API_KEY)
    feed.access_token = sealed_credentials.seal(
        feed, "access_token", installation.control.token("zebu", feed.client_id)
    )
    feed.save()
    return feed


def held_contracts() -> set[int]:
    """Four legs near the money."""
    legs = [leg_spec("SELL", kind, steps) for kind in ("CE", "PE") for steps in HELD]
    resolved = resolve_legs(run_of(strategy_spec(legs)), now=clock.now(), max_age=2.0)
    return {leg.contract_id for leg in resolved.values()}


def times_heard(contracts: set[int], seconds: int) -> Iterator[dict[int, Quote]]:
    """The risk rules' question until every contract's price is ``seconds`` younger, bounded."""
    feeds, until = FeedQuotes(), time.monotonic() + 6 * seconds
    first: dict[int, dt.datetime] = {}
    while time.monotonic() < until:
        now = clock.now()
        quotes = dict(feeds.read((), contracts, now=now, need=Need.RISK).quotes)
        yield quotes
        for key, quote in quotes.items():
            first.setdefault(key, quote.at)
        grown = [
            key for key, at in first.items() if quotes[key].at - at >= dt.timedelta(seconds=seconds)
        ]
        if len(grown) == len(contracts):
            return
    raise AssertionError(f"not {seconds} s of prices: {first}")


def test_four_held_legs_on_a_noren_feed_keep_their_prices(
    installation: Installation, noren: FeedAccount
) -> None:
    """Seen: four legs were priced for 30 s, then none of them. With a twentieth of the minute's
    budget, four legs asked once a second would be refused after two seconds."""
    contracts = held_contracts()
    installation.control.ask("POST", "/limits", noren_calls_per_minute=6)
    for quotes in times_heard(contracts, 6):
        assert set(quotes) == contracts
    assert refused(installation, noren.client_id) == 0


def test_without_its_websocket_a_noren_feed_keeps_both_windows(
    installation: Installation, noren: FeedAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(touchline, "PATH", "/nothing-there/")
    contracts = held_contracts()
    heard = [set(quotes) for quotes in times_heard(contracts, 2)]
    assert contracts in heard
    assert refused(installation, noren.client_id) == 0


# -- d6 --------------------------------------------------------------------------------------
def a_run(installation: Installation) -> LiveRun:
    row = make_run(
        make_short_straddle(strategy=installation.entry_in(60, 60)), day=DAY, status="ARMED"
    )
    return run_of(strategy_of(row)).__class__(
        id=row.pk,
        public_id=row.public_id,
        template_id=row.template_id,
        template_public_id=row.template.public_id,
        strategy=strategy_of(row),
        trade_date=DAY,
        entry_at=row.entry_at,
        exit_at=row.exit_at,
        grace_until=row.grace_until,
        status=row.status,
    )


def test_one_executor_missed_while_another_traded(installation: Installation) -> None:
    """Whoever is first decides, also that nobody enters."""
    run, now, max_age = a_run(installation), clock.now(), from_settings().quote_age_entry
    problem = NoQuote("NO_QUOTE", "no fresh level of NIFTY (main: did not answer)")
    with pytest.raises(Missed) as first:
        decide_missed(run, problem.cause, problem.message, owner="one", now=now)
    with pytest.raises(Missed) as second:
        decide_legs(run, owner="two", max_age=max_age, now=now)
    for missed in (first.value, second.value):
        assert (missed.cause, missed.message) == ("NO_QUOTE", problem.message)
    other = a_run(installation)
    legs = decide_legs(other, owner="two", max_age=max_age, now=clock.now())
    assert (
        decide_missed(other, problem.cause, problem.message, owner="one", now=clock.now()) == legs
    )
    assert RunDecision.objects.filter(kind="ENTRY").count() == 2


# -- c5 --------------------------------------------------------------------------------------
def test_a_feed_that_hangs_held_up_the_heartbeat(
    installation: Installation, executor: Callable[[], Any], settings: Any
) -> None:
    """It never answers; the executor stays unfenced throughout and misses the run by name."""
    accounts = make_accounts(3, partner=make_partner(), brokers=("zebu",))
    log_in(accounts, installation.control.token, clock.now())
    subscribe_accounts(make_short_straddle(strategy=installation.entry_in(9, 60)), accounts)

    def hang(connection: Any, request: bytes) -> None:
        connection.recv(1)  # until the other side gives up

    with loopback.server(hang) as (url, seen):
        settings.QUANTLEAP_BROKERS["zerodha"]["api"] = url
        host = executor()
        wait_until(lambda: bool(host.executor and host.executor.ownership.tokens), 20)
        fenced = []

        def over() -> bool:
            fenced.append(host.executor.ownership.fenced())
            return runs_closed()

        wait_until(over, 60)
    assert seen
    assert not any(fenced)
    assert {run.status for run in Run.objects.all()} == {"MISSED"}
    outcomes = set(Execution.objects.values_list("cause", "message"))
    assert {cause for cause, _ in outcomes} == {"NO_QUOTE"}
    assert all("feed: " in message for _, message in outcomes), outcomes


def test_an_exit_that_is_asked_for_leaves_while_the_feed_hangs(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    """Seen: its calls sat in the database's threads; exits left 10 to 17 s late, fence closed."""
    accounts = make_accounts(3, partner=make_partner(), brokers=("zebu", "zerodha"))
    log_in(accounts, installation.control.token, clock.now())
    subscribe_accounts(make_short_straddle(strategy=installation.entry_in(9, 600)), accounts)
    host = executor()
    wait_until(lambda: Execution.objects.filter(status="OPEN").count() == 3, 40)
    installation.control.ask("POST", "/manner", updates="dead")  # its websocket, and its calls
    installation.control.ask("POST", "/faults", kind="delay", op="quote", seconds=60)
    wait_until(lambda: installation.control.ask("GET", "/faults")["faults"][0]["hit_count"] > 0, 20)
    subscriptions = list(Execution.objects.values_list("subscription_id", flat=True))
    request_exit(subscriptions, reason="EXIT_REQUESTED", now=clock.now())
    fenced = []

    def over() -> bool:
        fenced.append(host.executor.ownership.fenced())
        return not Execution.objects.exclude(status="CLOSED").exists()

    wait_until(over, 30)
    assert not any(fenced)
    assert OrderIntent.objects.filter(purpose="EXIT", state="FILLED").count() == 6


def test_a_price_of_the_websocket_is_a_price(
    installation: Installation, noren: FeedAccount
) -> None:
    """Level, book and time as the call gives them."""
    (contract,) = list(held_contracts())[:1]
    market = PLATFORM_QUOTES.read(["NIFTY"], [contract], now=clock.now(), need=Need.RISK)
    level, quote = market.spots["NIFTY"], market.quotes[contract]
    assert abs(level.last - Decimal(25_000)) < 2_000
    assert quote.bid is not None
    assert quote.ask is not None
    assert quote.bid < quote.ask
    assert level.traded_at == level.at
