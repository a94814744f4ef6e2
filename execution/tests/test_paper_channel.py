"""Paper behind the interface of a channel: what rests, what is cancelled, what is restored."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Mapping
from decimal import Decimal
from typing import Any

from brokers import transport_async
from brokers.base import (
    BookRead,
    BookState,
    OrderReport,
    OrderRequest,
    Outcome,
    PriceChange,
    Product,
)
from brokers.real_account import RealAccount
from brokers.transport_sync import Limits
from execution import lifecycle
from execution.causes import EARLY
from execution.engine.runtime.call_slots import CONNECTS, CallSlots
from execution.engine.wire.connection import Deadlines, serialise
from execution.engine.wire.paper_channel import PaperChannel, paper_instrument
from execution.state import LiveIntent
from execution.tests.inmemory import live_intent
from execution.tests.wire import Told
from marketplace.ports import Quote
from quantleap.core import clock

REAL = RealAccount("test", "paper", "C00001")


class Feed:
    """Quotes that the test sets."""

    def __init__(self) -> None:
        self.price = Decimal(100)
        self.asked: list[Collection[int]] = []

    async def __call__(self, contract_ids: Collection[int]) -> Mapping[int, Quote]:
        self.asked.append(contract_ids)
        quote = Quote(self.price, self.price, self.price, clock.now(), "feed")
        return dict.fromkeys(contract_ids, quote)


def paper(told: Told, feed: Feed, **fields: Any) -> PaperChannel:
    loop = asyncio.get_running_loop()
    values: dict[str, Any] = {
        "why_not_send": lambda intent, now: "",
        "on_sent": told.note(told.sent),
        "on_answer": told.note(told.answers),
        "on_not_sent": told.note(told.not_sent),
        **fields,
    }
    return PaperChannel(
        account_id=1,
        real=REAL,
        shard=0,
        quotes=feed,
        loop=loop,
        deadlines=Deadlines(loop),
        slots=CallSlots(CONNECTS),
        **values,
    )


def order(channel: PaperChannel, price: str, **fields: Any) -> LiveIntent:
    """A SELL at a reference of 100 rupees, with its bytes made."""
    values = {"state": lifecycle.SENDING, "sends": 1, "instrument": paper_instrument(1), **fields}
    intent = live_intent(price=Decimal(price), **values)
    request = OrderRequest(
        tag=intent.tag,
        instrument=intent.instrument,
        side=intent.side,
        quantity=intent.quantity,
        product=Product.INTRADAY,
        price=intent.price,
    )
    intent.raw = serialise(channel.adapter.place_order(channel.session, request), channel.target)
    return intent


async def read(channel: PaperChannel) -> list[OrderReport]:
    request = channel.adapter.order_book(channel.session)
    answer = await channel.fetch(transport_async.Clients(connections=0), request, Limits())
    book: BookRead = channel.adapter.parse_order_book(answer)
    assert book.ok
    return list(book.orders)


async def send(channel: PaperChannel, told: Told, intent: LiveIntent) -> str:
    channel.submit(intent)
    await told.until(lambda told: len(told.answers) == len(told.sent))
    response = told.answers[-1][1].response
    assert response is not None
    return channel.adapter.parse_place(response).broker_order_id


def play(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 20))


def test_a_resting_paper_limit_could_not_be_cancelled() -> None:
    """Seen: away from the market it stayed ACCEPTED, and no cancel did anything."""

    async def story() -> None:
        told, feed = Told(), Feed()
        channel = paper(told, feed)
        order_id = await send(channel, told, order(channel, "110"))
        assert [(o.broker_order_id, o.state) for o in await read(channel)] == [
            (order_id, BookState.OPEN)
        ]
        request = channel.adapter.cancel_order(channel.session, order_id)
        await channel.fetch(transport_async.Clients(connections=0), request, Limits())
        assert [o.state for o in await read(channel)] == [BookState.CANCELLED]

    play(story())


def test_a_changed_paper_order_is_matched_at_its_new_price() -> None:
    async def story() -> None:
        told, feed = Told(), Feed()
        channel = paper(told, feed)
        order_id = await send(channel, told, order(channel, "110"))
        (resting,) = await read(channel)
        assert (resting.state, resting.price) == (BookState.OPEN, Decimal(110))
        change = PriceChange(order_id, paper_instrument(1), 65, Decimal(99))
        request = channel.adapter.change_order(channel.session, change)
        answer = await channel.fetch(transport_async.Clients(connections=0), request, Limits())
        changed = channel.adapter.parse_change(answer)
        assert (changed.outcome, changed.broker_order_id) == (Outcome.ACCEPTED, order_id)
        (filled,) = await read(channel)
        assert (filled.state, filled.quantity) == (BookState.FILLED, 65)
        assert filled.average_price == Decimal(100)

    play(story())


def test_a_resting_paper_order_fills_when_the_feed_reaches_it() -> None:
    async def story() -> None:
        told, feed = Told(), Feed()
        channel = paper(told, feed)
        await send(channel, told, order(channel, "110"))
        assert [o.state for o in await read(channel)] == [BookState.OPEN]
        feed.price = Decimal(112)
        (filled,) = await read(channel)
        assert (filled.state, filled.average_price) == (BookState.FILLED, Decimal(112))
        feed.asked.clear()
        await read(channel)
        assert feed.asked == [], "nothing rests, so nobody is asked"

    play(story())


def test_an_order_at_the_market_fills_at_its_reference() -> None:
    async def story() -> None:
        told, feed = Told(), Feed()
        channel = paper(told, feed)
        await send(channel, told, order(channel, "98"))
        (filled,) = await read(channel)
        assert (filled.state, filled.average_price) == (BookState.FILLED, Decimal(100))

    play(story())


def test_the_book_is_made_of_our_rows_again_after_a_restart() -> None:
    async def story() -> None:
        channel = paper(Told(), Feed())
        rested = live_intent(
            state=lifecycle.ACCEPTED, sends=1, broker_order_id="PAPER1", price=Decimal(110)
        )
        filled = live_intent(
            state=lifecycle.FILLED,
            sends=1,
            broker_order_id="PAPER2",
            filled_quantity=65,
            average_price=Decimal(100),
        )
        lost = live_intent(state=lifecycle.UNKNOWN, sends=1)
        for _ in range(2):
            channel.restore([rested, filled, lost])
        assert {o.broker_order_id: o.state for o in await read(channel)} == {
            "PAPER1": BookState.OPEN,
            "PAPER2": BookState.FILLED,
        }
        request = channel.adapter.positions(channel.session)
        answer = await channel.fetch(transport_async.Clients(connections=0), request, Limits())
        held = channel.adapter.parse_positions(answer)
        assert [(p.symbol, p.quantity) for p in held.positions if p.quantity] == [("1", -65)]

    play(story())


def test_the_gate_is_asked_before_paper_too() -> None:
    async def story() -> None:
        told = Told()
        answers = iter([EARLY, "", "KILL_SWITCH"])
        channel = paper(told, Feed(), why_not_send=lambda intent, now: next(answers))
        first, second = order(channel, "98"), order(channel, "98")
        channel.load(first)
        channel.load(second)
        channel.drain()
        await told.until(lambda told: bool(told.not_sent))
        assert [intent for intent, _ in told.sent] == [first]
        assert [(i, why) for i, why, _ in told.not_sent] == [(second, "KILL_SWITCH")]

    play(story())
