"""Connections ahead of T: nobody waits for a broker that does not answer."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
from typing import Any

import pytest

from brokers.base import Session
from brokers.selectors import TradingAccount
from brokers.tests import loopback
from execution.engine.orders.accounts import Accounts
from execution.engine.runtime.call_slots import CallSlots
from execution.engine.wire.channel import Channel
from execution.tests import wire
from execution.tests.parts import Parts


def make_accounts(*channels: tuple[int, Channel]) -> Accounts:
    """The accounts of an executor that has only these channels."""
    parts = Parts()
    parts.channels.by_account.update(channels)
    return parts.accounts


async def is_open(channel: Channel) -> None:
    """Wait until the channel has a connection; TimeoutError after 4 s (a connect may take 5)."""
    async with asyncio.timeout(4):
        while channel._idle() is None:
            await asyncio.sleep(0.01)


def test_silent_brokers_keep_nobody_waiting() -> None:
    """One broker swallows SYNs, one is mute in TLS. Seen: orders of the healthy were 8 to 20 s
    late, and then MISSED. The queue has one place here, and the dead may not keep it."""

    async def main() -> tuple[list[bool], list[bool]]:
        mute = socket.create_server(("127.0.0.1", 0))
        with mute, loopback.Swallower() as swallower:
            async with wire.broker(lambda request, before: wire.reply(b"{}")) as (url, _):
                told = wire.Told()
                urls = {
                    1: f"http://127.0.0.1:{swallower.port}",
                    2: f"https://127.0.0.1:{mute.getsockname()[1]}",
                    3: url,
                }
                slots = CallSlots(1)
                channels = {
                    key: wire.channel(where, told, slots=slots) for key, where in urls.items()
                }
                accounts = make_accounts(*channels.items())
                accounts.warm_up(urls)  # returns at once: it is no coroutine
                await is_open(channels[3])
                dead = [channels[key]._idle() is None for key in (1, 2)]
                trying = [channel in accounts._warming for channel in channels.values()]
                for channel in channels.values():
                    channel.close()
                for task in list(accounts._warming.values()):
                    task.cancel()
                await asyncio.gather(*accounts._warming.values(), return_exceptions=True)
                mute.close()
                for _ in range(5):  # a handshake that was called off closes its socket by and by
                    await asyncio.sleep(0)
                return dead, trying[:2]

    assert asyncio.run(main()) == ([True, True], [True, True])


def test_no_connect_begins_while_orders_leave() -> None:
    async def main() -> tuple[bool, bool]:
        async with wire.broker(lambda request, before: wire.reply(b"{}")) as (url, _):
            channel = wire.channel(url, wire.Told())
            parts = Parts(channel)
            quiet, accounts = parts.quiet, parts.accounts
            quiet.begin(7)
            accounts.warm_up([1])
            for _ in range(5):
                await asyncio.sleep(0.01)
            during = channel._idle() is None
            quiet.end(7)
            await is_open(channel)
            channel.close()
            return during, True

    assert asyncio.run(main()) == (True, True)


def test_an_order_leaves_as_soon_as_its_connect_is_done() -> None:
    """The connect was under way when the order was submitted."""

    async def main() -> int:
        async with wire.broker(lambda request, before: wire.reply(b"{}")) as (url, _):
            told = wire.Told()
            channel = wire.channel(url, told)
            accounts = make_accounts((1, channel))
            accounts.warm_up([1])
            channel.submit(wire.sending(channel))
            await told.until(lambda told: bool(told.answers))
            accounts.close()
            channel.close()
            await asyncio.gather(*accounts._warming.values(), return_exceptions=True)
            return len(told.sent)

    assert asyncio.run(main()) == 1


@pytest.mark.parametrize(
    ("egress", "problem"),
    [
        ("", ""),
        ("203.0.113.7", ""),
        ("http://10.0.0.9:3128", "EGRESS"),
        ("nonsense", "EGRESS"),
    ],
)
def test_an_egress_no_order_can_take_is_the_accounts_problem(
    egress: str, problem: str, settings: Any
) -> None:
    api = "http://127.0.0.1:9"
    settings.QUANTLEAP_BROKERS = {"zerodha": {"api": api, "login": api, "instruments": api}}
    session = Session("AB1234", "key", "token")
    account = TradingAccount(1, "zerodha", "AB1234", "live", egress, session, "")

    async def main() -> tuple[str, str]:
        accounts = Parts().accounts
        route = accounts._route(account)
        return accounts._problem(account), "none" if route is None else route.source

    assert asyncio.run(main()) == (problem, "none" if problem else egress)


def test_what_is_open_is_closed_by_the_last_known_route(settings: Any) -> None:
    """With an egress that orders cannot take, or a broker that was switched off, no entry leaves,
    and exits take the last route that the broker knew. Seen: the old channel was kept by chance,
    with the old session."""
    api = "https://broker.example"
    settings.QUANTLEAP_BROKERS = {"zerodha": {"api": api, "login": api, "instruments": api}}
    session = Session("AB1234", "key", "token")
    good = TradingAccount(1, "zerodha", "AB1234", "live", "203.0.113.7", session, "")
    bad = dataclasses.replace(good, egress="http://10.0.0.9:3128")
    other = dataclasses.replace(bad, account_id=2)

    async def main() -> list[tuple[str, str]]:
        accounts = Parts().accounts
        seen = []
        for account, enabled in ((good, True), (bad, True), (good, False), (other, True)):
            settings.QUANTLEAP_LIVE_BROKERS = ["zerodha"] if enabled else []
            route = accounts._route(account)
            seen.append((accounts._problem(account), route.source if route else "none"))
        return seen

    assert asyncio.run(main()) == [
        ("", "203.0.113.7"),
        ("EGRESS", "203.0.113.7"),
        ("BROKER_NOT_ENABLED", "203.0.113.7"),
        ("EGRESS", "none"),
    ]


def test_rows_of_one_real_account_share_a_pace_not_a_route(settings: Any) -> None:
    """Each row leaves by its own route, but the broker counts the calls of one person at two
    partners together."""
    api = "http://127.0.0.1:9"
    settings.QUANTLEAP_BROKERS = {"zerodha": {"api": api, "login": api, "instruments": api}}
    session = Session("AB1234", "key", "token")
    here = TradingAccount(1, "zerodha", "AB1234", "live", "203.0.113.7", session, "")
    there = dataclasses.replace(here, account_id=2, egress="203.0.113.8")
    elsewhere = dataclasses.replace(here, account_id=3, client_id="CD5678")

    async def main() -> tuple[list[Channel], list[bool]]:
        parts = Parts()
        for account in (here, there, elsewhere):
            route = parts.accounts._route(account)
            assert route is not None
            pacer = parts.accounts._pacer(account, 0)
            parts.channels.keep(
                parts.factory.broker(account, session=session, route=route, shard=0, pacer=pacer)
            )
        channels = [parts.channels.by_account[number] for number in (1, 2, 3)]
        actors = [parts.actors.at(number) for number in (1, 2, 3)]
        return channels, [actors[0] is actors[1], actors[0] is actors[2]]

    channels, same_actor = asyncio.run(main())
    paces = [channel.pacer for channel in channels]
    assert [paces[0] is paces[1], paces[0] is paces[2]] == [True, False]
    assert [channel.route.source for channel in channels[:2]] == ["203.0.113.7", "203.0.113.8"]
    assert same_actor == [True, False]


def test_a_stop_closes_what_a_lost_session_left(settings: Any) -> None:
    """Seen: a lost session left its channel waiting for an answer. A timer was to close it, which
    dies with the loop, so its sockets stayed open."""

    async def main() -> tuple[bool, bool]:
        silent, closed = asyncio.Event(), asyncio.Event()

        async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            silent.set()
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            closed.set()

        server = await asyncio.start_server(swallow, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        parts = Parts()
        channel = wire.channel(url, wire.Told())
        parts.channels.keep(channel)
        channel.submit(wire.sending(channel))
        async with asyncio.timeout(20):
            await silent.wait()
        parts.channels.retire(channel.account_id)
        during = channel.is_connected
        parts.accounts.close()
        async with asyncio.timeout(20):
            await closed.wait()
        server.close()
        return during, channel.is_connected

    assert asyncio.run(main()) == (True, False)
