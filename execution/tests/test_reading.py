"""What the executor reads of brokers: whole, bounded, and by the account's own way."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import tracemalloc
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from brokers import transport_async
from brokers.base import Credentials, HttpRequest, HttpResponse, Outcome
from brokers.routes import Route
from brokers.services.login import exchange_code
from brokers.tests import loopback
from brokers.transport_sync import Limits, TransportError
from brokers.wire_values import MAX_BODY_BYTES
from execution import lifecycle
from execution.engine.books.book_reader import MOST_ORDERS
from execution.engine.memory.actors import Actor
from execution.engine.runtime.call_slots import CallSlots
from execution.engine.wire.channel import Channel
from execution.tests import wire
from execution.tests.parts import Parts

OPENED = b'{"status": "success", "data": {"order_id": "151220000000000"}}'


def book(size: int) -> tuple[bytes, int]:
    """A Kite order book of about ``size`` bytes, and how many orders are in it."""
    row = {"status": "COMPLETE", "quantity": 65, "filled_quantity": 65, "average_price": 101.5}
    row_bytes = len(json.dumps({"order_id": "1" * 15, "tag": "Q" + "A" * 13, **row})) + 2
    count = max(1, size // row_bytes)
    rows = [{"order_id": f"{n:015}", "tag": f"Q{n:012}1", **row} for n in range(count)]
    return json.dumps({"status": "success", "data": rows}).encode(), count


def read_book(url: str) -> HttpResponse | None:
    """One book read as the poller makes it."""

    async def main() -> HttpResponse | None:
        channel = wire.channel(url, wire.Told())
        calls = Parts(channel).calls
        try:
            return await calls.fetch(channel, wire.ADAPTER.order_book(wire.SESSION))
        finally:
            await calls.close()

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("size", "piece"),
    [(5_000, 1_448), (400_000, 65_536), (3_000_000, 1_448), (5_000, 10)],
    ids=["5 kB in segments", "400 kB", "3 MB", "10-byte pieces"],
)
def test_a_book_in_pieces_is_read_whole(size: int, piece: int) -> None:
    payload, count = book(size)
    with loopback.server(loopback.in_pieces(payload, piece)) as (url, _):
        answer = read_book(url)
    assert answer is not None
    book_read = wire.ADAPTER.parse_order_book(answer)
    assert (book_read.ok, len(book_read.orders)) == (True, count)


def test_a_chunked_book_packed_with_gzip_is_read_whole() -> None:
    payload, count = book(400_000)
    packed = gzip.compress(payload)
    chunks = [packed[start : start + 700] for start in range(0, len(packed), 700)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    behave = loopback.in_pieces(
        framed, 1_448, "Transfer-Encoding: chunked", "Content-Encoding: gzip"
    )
    with loopback.server(behave) as (url, _):
        answer = read_book(url)
    assert answer is not None
    assert len(wire.ADAPTER.parse_order_book(answer).orders) == count


def ask(url: str, limits: Limits) -> TransportError:
    """How a read that must not succeed ends."""

    async def main() -> TransportError:
        clients = transport_async.Clients(connections=1)
        try:
            with pytest.raises(TransportError) as caught:
                await clients.send(HttpRequest("GET", "/orders"), Route.of(url), limits=limits)
        finally:
            await clients.close()
        return caught.value

    return asyncio.run(main())


def _endless(connection: Any, request: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
    for _ in range(50):
        connection.sendall(b"x" * 1_000_000)


def _bomb(connection: Any, request: bytes) -> None:
    packed = gzip.compress(b"0" * 50_000_000)
    loopback.reply(packed, "200 OK", "Content-Encoding: gzip")(connection, request)


@pytest.mark.parametrize("behave", [_endless, _bomb], ids=["plain", "packed"])
def test_a_book_of_50_mb_is_refused_by_name_in_bounded_memory(behave: loopback.Behaviour) -> None:
    with loopback.server(behave) as (url, _):
        tracemalloc.start()
        error = ask(url, Limits(connect=5, read=30))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert error.outcome is Outcome.UNKNOWN
    assert error.message == f"answer larger than {MAX_BODY_BYTES} bytes"
    # The packed one is made in this process as well: 50 MB of zeros, freed before it is sent.
    assert peak < (3 * MAX_BODY_BYTES if behave is _endless else 50_000_000 + 3 * MAX_BODY_BYTES)


def test_a_drip_that_never_ends_is_ended_by_the_deadline() -> None:
    def drip(connection: Any, request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:  # until the other side has gone
            connection.sendall(b"1\r\nx\r\n")
            connection.settimeout(0.02)
            try:
                if not connection.recv(1):
                    return
            except TimeoutError:
                continue

    with loopback.server(drip) as (url, _):
        assert ask(url, Limits(connect=0.5, read=0.5)).outcome is Outcome.UNKNOWN


def test_hanging_readers_keep_nobody_elses_place() -> None:
    """One place for reads: the healthy account's book is read while the other's hangs."""

    async def main() -> tuple[bool, bool]:
        left = asyncio.Event()

        async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(65536):
                pass
            writer.close()
            left.set()

        silent = await asyncio.start_server(hang, "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        async with wire.broker(lambda request, before: wire.reply(book(500)[0])) as (url, _):
            told = wire.Told()
            hanging = wire.channel(f"http://127.0.0.1:{port}", told)
            other = wire.REAL._replace(client_id="AB5678")
            healthy = wire.channel(url, told, account_id=2, real=other)
            parts = Parts(hanging, healthy)
            parts.calls._slots["zerodha"] = CallSlots(1)
            waiting = asyncio.create_task(parts.reader.positions(parts.actor_of(hanging)))
            await asyncio.sleep(0)
            read = await parts.reader.positions(parts.actor_of(healthy))
            done = waiting.done()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            await parts.calls.close()
            await left.wait()
            silent.close()
            return read is not None, done

    assert asyncio.run(main()) == (True, False)


def test_a_book_of_ten_thousand_orders_does_not_stop_the_loop() -> None:
    """It was parsed in the loop: everybody's orders stood still for the better part of a second."""
    payload, count = book(2_500_000)
    threads: set[str] = set()

    def parse(response: HttpResponse) -> int:
        threads.add(threading.current_thread().name)
        return len(wire.ADAPTER.parse_order_book(response).orders)

    async def main() -> tuple[int, int]:
        calls = Parts().calls
        large = await calls.parse(parse, HttpResponse(200, {}, payload))
        small = await calls.parse(parse, HttpResponse(200, {}, book(500)[0]))
        return large, small

    assert asyncio.run(main()) == (count, book(500)[1])
    assert len(threads - {threading.current_thread().name}) == 1
    assert threading.current_thread().name in threads  # the small one


# -- of one account, by several sessions --------------------------------------------------------
DEAD = b'{"status": "error", "message": "Invalid token", "error_type": "TokenException"}'


def two_rows(urls: Sequence[str]) -> tuple[Parts, Actor]:
    """Parts with one real account, for which two rows of ours stand."""
    told, parts = wire.Told(), Parts()
    for number, url in enumerate(urls, start=1):
        parts.channels.keep(wire.channel(url, told, account_id=number))
    actor = parts.actors.at(1)
    assert actor is not None
    return parts, actor


def test_a_dead_sessions_book_is_read_with_the_other() -> None:
    """Both rows' orders stand in it. Before, a row without a session learnt nothing of its own."""

    async def main() -> tuple[int, set[int], int]:
        dead = lambda request, before: wire.reply(DEAD, "403 Forbidden")  # noqa: E731
        alive = lambda request, before: wire.reply(book(500)[0])  # noqa: E731
        async with wire.broker(dead) as (first, asked), wire.broker(alive) as (second, _):
            parts, actor = two_rows([first, second])
            first_read = await parts.reader.orders(actor)
            second_read = await parts.reader.orders(actor)
            await parts.calls.close()
            assert second_read is not None
            return len(first_read or ()), set(parts.channels.by_account), len(asked)

    orders, left, asked = asyncio.run(main())
    assert (orders, left) == (book(500)[1], {2})
    assert asked == 1, "nothing is asked with a dead session again"


def test_a_book_of_more_orders_than_a_day_has_is_not_believed() -> None:
    """Each of its rows would be looked at in the loop."""
    rows = [{"order_id": f"{number:015}", "quantity": 0} for number in range(MOST_ORDERS + 1)]

    async def main(count: int) -> int | None:
        body = json.dumps({"status": "success", "data": rows[:count]}).encode()
        async with wire.broker(lambda request, before: wire.reply(body)) as (url, _):
            parts, actor = two_rows([url])
            reports = await parts.reader.orders(actor)
            await parts.calls.close()
            return None if reports is None else len(reports)

    assert asyncio.run(main(MOST_ORDERS)) == MOST_ORDERS
    assert asyncio.run(main(MOST_ORDERS + 1)) is None


def test_who_was_not_answered_last_time_is_asked_last() -> None:
    """The way of one row may be broken where that of the other is not."""

    async def main() -> list[int | None]:
        alive = lambda request, before: wire.reply(book(500)[0])  # noqa: E731
        async with wire.broker(alive) as (url, _):
            parts, actor = two_rows(["http://127.0.0.1:9", url])
            asked: list[int | None] = []
            for _ in range(3):
                reader = actor.reader()
                asked.append(None if reader is None else reader.account_id)
                await parts.reader.orders(actor)
            await parts.calls.close()
            return asked

    assert asyncio.run(main()) == [1, 2, 2]


def test_an_order_is_cancelled_by_its_row_or_any_living() -> None:
    """An order's own row cancels it, or any other living row of the account."""

    async def main() -> list[int | None]:
        _, actor = two_rows(["http://127.0.0.1:9", "http://127.0.0.1:9"])
        seen = [actor.changer(2), actor.changer(3)]
        actor.channels.pop(2)
        seen.append(actor.changer(2))
        return [None if channel is None else channel.account_id for channel in seen]

    assert asyncio.run(main()) == [2, 1, 1]


# -- by which way ----------------------------------------------------------------------------------
Call = Callable[[Channel, Parts], Awaitable[object]]


async def _order(channel: Channel, parts: Parts) -> None:
    await channel.warm_up(1)
    channel.submit(wire.sending(channel))


async def _cancel(channel: Channel, parts: Parts) -> None:
    intent = wire.sending(channel, state=lifecycle.ACCEPTED, broker_order_id="151220000000000")
    await parts.cancels.send(intent)


async def _book(channel: Channel, parts: Parts) -> None:
    await parts.calls.fetch(channel, wire.ADAPTER.order_book(wire.SESSION))


async def _positions(channel: Channel, parts: Parts) -> None:
    await parts.reader.positions(parts.actor_of(channel))


@pytest.mark.parametrize(
    "call", [_order, _cancel, _book, _positions], ids=["order", "cancel", "book", "positions"]
)
@pytest.mark.parametrize(
    ("egress", "peer"), [("127.0.0.2", "127.0.0.2"), ("127.0.0.3", "127.0.0.3"), ("", "127.0.0.1")]
)
def test_everything_leaves_by_the_accounts_egress(call: Call, egress: str, peer: str) -> None:
    async def main() -> list[wire.Request]:
        async with wire.broker(lambda request, before: wire.reply(OPENED)) as (url, seen):
            told = wire.Told()
            channel = wire.channel(url, told, egress=egress)
            parts = Parts(channel)
            await call(channel, parts)
            if call is _order:
                await told.until(lambda told: bool(told.answers))
            channel.close()
            await parts.calls.close()
            return seen

    assert [address for address, _ in asyncio.run(main())] == [peer]


def test_two_accounts_with_an_egress_each_share_no_connection() -> None:
    async def main() -> list[wire.Request]:
        async with wire.broker(lambda request, before: wire.reply(OPENED)) as (url, seen):
            clients = transport_async.Clients(connections=4)
            for egress in ("127.0.0.2", "127.0.0.3", "127.0.0.2"):
                await clients.send(HttpRequest("GET", "/orders"), Route.of(url, egress))
            await clients.close()
            return seen

    assert [peer for peer, _ in asyncio.run(main())] == ["127.0.0.2", "127.0.0.3", "127.0.0.2"]


def test_a_login_leaves_by_the_accounts_egress_too(settings: Any) -> None:
    peers: list[str] = []

    def note(connection: Any, request: bytes) -> None:
        peers.append(connection.getpeername()[0])
        loopback.reply(b"{}")(connection, request)

    with loopback.server(note) as (url, _):
        settings.QUANTLEAP_BROKERS = {"zerodha": {"api": url, "login": url, "instruments": url}}
        exchange_code("zerodha", Credentials("AB1234", "key", "secret"), "code", egress="127.0.0.2")
    assert peers == ["127.0.0.2"]


@pytest.mark.parametrize(
    ("egress", "source", "proxy"),
    [
        ("", "", ""),
        ("203.0.113.7", "203.0.113.7", ""),
        ("2001:db8::7", "2001:db8::7", ""),
        ("http://user:secret@10.0.0.9:3128", "", "http://user:secret@10.0.0.9:3128"),
    ],
)
def test_a_route_is_a_source_address_or_a_proxy(egress: str, source: str, proxy: str) -> None:
    route = Route.of("https://api.example.com", egress)
    assert (route.source, route.proxy) == (source, proxy)
    assert "secret" not in repr(route)


def test_what_is_no_egress_is_no_route() -> None:
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 address"):
        Route.of("https://api.example.com", "proxy.example.com:3128")
