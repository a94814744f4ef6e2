"""What a quote is good for: its last trade while that is young, else the middle of its book."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Collection, Mapping
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.base import Side
from brokers.tests.factories import make_contract
from execution.engine.database import loader
from execution.engine.database.decisions import decide_trigger
from execution.engine.entries.leg_resolution import NoQuote, resolve_legs
from execution.models import LegWatch, Run, RunDecision
from execution.plan import ResolvedLeg
from execution.pricing import LAST, MID, Mark, mark
from execution.risk import Watch, trigger
from execution.tests.consoleday import get, login
from execution.tests.inmemory import live_run
from execution.tests.strategies import ticks
from marketplace.models import FreezeQuantity, Underlying
from marketplace.ports import QUOTES, Need, Quote
from marketplace.tests.factories import leg_spec, strategy_spec
from marketplace.tests.feeds import ToldFeed
from quantleap.core.console import page_of

D = Decimal
DAY = dt.date(2026, 8, 17)
#: Monday, 17 August 2026, 09:19:58 IST; the last trade was on Friday.
NOW = dt.datetime(2026, 8, 17, 3, 49, 58, tzinfo=dt.UTC)
FRIDAY = dt.datetime(2026, 8, 14, 9, 59, 57, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
OLDEST = NOW - 2 * SECOND
TICK = D("0.05")


def quote(
    bid: str | None = "31", ask: str | None = "33.5", traded_at: dt.datetime | None = FRIDAY
) -> Quote:
    """Last 12.40, whenever that was, under a quote of a second ago."""
    sides = [None if price is None else D(price) for price in (bid, ask)]
    return Quote(D("12.40"), sides[0], sides[1], NOW - SECOND, "test", traded_at)


# -- pure ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "traded_at", [FRIDAY, None, OLDEST - SECOND / 1000, NOW + 3600 * SECOND, NOW + 2 * SECOND]
)
def test_an_old_trade_gives_way_to_the_middle_of_the_book(traded_at: dt.datetime | None) -> None:
    """Seen: 12.40 of Friday under bid 31 and ask 33.5 was fresh."""
    seen = mark(quote(traded_at=traded_at), oldest=OLDEST, tick=TICK)
    assert seen == Mark(D("32.25"), MID, NOW - SECOND)


def test_a_young_trade_is_the_price() -> None:
    seen = mark(quote(traded_at=OLDEST), oldest=OLDEST, tick=TICK)
    assert seen == Mark(D("12.40"), LAST, OLDEST)


@pytest.mark.parametrize(
    ("bid", "ask"), [("31", None), (None, "33.5"), (None, None), ("34", "33"), ("0.05", "300")]
)
def test_an_old_trade_without_a_close_two_sided_book_is_no_price(
    bid: str | None, ask: str | None
) -> None:
    assert mark(quote(bid, ask), oldest=OLDEST, tick=TICK) is None
    control = mark(quote(bid, ask, traded_at=NOW), oldest=OLDEST, tick=TICK)
    assert control == Mark(D("12.40"), LAST, NOW)


def test_an_old_book_is_no_price_whatever_it_says() -> None:
    assert mark(quote(), oldest=NOW, tick=TICK) is None


prices = st.decimals("0.05", 2000, places=2)


@given(bid=prices, ask=prices, tick=ticks)
def test_the_middle_is_on_the_grid_within_a_tick_of_the_book(
    bid: Decimal, ask: Decimal, tick: Decimal
) -> None:
    low, high = sorted((bid, ask))
    seen = mark(quote(str(low), str(high)), oldest=OLDEST, tick=tick)
    if seen is None:
        assert high - low > max((high + low) / 2 * D("0.1"), 4 * tick)
        return
    assert seen.price % tick == 0
    assert low - tick <= seen.price <= high + tick
    assert seen.basis == MID


def test_a_stop_is_not_hit_by_the_price_of_friday() -> None:
    """The stop of a call sold at 32.25 stands at 40.30; 12.40 would have been its target."""
    watch = Watch("leg", Side.SELL, D("32.25"), stop=D("40.30"), target=D("16.10"))
    worth = mark(quote(), oldest=OLDEST, tick=TICK)
    assert worth is not None
    assert trigger(watch, worth.price) is None
    assert trigger(watch, quote().last) == "TARGET"  # control: what it did


# -- the decision ----------------------------------------------------------------------------
class Feed(ToldFeed):
    """NIFTY at 24,400, and one quote for whatever is asked."""

    def __init__(self, told_quote: Quote) -> None:
        self.told_quote = told_quote

    def spot(self, underlyings: Collection[str], *, now: dt.datetime) -> Mapping[str, Quote]:
        return {name: Quote(D(24400), None, None, now, "test", now) for name in underlyings}

    def quotes(
        self, contract_ids: Collection[int], *, now: dt.datetime, need: Need = Need.PAGE
    ) -> Mapping[int, Quote]:
        return dict.fromkeys(contract_ids, self.told_quote)


def resolve(told_quote: Quote, monkeypatch: pytest.MonkeyPatch) -> ResolvedLeg:
    monkeypatch.setattr(QUOTES, "_implementation", Feed(told_quote))
    for strike in (24300, 24350, 24400, 24450, 24500):
        make_contract("NIFTY", dt.date(2026, 8, 18), strike)
        make_contract("NIFTY", dt.date(2026, 8, 25), strike + 10)  # the month's, named apart
    FreezeQuantity.objects.create(
        underlying=Underlying.objects.get(symbol="NIFTY"),
        effective_from=dt.date(2026, 1, 1),
        quantity=1800,
        source="test",
    )
    held = live_run(strategy_spec([leg_spec("SELL", "CE", "ATM")]), trade_date=DAY)
    (leg,) = resolve_legs(held, now=NOW, max_age=2.0).values()
    return leg


@pytest.mark.django_db
def test_the_entry_is_decided_on_the_middle_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    leg = resolve(quote(), monkeypatch)
    assert (leg.reference_price, leg.basis, leg.age) == (D("32.25"), MID, D("1.0"))
    assert (leg.bid, leg.ask) == (D(31), D("33.5"))
    payload = {"legs": loader.resolved_json([leg])}
    assert loader.resolved_legs(payload) == {leg.leg_key: leg}
    (recorded,) = payload["legs"].values()
    assert (recorded["last"], recorded["basis"], recorded["age"]) == ("32.25", "MID", "1.0")


@pytest.mark.django_db
def test_the_entry_is_decided_on_a_young_trade_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    leg = resolve(quote(traded_at=NOW - SECOND / 2), monkeypatch)
    assert (leg.reference_price, leg.basis, leg.age) == (D("12.40"), LAST, D("0.5"))


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("told_quote", "said", "cause"),
    [
        (
            quote(ask=None),
            "last traded at 14 Aug 15:29:57, and its book has bid 31 only",
            "NO_QUOTE",
        ),
        (
            quote(bid=None),
            "last traded at 14 Aug 15:29:57, and its book has ask 33.5 only",
            "NO_QUOTE",
        ),
        (
            quote(None, None, None),
            "has not traded today, and its book has no side only",
            "NO_QUOTE",
        ),
        (quote("34", "33"), "and its book is crossed", "NO_QUOTE"),
        (quote("0.05", "300"), "and its book is too wide", "WIDE_QUOTE"),
    ],
    ids=["bid only", "ask only", "nothing", "crossed", "wide"],
)
def test_a_leg_without_a_price_is_refused_by_name(
    told_quote: Quote, said: str, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NoQuote, match=said) as refused:
        resolve(told_quote, monkeypatch)
    assert refused.value.cause == cause


def test_a_decision_from_before_prices_had_a_basis_is_read() -> None:
    old = {
        "contract_id": 1,
        "label": "CE",
        "tick_size": "0.05",
        "lot_size": 65,
        "freeze_quantity": 1800,
        "last": "100",
        "bid": None,
        "ask": None,
    }
    (leg,) = loader.resolved_legs({"legs": {"leg": old}}).values()
    assert (leg.reference_price, leg.basis, leg.age) == (D(100), LAST, None)


@pytest.mark.django_db
@pytest.mark.parametrize(("basis", "shown"), [(MID, 1), (LAST, 0)])
def test_the_run_page_says_that_a_price_was_the_middle(run: Run, basis: str, shown: int) -> None:
    contract = make_contract()
    held = live_run(strategy_spec([leg_spec("SELL", "CE", "ATM")]))
    (leg,) = held.resolved.values()
    leg = dataclasses.replace(leg, contract_id=contract.pk, basis=basis, age=D("1.0"))
    RunDecision.objects.create(
        run=run,
        kind="ENTRY",
        payload={"legs": loader.resolved_json([leg])},
        decided_at=NOW,
        decided_by="me",
    )
    assert get(login(superuser=True), page_of(run)).count(">middle<") == shown


@pytest.mark.django_db(transaction=True)
def test_a_trigger_records_what_its_price_was(run: Run) -> None:
    held = loader.live_run(run)
    key = held.strategy.legs[0].key
    LegWatch.objects.create(
        run=run,
        leg_key=key,
        contract=make_contract(),
        side="SELL",
        reference_price=D("32.25"),
        stop_price=D("40.30"),
    )
    loader.refresh_decisions({held.id: held})
    hit = Mark(D("41.00"), MID, NOW - SECOND)
    assert decide_trigger(
        held, held.watches[key], kind="STOP", worth=hit, source="test", owner="me", now=NOW
    )
    payload = RunDecision.objects.get(run=run).payload
    assert (payload["price"], payload["basis"], payload["age"]) == ("41.00", "MID", "1.0")
    assert LegWatch.objects.get(run=run).trigger_price == D("41.00")
