"""A filled leg that the broker's list of positions does not show: converted, or without a name."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
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
from execution.alarms import CLOSED_OUTSIDE, NO_WITNESS, Alarm
from execution.engine.database.writer import Batch, Written
from execution.next_steps import next_steps
from execution.state import LiveExecution
from execution.steps import Situation
from execution.tests.inmemory import LOT, bought, report
from execution.tests.parts import Parts
from quantleap.core import clock

NAME = BrokerInstrument("NFO", "NIFTY", "1")
#: Seconds between two rounds; some looks that say the same over so long are believed.
APART, LOOKS = 2.0, 5


class Broker:
    """One account's broker: its list of positions shows ``held``, its book what we have bought."""

    def __init__(self, execution: LiveExecution, *held: NetPosition) -> None:
        self._execution, self._held = execution, held

    async def positions(self, _actor: Any) -> PositionRead:
        return PositionRead(ok=True, positions=self._held)

    async def orders(self, _actor: Any) -> Sequence[OrderReport]:
        return [
            dataclasses.replace(
                report(intent, BookState.FILLED, intent.quantity),
                symbol=NAME.symbol,
                exchange=NAME.exchange,
                product=Product.INTRADAY,
            )
            for intent in self._execution.intents
        ]


class Said:
    """What a person hears and what is written while a leg wants to leave."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.alarms: set[str] = set()

    async def write(self, batch: Batch) -> Written:
        self.batches.append(batch)
        statuses = frozenset(change.execution.id for change in batch.statuses)
        return Written(shards=frozenset(), statuses=statuses)

    @property
    def raised(self) -> list[Alarm]:
        return [raised.alarm for batch in self.batches for raised in batch.raised]

    @property
    def sent(self) -> int:
        return sum(intent.quantity for batch in self.batches for _, intent in batch.inserts)


async def _done(*_: Any) -> None:
    """Names are known and channels are open."""


async def _no_quotes(*_: Any, **__: Any) -> dict[int, Any]:
    return {}


def leave(
    monkeypatch: pytest.MonkeyPatch, held: Sequence[NetPosition], name: BrokerInstrument | None
) -> tuple[LiveExecution, Said]:
    """One bought leg wants to leave, in some rounds one after the other."""
    execution, said, now = bought(), Said(), [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])

    async def main() -> None:
        parts = Parts(
            channels=SimpleNamespace(by_account={execution.account_id: object()}),
            accounts=SimpleNamespace(open_for=_done),
            names=SimpleNamespace(load=_done, of=lambda _broker, _contract: name),
            reader=Broker(execution, *held),
            feeds=SimpleNamespace(run=_no_quotes),
            exit_writer=SimpleNamespace(write=said.write),
            sender=SimpleNamespace(dispatch=lambda *_: None),
            work=SimpleNamespace(
                schedule=lambda _: None,
                calm=lambda *_, **__: None,
                alarm=lambda _execution, cause, **_: said.alarms.add(cause),
            ),
        )
        parts.day.adopt([execution])
        desk = parts.exits
        for _ in range(LOOKS):
            now[0] += APART
            due = Situation(now_mono=now[0], grace_over=True, exit_due=True)
            desk.open_exits([(execution, order) for order in next_steps(execution, due).exits])
            while desk._tasks:
                await asyncio.gather(*desk._tasks)

    asyncio.run(main())
    return execution, said


def test_a_converted_position_was_left_open_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen after MIS was made NRML: the position stayed open overnight, no exit left, no alarm was
    raised, and a profit was made up."""
    converted = NetPosition(NAME.exchange, NAME.symbol, Product.CARRY, LOT)
    execution, said = leave(monkeypatch, [converted], NAME)
    assert said.sent == 0, "another order would open the reverse in our product"
    (alarm,) = said.raised
    assert (alarm.cause, alarm.words) == (CLOSED_OUTSIDE, f"{LOT} units")
    assert execution.closed_outside == {"ce": -LOT}, "so that no profit is made up of it"


def test_an_unnamed_contract_was_closed_outside_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen: a contract without a broker's name could not be looked up, and counted as one of which
    nothing is held."""
    held = NetPosition(NAME.exchange, NAME.symbol, Product.INTRADAY, LOT)
    execution, said = leave(monkeypatch, [held], None)
    assert (said.batches, execution.closed_outside) == ([], {})
    assert said.alarms == {NO_WITNESS}


def test_the_control_what_is_held_under_its_name_leaves_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = NetPosition(NAME.exchange, NAME.symbol, Product.INTRADAY, LOT)
    _, said = leave(monkeypatch, [held], NAME)
    assert said.batches[0].inserts[0][1].quantity == LOT
    assert (said.raised, said.alarms) == ([], set())
