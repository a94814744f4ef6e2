"""A book that nobody should trade at: the entry waits for a better one, or says why it did not."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from typing import Any

import pytest

from brokers.base import Side
from execution.engine.entries.leg_resolution import NoQuote, resolve_legs
from execution.models import Execution, OrderIntent, Run
from execution.plan import plan_entry
from execution.tests.inmemory import live_run
from execution.tests.installation import Installation, runs_closed, wait_until
from marketplace.ports import QUOTES, Need, Quote, QuoteSource
from marketplace.tests.factories import (
    SPOTS,
    TEST_DAY,
    leg_spec,
    load_test_contracts,
    make_short_straddle,
    strategy_spec,
)
from marketplace.tests.feeds import ToldFeed
from quantleap.core import clock

NOW = clock.at_ist(TEST_DAY, dt.time(9, 19, 58))


class Feed(ToldFeed):
    """One book for every contract, NIFTY where the test contracts are."""

    def __init__(self, last: str, bid: str | None, ask: str | None) -> None:
        low, high = (None if side is None else Decimal(side) for side in (bid, ask))
        self._quote = Quote(Decimal(last), low, high, at=NOW, source="test", traded_at=NOW)

    def spot(self, underlyings: Collection[str], *, now: dt.datetime) -> Mapping[str, Quote]:
        spot = dataclasses.replace(self._quote, last=Decimal(SPOTS["NIFTY"]))
        return dict.fromkeys(underlyings, spot)

    def quotes(
        self, contract_ids: Collection[int], *, now: dt.datetime, need: Need = Need.PAGE
    ) -> Mapping[int, Quote]:
        return dict.fromkeys(contract_ids, self._quote)


def decide(
    monkeypatch: pytest.MonkeyPatch, side: str, last: str, bid: str | None, ask: str | None
) -> Decimal:
    """The limit price of a one-legged strategy with this book; NoQuote."""
    load_test_contracts(TEST_DAY)
    monkeypatch.setattr(QUOTES, "_implementation", Feed(last, bid, ask))
    strategy = strategy_spec([leg_spec(side)])
    resolved = resolve_legs(live_run(strategy, trade_date=TEST_DAY), now=NOW, max_age=2.0)
    (order,) = plan_entry(strategy, resolved, Decimal(1), None)
    assert order.side is Side(side)
    return order.price


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("side", "bid", "ask"), [("BUY", "99.00", "300.00"), ("SELL", "0.05", "101.00")]
)
def test_a_wide_book_is_no_price_for_everybody(
    monkeypatch: pytest.MonkeyPatch, side: str, bid: str, ask: str
) -> None:
    """The last price was 100, the ask 300 or the bid 0.05."""
    with pytest.raises(NoQuote) as refused:
        decide(monkeypatch, side, "100.00", bid, ask)
    assert refused.value.cause == "WIDE_QUOTE"
    assert refused.value.may_pass
    assert refused.value.message == f"{side} CE ATM WEEKLY: price 100.00, bid {bid}, ask {ask}"


@pytest.mark.django_db
@pytest.mark.parametrize(("side", "price"), [("BUY", "103.05"), ("SELL", "96.00")])
def test_an_ordinary_book_is_decided_at_once(
    monkeypatch: pytest.MonkeyPatch, side: str, price: str
) -> None:
    """The control."""
    assert decide(monkeypatch, side, "100.00", "99.00", "101.00") == Decimal(price)


class Opening(ToldFeed):
    """The platform's feed, with a book that is too wide until ``better_at``."""

    def __init__(self, real: QuoteSource, better_at: dt.datetime) -> None:
        self._real, self._better_at = real, better_at

    def spot(self, underlyings: Collection[str], *, now: dt.datetime) -> Mapping[str, Quote]:
        return self._real.spot(underlyings, now=now)

    def quotes(
        self, contract_ids: Collection[int], *, now: dt.datetime, need: Need = Need.PAGE
    ) -> Mapping[int, Quote]:
        quotes = self._real.quotes(contract_ids, now=now, need=need)
        if now >= self._better_at:
            return quotes
        return {
            key: dataclasses.replace(quote, bid=Decimal("0.05"), ask=quote.last * 3)
            for key, quote in quotes.items()
        }


def open_wide(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, late: float, hold: float
) -> dt.datetime:
    """A straddle that three customers follow; its book is good ``late`` seconds after its entry."""
    times = installation.entry_in(9, hold)
    entry_at = clock.at_ist(clock.ist_date(clock.now()), times["entry_time"])
    better_at = entry_at + dt.timedelta(seconds=late)
    monkeypatch.setattr(QUOTES, "_implementation", Opening(QUOTES.get(), better_at))
    installation.subscribe(make_short_straddle(strategy=times), 3)
    return better_at


@pytest.mark.process
@pytest.mark.django_db(transaction=True)
def test_an_entry_waits_inside_its_grace_for_a_better_quote(
    installation: Installation, executor: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    better_at = open_wide(installation, monkeypatch, late=3.0, hold=14)
    executor()
    wait_until(lambda: Execution.objects.filter(status="OPEN").count() == 3, 40)
    entries = OrderIntent.objects.filter(purpose="ENTRY")
    assert all(intent.sent_at is not None and intent.sent_at >= better_at for intent in entries)
    prices = {intent.price for intent in entries}
    assert all(intent.price > intent.reference_price * Decimal("0.9") for intent in entries), prices


@pytest.mark.process
@pytest.mark.django_db(transaction=True)
def test_an_entry_whose_quote_stays_wide_is_missed(
    installation: Installation, executor: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is missed with its cause, and no order leaves."""
    open_wide(installation, monkeypatch, late=600, hold=60)
    executor()
    wait_until(runs_closed, 60)
    assert {run.status for run in Run.objects.all()} == {"MISSED"}
    outcomes = set(Execution.objects.values_list("status", "cause"))
    assert outcomes == {("MISSED", "WIDE_QUOTE")}
    assert installation.control.orders() == []
