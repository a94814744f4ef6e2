"""A dead feed: one line of the log when it begins and one when it ends, not one a second."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Collection, Iterator
from decimal import Decimal
from typing import Any

import pytest
import structlog

from brokers.base import Side
from execution.engine.executor import Executor
from execution.engine.runtime.condition_log import ConditionLog
from execution.risk import Watch
from execution.state import LiveRun
from execution.tests.inmemory import live_execution, live_run
from execution.timing import from_settings
from marketplace.definition import StrategySpec
from marketplace.ports import QUOTES, Market, Need, Quote
from marketplace.tests.factories import leg_spec, strategy_spec
from quantleap.core import clock

STRADDLE = strategy_spec([leg_spec("SELL", "CE", key="ce"), leg_spec("SELL", "PE", key="pe")])
OLD = dt.timedelta(hours=1)


class Feed:
    """What it has of each contract: 'fresh', 'old' (no trade, no two-sided book) or nothing."""

    def __init__(self) -> None:
        self.has: dict[int, str] = {}

    def read(
        self,
        underlyings: Collection[str],
        contract_ids: Collection[int],
        *,
        now: dt.datetime,
        need: Need = Need.PAGE,
    ) -> Market:
        """As the platform's feed answers."""
        quotes = {}
        for pk in contract_ids:
            if kind := self.has.get(pk, ""):
                traded = now if kind == "fresh" else now - OLD
                quotes[pk] = Quote(Decimal(100), Decimal(99), None, now, "main", traded)
        return Market({}, quotes, now, "main did not answer")


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> Feed:
    source = Feed()
    monkeypatch.setattr(QUOTES, "_implementation", source)
    return source


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Monotonic seconds that pass when somebody says so."""
    now = [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def executor() -> Iterator[Executor]:
    """It holds one short straddle, and is driven by hand."""
    instance = Executor(from_settings(), name="spells")
    run = held(STRADDLE)
    instance.day.runs[run.id] = run
    instance.day.adopt([live_execution(run, status="OPEN")])
    yield instance
    instance.db.close()
    instance.feeds.close()


def held(strategy: StrategySpec) -> LiveRun:
    watches = {
        leg.key: Watch(leg.key, Side.SELL, Decimal(100), stop=Decimal(150), target=None)
        for leg in strategy.legs
    }
    at = clock.now() - dt.timedelta(minutes=10)
    return live_run(strategy, entry_at=at, grace_until=at, exit_at=at + OLD, watches=watches)


def look(executor: Executor, seconds: list[float], times: int = 1) -> list[dict[str, Any]]:
    """What the log says of that many looks, a second apart."""
    with structlog.testing.capture_logs() as lines:
        for _ in range(times):
            seconds[0] += 1
            asyncio.run(executor.risk.once())
    return [dict(line) for line in lines if line["event"].startswith("risk_")]


def test_a_dead_feed_wrote_a_line_each_second(
    executor: Executor, feed: Feed, seconds: list[float]
) -> None:
    ce, pe = (leg.contract_id for leg in next(iter(executor.day.runs.values())).resolved.values())
    feed.has = {ce: "fresh", pe: "fresh"}
    assert look(executor, seconds, 3) == []
    feed.has = {}
    (line,) = look(executor, seconds, 60)
    assert line == {
        "event": "risk_without_quotes",
        "log_level": "error",
        "missing": 2,
        "trouble": "main did not answer",
    }
    feed.has = {ce: "fresh"}
    assert look(executor, seconds, 5) == [], "half of them is not all of them"
    feed.has = {ce: "fresh", pe: "fresh"}
    (line,) = look(executor, seconds, 60)
    assert line == {"event": "risk_with_quotes_again", "log_level": "info", "seconds": 65}
    feed.has = {}
    assert [entry["event"] for entry in look(executor, seconds, 5)] == ["risk_without_quotes"]


def test_a_leg_without_a_price_wrote_a_line_each_second(
    executor: Executor, feed: Feed, seconds: list[float]
) -> None:
    run = next(iter(executor.day.runs.values()))
    ce, pe = (leg.contract_id for leg in run.resolved.values())
    feed.has = {ce: "old", pe: "fresh"}
    (line,) = look(executor, seconds, 30)
    assert line == {
        "event": "risk_without_price",
        "log_level": "warning",
        "run": run.public_id,
        "leg": "ce",
    }
    feed.has = {pe: "fresh"}
    assert [entry["event"] for entry in look(executor, seconds, 10)] == ["risk_without_quotes"], (
        "no price has come with it"
    )
    feed.has = {ce: "fresh", pe: "fresh"}
    assert look(executor, seconds, 10) == [
        {"event": "risk_with_quotes_again", "log_level": "info", "seconds": 10},
        {
            "event": "risk_with_price_again",
            "log_level": "info",
            "run": run.public_id,
            "leg": "ce",
            "seconds": 40,
        },
    ]


def test_what_is_no_longer_held_is_not_waited_for(
    executor: Executor, feed: Feed, seconds: list[float]
) -> None:
    run = next(iter(executor.day.runs.values()))
    (ce, _) = (leg.contract_id for leg in run.resolved.values())
    feed.has = {ce: "old"}
    assert len(look(executor, seconds, 20)) == 2
    run.run_exit = "STOP"
    over = look(executor, seconds, 20)
    assert {(line["event"], line["seconds"]) for line in over} == {
        ("risk_with_quotes_again", 20),
        ("risk_with_price_again", 20),
    }


def test_a_spell_is_about_one_thing(seconds: list[float]) -> None:
    spells = ConditionLog(30, "away", "back")
    ce, pe = (("leg", "ce"),), (("leg", "pe"),)
    with structlog.testing.capture_logs() as lines:
        spells.begin(ce)
        seconds[0] += 2.4
        spells.begin(pe)
        spells.begin(ce)
        spells.end(ce)
        spells.end(ce)
    events = [(line["event"], line["leg"], line.get("seconds")) for line in lines]
    assert events == [("away", "ce", None), ("away", "pe", None), ("back", "ce", 2)]
