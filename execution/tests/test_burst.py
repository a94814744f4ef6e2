"""How long an entry keeps everything else quiet after its second."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import cast

from execution.engine.entries.burst import Burst
from execution.engine.wire.channel import Channel
from quantleap.core import clock

AN_HOUR = 3600.0


@dataclass(slots=True)
class Account:
    """What is asked of a channel: whether orders are left, and a connection to carry them."""

    is_waiting: bool
    is_connected: bool = True


def wait_with(accounts: list[Account]) -> asyncio.Task[None]:
    """The wait for an entry whose second is an hour away, so that it ends by what it sees."""
    channels = [cast(Channel, account) for account in accounts]
    deadline = clock.monotonic() + AN_HOUR
    return asyncio.create_task(Burst.until_nearly_all_left(channels, deadline))


def test_an_account_that_hangs_ends_nobodys_quiet_later() -> None:
    """Seen: its order, which no connection carried, kept two hundred others' next steps back."""

    async def story() -> None:
        hanging = Account(is_waiting=True, is_connected=False)
        await asyncio.wait_for(wait_with([hanging]), 30)

    asyncio.run(story())


def test_the_last_few_end_nobodys_quiet_later() -> None:
    async def story() -> None:
        slow = [Account(is_waiting=True) for _ in range(10)]
        await asyncio.wait_for(wait_with([*slow, *(Account(False) for _ in range(190))]), 30)

    asyncio.run(story())


def test_many_accounts_with_orders_waiting_are_waited_for() -> None:
    """The wait ends as soon as these accounts have no orders left."""

    async def story() -> None:
        accounts = [Account(is_waiting=True) for _ in range(200)]
        waiting = wait_with(accounts)
        done, _ = await asyncio.wait({waiting}, timeout=0.05)
        assert not done
        for account in accounts:
            account.is_waiting = False
        await asyncio.wait_for(waiting, 30)

    asyncio.run(story())
