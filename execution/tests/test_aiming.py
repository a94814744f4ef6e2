"""At T the first orders leave as they were aimed, and only what may still leave does."""

from __future__ import annotations

import asyncio
import datetime as dt
from types import SimpleNamespace
from typing import Any, Final

import pytest

from brokers.pace import ALL_CALLS, Pacer, Window
from execution import lifecycle
from execution.causes import EARLY
from execution.engine.runtime.kill_switch_watch import Control
from execution.engine.wire.channel import Channel
from execution.state import LiveRun
from execution.tests import wire
from execution.tests.inmemory import live_intent, live_run
from execution.tests.parts import OwnsAll, Parts
from quantleap.core import clock

TAKEN: Final = b'{"status":"success","data":{"order_id":"1"}}'


def taking(request: bytes, before: int) -> bytes:
    """A broker that accepts everything."""
    return wire.reply(TAKEN)


def aimed_and_shot(**fields: Any) -> tuple[int, int, bool]:
    """Orders sent by aiming, orders sent by shooting, and whether one still waits."""

    async def main() -> tuple[int, int, bool]:
        async with wire.broker(taking) as (url, _):
            told = wire.Told()
            channel = wire.channel(url, told)
            for name, value in fields.items():
                setattr(channel, name, value)
            await channel.warm_up(1)
            intent = wire.sending(channel)
            channel.load(intent)
            shot = channel.aim(live_run())
            by_aiming = len(told.sent)
            if shot is not None:
                channel.shoot(shot, clock.monotonic())
            waits = channel.is_waiting
            channel.close()
            return by_aiming, len(told.sent), waits

    return asyncio.run(main())


def test_what_waits_for_its_second_is_aimed_and_then_shot() -> None:
    """Aiming alone sends nothing; the order leaves with the shot."""
    assert aimed_and_shot() == (0, 1, False)
    assert aimed_and_shot(_why_not_send=lambda intent, now: EARLY) == (0, 1, False)


def test_an_order_of_a_later_run_is_not_aimed_for_this_one() -> None:
    """Bug: the order of a run one second later stood first in the account's queue, and would have
    left at this run's second."""

    async def main() -> tuple[bool, bool]:
        async with wire.broker(taking) as (url, _):
            channel = wire.channel(url, wire.Told())
            channel._why_not_send = lambda intent, now: EARLY
            await channel.warm_up(1)
            run = live_run()
            later = wire.sending(channel, due_at=run.entry_at + dt.timedelta(seconds=1))
            channel.load(later)
            mistaken = channel.aim(run)
            own = channel.aim(live_run(entry_at=later.due_at))
            channel.close()
            return mistaken is None, own is not None

    assert asyncio.run(main()) == (True, True)


@pytest.mark.parametrize("reason", ["FENCED", "STALE", "LEG_FAILED", "KILL_SWITCH"])
def test_what_may_not_leave_is_not_aimed(reason: str) -> None:
    assert aimed_and_shot(_why_not_send=lambda intent, now: reason) == (0, 0, True)


def test_an_exit_that_waits_goes_first_so_no_entry_is_aimed() -> None:
    async def main() -> bool:
        async with wire.broker(taking) as (url, _):
            channel = wire.channel(url, wire.Told())
            await channel.warm_up(1)
            entry = wire.sending(channel)
            channel.load(entry)
            channel.load(wire.sending(channel, purpose=lifecycle.EXIT))
            aimed = channel.aim(live_run())
            channel.close()
            return aimed is None

    assert asyncio.run(main())


def test_one_persons_aimed_accounts_keep_one_pace() -> None:
    """Bug: accounts that were aimed together each found the same room in the pace. Of three orders
    two leave here, and one waits."""

    async def main() -> tuple[list[int], list[bool]]:
        async with wire.broker(taking) as (url, _):
            pacer = Pacer([Window(60.0, 2, ALL_CALLS)])
            listeners = [wire.Told(), wire.Told(), wire.Told()]
            channels: list[Channel] = [wire.channel(url, listener) for listener in listeners]
            shots = []
            for channel in channels:
                channel.pacer = pacer
                await channel.warm_up(1)
                intent = wire.sending(channel)
                channel.load(intent)
                shots.append(channel.aim(live_run()))
            for shot in shots:
                assert shot is not None
                shot.channel.shoot(shot, clock.monotonic())
            waiting = [channel.is_waiting for channel in channels]
            for channel in channels:
                channel.close()
            return [len(listener.sent) for listener in listeners], waiting

    assert asyncio.run(main()) == ([1, 1, 0], [False, False, True])


def asked_again(run: LiveRun, *, owned: bool = True, **given: Any) -> str:
    """What an entry of ``run`` that was aimed is told as it is shot."""
    ownership = OwnsAll()
    ownership.owned = owned
    sender = Parts(ownership=ownership, **given).sender
    return sender.why_no_longer(live_intent(), run, clock.monotonic())


def test_lease_clock_and_switch_are_asked_again_at_the_shot() -> None:
    now, minute = clock.now(), dt.timedelta(minutes=1)
    due = live_run(entry_at=now - minute, grace_until=now + minute)
    thrown = SimpleNamespace(current=Control(clock.monotonic(), platform=True))
    unread = SimpleNamespace(current=Control(clock.monotonic() - 60))

    assert asked_again(due) == ""
    assert asked_again(due, owned=False) == "FENCED"
    assert asked_again(due, control=thrown) == "KILL_SWITCH"
    assert asked_again(due, control=unread) == "CONTROL_UNREACHABLE"
    assert asked_again(live_run(entry_at=now + minute, grace_until=now + 2 * minute)) == EARLY
    assert asked_again(live_run(entry_at=now - 2 * minute, grace_until=now - minute)) == (
        "GRACE_OVER"
    )
