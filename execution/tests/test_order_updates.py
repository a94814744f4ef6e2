"""Order updates as the first witness: what they may change, and what is left to the book."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.base import BookState, OrderReport
from execution import lifecycle
from execution.engine.books import poller
from execution.engine.memory import reading_list
from execution.engine.memory.actors import Actor
from execution.engine.memory.streams import Told
from execution.state import LiveIntent
from execution.tags import make_tag
from execution.tests import wire
from execution.tests.inmemory import LOT, live_intent, report
from execution.tests.parts import Parts
from quantleap.core import clock


class Setup:
    """A desk with one stream and one order, and what it told others."""

    def __init__(self, healthy: bool = True, **fields: Any) -> None:
        values = {"state": lifecycle.ACCEPTED, "sends": 1, "broker_order_id": "B1", **fields}
        self.intent = live_intent(**values)
        self.changed: list[LiveIntent] = []
        self.alarms: list[str] = []
        self.read: list[Actor] = []
        self.parts = Parts(
            work=SimpleNamespace(
                changed=self.changed.append, alarm=lambda _id, cause, **_: self.alarms.append(cause)
            ),
            reading=SimpleNamespace(at_once=self.read.append),
        )
        self.actor = self.parts.actors.of(wire.REAL, 1)
        self.actor.hold(self.intent)
        self.desk = self.parts.updates
        self.trusts = self.parts.streams.trusts
        stream: Any = SimpleNamespace(is_healthy=lambda _now: healthy)
        self.parts.streams.by_actor[self.actor] = Told(stream, "")

    def hear(self, state: BookState = BookState.OPEN, filled: int = 0, **fields: Any) -> None:
        order_report = report(self.intent, state, filled)
        self.desk._heard(self.actor, dataclasses.replace(order_report, **fields))


def test_a_fill_is_a_fill_whoever_told_it_first() -> None:
    setup = Setup()
    setup.hear(BookState.FILLED, LOT)
    assert (setup.intent.state, setup.intent.filled_quantity) == (lifecycle.FILLED, LOT)
    assert setup.changed == [setup.intent]
    assert setup.read == []


def test_a_fill_may_come_before_the_answer_to_its_order() -> None:
    setup = Setup(state=lifecycle.SENDING, broker_order_id="", sent_mono=clock.monotonic())
    setup.hear(BookState.FILLED, LOT, broker_order_id="B7")
    assert (setup.intent.state, setup.intent.broker_order_id) == (lifecycle.FILLED, "B7")


def test_an_unknown_order_is_found_by_an_update() -> None:
    setup = Setup(state=lifecycle.UNKNOWN, broker_order_id="", unknown_since_mono=clock.monotonic())
    setup.hear(BookState.OPEN, 0, broker_order_id="B7")
    assert setup.intent.state == lifecycle.ACCEPTED


@given(
    st.permutations(
        [
            (BookState.SUBMITTED, 0),
            (BookState.OPEN, 0),
            (BookState.OPEN, 20),
            (BookState.OPEN, 40),
            (BookState.FILLED, LOT),
        ]
    ),
    st.lists(st.integers(0, 4), max_size=5),
)
def test_out_of_order_and_repeated_updates_are_harmless(
    order: list[tuple[BookState, int]], again: list[int]
) -> None:
    """In any order, any of them again: no fill is undone, and all of it is held at the end."""
    setup = Setup()
    highest = 0
    for state, filled in itertools.chain(order, (order[number] for number in again)):
        setup.hear(state, filled)
        highest = max(highest, filled)
        assert setup.intent.filled_quantity == highest
    assert (setup.intent.state, setup.intent.filled_quantity) == (lifecycle.FILLED, LOT)


@pytest.mark.parametrize(
    "fields",
    [{"broker_order_id": "B2"}, {"tag": "older"}],
    ids=["another order of the same send", "an earlier send"],
)
def test_what_is_not_plainly_the_newest_send_is_left_to_the_book(fields: dict[str, Any]) -> None:
    setup = Setup(sends=2)
    if "tag" in fields:
        fields["tag"] = make_tag(setup.intent.code, 1)
    else:
        fields["tag"] = make_tag(setup.intent.code, 2)
    setup.hear(BookState.FILLED, LOT, **fields)
    assert setup.intent.state == lifecycle.ACCEPTED
    assert setup.changed == []
    assert setup.read == [setup.actor]


@pytest.mark.parametrize("tag", ["", "BYHAND", "Q" + "Z" * 12 + "1"], ids=["none", "app", "alien"])
def test_other_peoples_orders_change_nothing(tag: str) -> None:
    setup = Setup()
    setup.hear(BookState.FILLED, LOT, tag=tag)
    assert (setup.intent.state, setup.changed, setup.read) == (lifecycle.ACCEPTED, [], [])


def test_what_was_never_sent_is_not_moved() -> None:
    setup = Setup(state=lifecycle.PLANNED, sends=0, broker_order_id="")
    setup.hear(BookState.FILLED, LOT, tag=make_tag(setup.intent.code, 1))
    assert setup.intent.state == lifecycle.PLANNED


def test_an_order_that_was_changed_in_the_brokers_app_is_told() -> None:
    setup = Setup()
    setup.hear(BookState.FILLED, 40, quantity=40)
    assert setup.alarms == ["CHANGED_OUTSIDE"]
    assert setup.intent.state == lifecycle.CANCELLED


# -- trust ---------------------------------------------------------------------------------------
def is_trusted_after_a_fill(setup: Setup, heard: bool) -> bool:
    """Whether the stream is trusted a second after the book has shown a fill."""

    async def main() -> bool:
        fill: OrderReport = report(setup.intent, BookState.FILLED, LOT)
        loop = asyncio.get_running_loop()
        later: list[Any] = []
        loop.call_later = lambda _seconds, call, *about: later.append((call, about))  # type: ignore[assignment, method-assign]
        setup.desk.compare(setup.actor, fill)
        if heard:
            setup.desk._heard(setup.actor, fill)
        for call, about in later:
            call(*about)
        return setup.trusts(setup.actor)

    return asyncio.run(main())


def test_a_stream_that_hides_a_fill_is_not_trusted() -> None:
    """A stream that kept a fill to itself is not trusted for a while."""
    silent = Setup()
    assert silent.trusts(silent.actor)
    assert not is_trusted_after_a_fill(silent, heard=False)
    assert silent.read == [silent.actor]
    assert is_trusted_after_a_fill(Setup(), heard=True)


def test_a_dead_stream_is_not_trusted() -> None:
    setup = Setup(healthy=False)
    assert not setup.trusts(setup.actor)


@pytest.mark.parametrize(
    ("trusted", "state", "first", "then"),
    [
        (True, lifecycle.ACCEPTED, reading_list.CHECKED_AFTER, poller.RECONCILED_EVERY),
        (True, lifecycle.UNKNOWN, reading_list.FIRST_READ, poller.UNKNOWN_EVERY),
        (False, lifecycle.ACCEPTED, reading_list.FIRST_READ, 0.5),
        (False, lifecycle.UNKNOWN, reading_list.FIRST_READ, poller.UNKNOWN_EVERY),
    ],
    ids=["told", "told but unknown", "not told", "not told and unknown"],
)
def test_books_are_read_to_reconcile_where_updates_come(
    trusted: bool, state: str, first: float, then: float
) -> None:
    async def main() -> None:
        channel = wire.channel("http://127.0.0.1:9", wire.Told())
        intent = live_intent(state=state)
        parts = Parts(channel, streams=SimpleNamespace(trusts=lambda _actor: trusted, by_actor={}))
        actor = parts.actor_of(channel)
        actor.hold(intent)
        before = clock.monotonic()
        parts.reading.soon(1)
        assert first <= actor.next_read_mono - before <= first + 1
        assert parts.poller._pause(actor, channel, [intent]) == then
        parts.reading.at_once(actor)
        assert actor.next_read_mono <= clock.monotonic()
        await parts.calls.close()

    asyncio.run(main())
