"""Whatever crosses a change (a fill, a cancel, a restart, a witness that fails), no more may fill
than there is to close."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokers.base import Outcome, SendResult
from execution.backoff import EXIT_REST_SECONDS
from execution.price_changes import KEPT
from execution.tests.changewords import ACCEPTED, MOST, REFUSES, SILENT
from execution.tests.inmemory import LOT, committed
from execution.tests.toybroker import VISIBILITY, ToyBroker
from execution.tests.toyengine import Sending, ToyEngine
from marketplace.tests.factories import leg_spec, strategy_spec

EVENTS = (
    *("time", "time", "rest", "poll", "poll", "drain", "arrive", "answered", "unanswered"),
    *("fill one", "fill all", "cancel", "cancel lost", "late", "restart", "positions", "book"),
    *("applied", "refused", "lost", "lost and applied", "taken and late", "taken and never"),
)


class Interleaved:
    """One sold leg on its way out, and a broker whose answers come in any order, or never."""

    def __init__(self, lots: int, most: int, pieces: int | None) -> None:
        execution = committed(strategy_spec([leg_spec("SELL", "CE", key="ce", lots=lots)]))
        execution.max_lots_per_order = pieces
        self.broker = ToyBroker()
        self.engine = ToyEngine([execution], self.broker, Random(1), most_changes=most)
        (entry,) = execution.intents
        self.engine.wire.append(Sending(entry, entry.tag))
        self.engine.arrive(self.engine.wire[0], 0.0, Decimal(100))
        self.broker.fill(self.broker.orders[0], entry.quantity, self.engine.now)
        self.engine.answer(self.engine.wire[0], ACCEPTED)
        execution.exit_reason = "USER"
        self.engine.poll()
        self.engine.drain(9)
        for sending in [*self.engine.wire]:
            self.engine.arrive(sending, 0.0, Decimal(100))
            self.engine.answer(sending, ACCEPTED)
        self.engine.now += EXIT_REST_SECONDS + 0.1
        self.engine.poll()

    def may_fill(self) -> int:
        """Units of exits that rest at the broker, or may reach it."""
        rest = sum(order.rest for order in self.broker.orders)
        return rest + sum(
            sending.intent.quantity for sending in self.engine.wire if not sending.arrived
        )

    def play(self, event: str, which: int) -> None:
        engine, broker = self.engine, self.broker
        if event in ("time", "rest"):
            engine.now += 0.7 if event == "time" else 3.1
            engine.rounds()
        elif event == "poll":
            engine.poll()
        elif event == "drain":
            engine.drain(9)
        elif event == "restart":
            engine.restart(0.5)
        elif event == "positions":
            broker.positions_fail = not broker.positions_fail
        elif event == "book":
            broker.book_fails = not broker.book_fails
        else:
            self._at_the_broker(event, which)

    def _at_the_broker(self, event: str, which: int) -> None:
        engine, broker = self.engine, self.broker
        waiting = [sending for sending in engine.wire if not sending.arrived]
        arrived = [sending for sending in engine.wire if sending.arrived]
        orders, changes = broker.open_orders(), engine.changes
        if event == "arrive" and waiting:
            hidden = (0.0, 1.0, VISIBILITY - 0.1)[which % 3]
            engine.arrive(waiting[which % len(waiting)], hidden, Decimal(100))
        elif event in ("answered", "unanswered") and arrived:
            sending = arrived[which % len(arrived)]
            taken = SendResult(Outcome.ACCEPTED, broker_order_id="B")
            engine.answer(sending, taken if event == "answered" and sending.order else SILENT)
        elif event.startswith("fill") and orders:
            order = orders[which % len(orders)]
            broker.fill(order, LOT if event == "fill one" else order.quantity, engine.now)
        elif event.startswith("cancel") and engine.cancels:
            intent = engine.cancels.pop(which % len(engine.cancels))
            engine.cancel_arrives(intent, lost=event == "cancel lost")
        elif event == "late" and engine.late:
            engine.change_arrives(engine.late.pop(which % len(engine.late)))
        elif changes:
            self._change(event, changes[which % len(changes)])

    def _change(self, event: str, change: Any) -> None:
        engine = self.engine
        outcomes = ("applied", "refused", "lost", "lost and applied")
        if event not in (*outcomes, "taken and late", "taken and never"):
            return
        if not engine.change_leaves(change):
            return
        applied = event in ("applied", "lost and applied") and engine.change_arrives(change)
        if event == "taken and late":
            engine.late.append(change)
        if event == "refused" or (event == "applied" and not applied):
            engine.change_answered(change, REFUSES)
        else:
            engine.change_answered(change, SILENT if "lost" in event else engine.taken(change))


def _events() -> Iterator[st.SearchStrategy[Any]]:
    yield st.sampled_from(EVENTS)
    yield st.integers(0, 5)


@settings(max_examples=300, deadline=None)
@given(
    lots=st.integers(1, 3),
    most=st.sampled_from([MOST, 2, 0]),
    pieces=st.sampled_from([None, 1]),
    events=st.lists(st.tuples(*_events()), min_size=10, max_size=60),
)
def test_no_more_may_fill_than_the_position_holds(
    lots: int, most: int, pieces: int | None, events: list[tuple[str, int]]
) -> None:
    """The bound holds whatever crosses a change."""
    world = Interleaved(lots, most, pieces)
    for event, which in events:
        world.play(event, which)
        held = -world.broker.net(1)
        assert 0 <= held <= lots * LOT
        assert world.may_fill() <= held, (event, which)
        for intent in world.engine.executions[0].intents:
            assert len(intent.changes) - sum(c.state == KEPT for c in intent.changes) <= most


@pytest.mark.parametrize("planted", [True, False], ids=["planted", "as_it_is"])
def test_control_an_unknown_change_as_done_closes_twice(
    monkeypatch: pytest.MonkeyPatch, planted: bool
) -> None:
    from execution.tests.plantedrules import an_unknown_change_is_done

    if planted:
        an_unknown_change_is_done(monkeypatch)
    world = Interleaved(1, MOST, None)
    for event in ("lost", "time", "drain"):
        world.play(event, 0)
    assert -world.broker.net(1) == LOT
    assert world.may_fill() == (2 * LOT if planted else LOT)
