"""What waits in an account's queue for its second, behind orders that a slow broker answers."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from execution import lifecycle
from execution.causes import EARLY
from execution.engine.wire.channel import Channel
from execution.state import LiveIntent
from execution.tests.wire import Told, broker, channel, reply, sending
from quantleap.core import clock

LATENCY = 0.4
ORDERS = 3


def not_due(intent: LiveIntent) -> bool:
    return clock.now() < intent.due_at


def play(keeps: bool) -> tuple[Told, list[LiveIntent], list[LiveIntent]]:
    """Two runs that enter a second apart; what is not due is EARLY, or a reason like any other."""
    told = Told()

    def why_not_send(intent: LiveIntent, now: float) -> str:
        return (EARLY if keeps else "GRACE_OVER") if not_due(intent) else ""

    async def main() -> tuple[list[LiveIntent], list[LiveIntent]]:
        async with broker(lambda request, before: reply(b"{}"), latency=LATENCY) as (url, _):
            way: Channel = channel(url, told, why_not_send=why_not_send)
            await way.warm_up()
            now = clock.now()
            first = [sending(way, due_at=now) for _ in range(ORDERS)]
            second = [sending(way, due_at=now + dt.timedelta(seconds=1)) for _ in range(ORDERS)]
            for intent in [*first, *second]:
                way.load(intent)
            way.drain()
            await told.until(lambda told: len(told.answers) + len(told.not_sent) == 2 * ORDERS)
            way.close()
            return first, second

    first, second = asyncio.run(main())
    return told, first, second


def test_entries_a_second_apart_on_one_account_lost_a_send() -> None:
    """Seen: 0.4 s of latency, and the second run's orders were taken from the queue as early."""
    told, first, second = play(keeps=True)
    assert told.not_sent == []
    assert [intent for intent, _ in told.sent] == first + second, "in their order, once each"
    for intent, _ in told.sent:
        assert intent.sends == 1
        assert not not_due(intent)


def test_a_queue_that_takes_out_what_is_not_due_is_noticed() -> None:
    """The control of the test above."""
    told, _, second = play(keeps=False)
    assert [intent for intent, _, _ in told.not_sent] == second


@pytest.mark.parametrize("purpose", [lifecycle.EXIT, lifecycle.UNWIND])
def test_an_exit_waited_behind_the_entries_of_its_account(purpose: str) -> None:
    """Seen with 36 slices: what leaves is sent next, whatever came before it. One connection, so
    that the broker sees them one after the other; the first entry is under way already."""

    async def main() -> list[str]:
        async with broker(lambda request, before: reply(b"{}")) as (url, seen):
            told = Told()
            way = channel(url, told)
            await way.warm_up(1)
            entries = [sending(way, slice=number) for number in range(4)]
            leaving = [sending(way, slice=number, purpose=purpose) for number in range(2)]
            for intent in entries:
                way.submit(intent)
            for intent in leaving:
                way.submit(intent)
            await told.until(lambda told: len(told.answers) == 6)
            way.close()
            known = {intent.tag.encode(): intent for intent in [*entries, *leaving]}
            return [
                next(f"{i.purpose} {i.slice}" for tag, i in known.items() if tag in request)
                for _, request in seen
            ]

    first, *others = [f"{lifecycle.ENTRY} {number}" for number in range(4)]
    assert asyncio.run(main()) == [first, f"{purpose} 0", f"{purpose} 1", *others]
