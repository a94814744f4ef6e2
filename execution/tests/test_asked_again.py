"""An exit that no witness speaks of asks its own broker again, and not the platform's feed."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from brokers.base import (
    BookState,
    BrokerInstrument,
    NetPosition,
    OrderReport,
    PositionRead,
    Product,
)
from execution.engine.database.writer import Batch, Written
from execution.next_steps import next_steps
from execution.state import LiveExecution
from execution.steps import Situation
from execution.tests.inmemory import LOT, bought, report
from execution.tests.parts import Parts
from marketplace.ports import QUOTES, Quote
from quantleap.core import clock

NAME = BrokerInstrument("NFO", "NIFTY", "1")
TRIES = 5


class Feed:
    """The platform's feed: what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[set[int]] = []

    def quotes(self, contract_ids: Collection[int], **_: Any) -> Mapping[int, Quote]:
        self.asked.append(set(contract_ids))
        now = clock.now()
        price = Decimal(100)
        return {key: Quote(price, price, price, now, "feed", now) for key in contract_ids}


class Broker:
    """One account's broker: it says nothing until it is told to speak."""

    def __init__(self, execution: LiveExecution) -> None:
        self._execution = execution
        self.speaks = False

    async def positions(self, _actor: Any) -> PositionRead | None:
        position = NetPosition(NAME.exchange, NAME.symbol, Product.INTRADAY, LOT)
        return PositionRead(ok=True, positions=[position]) if self.speaks else None

    async def orders(self, _actor: Any) -> Sequence[OrderReport] | None:
        if not self.speaks:
            return None
        return [
            dataclasses.replace(
                report(intent, BookState.FILLED, intent.quantity),
                symbol=NAME.symbol,
                exchange=NAME.exchange,
                product=Product.INTRADAY,
            )
            for intent in self._execution.intents
        ]


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> Feed:
    source = Feed()
    monkeypatch.setattr(QUOTES, "_implementation", source)
    return source


async def _done(*_: Any) -> None:
    """Names are known and channels are open."""


async def _at_once(work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    return work(*arguments, **named)


def parts_of(execution: LiveExecution, broker: Broker, write: Callable[..., Any]) -> Parts:
    parts = Parts(
        channels=SimpleNamespace(by_account={execution.account_id: object()}),
        accounts=SimpleNamespace(open_for=_done),
        names=SimpleNamespace(load=_done, of=lambda _broker, _contract: NAME),
        reader=broker,
        feeds=SimpleNamespace(run=_at_once),
        exit_writer=SimpleNamespace(write=write),
    )
    parts.day.adopt([execution])
    return parts


def test_an_exit_nobody_speaks_of_used_up_everybodys_feed(feed: Feed) -> None:
    """Seen beside accounts whose books drip: everybody else's exits left 0.9 s later, because a
    Kite feed answers once a second and was asked by those that could not leave anyway."""
    execution = bought()
    broker = Broker(execution)
    written: list[Batch] = []

    async def write(batch: Batch) -> Written:
        written.append(batch)
        return Written(shards=frozenset())

    async def main() -> None:
        desk = parts_of(execution, broker, write).exits
        (order,) = next_steps(
            execution, Situation(now_mono=1000.0, grace_over=True, exit_due=True)
        ).exits

        async def wants_to_leave() -> None:
            desk._unseen_until = dict.fromkeys(desk._unseen_until, 0.0)  # its pause is over
            desk.open_exits([(execution, order)])
            while desk._tasks:
                await asyncio.gather(*desk._tasks)

        for _ in range(TRIES):
            await wants_to_leave()
        assert len(feed.asked) == 1, "with its first try"
        assert not written
        broker.speaks = True
        await wants_to_leave()

    asyncio.run(main())
    assert feed.asked == [{execution.intents[0].contract_id}] * 2
    ((_, intent),) = written[0].inserts
    assert intent.quantity == LOT
    assert intent.price_source == "FEED", "priced by what the feed said when it could leave"
