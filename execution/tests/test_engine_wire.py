"""A trading day behind a line that speaks TLS of a private authority, sends everything in pieces
and notes who comes from where."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from brokers import sealed_credentials
from brokers.models import BrokerAccount
from brokers.tests import loopback
from brokers.tests.certificates import Authority
from execution.models import Execution, OrderIntent
from execution.tests.installation import Installation, assert_filled, runs_closed, wait_until
from marketplace.tests.factories import make_iron_condor

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]
PIECE, APART = 97, 20
_TOKEN = re.compile(rb"uthorization: (?:token [^:]+:|Bearer )(\S+)")


class Pieces:
    """Forwards to one broker's port; what comes back begins with :data:`APART` small pieces."""

    def __init__(self, upstream: str, context: ssl.SSLContext) -> None:
        self._upstream = urlsplit(upstream)
        #: Peers by access token, of every request that carries one.
        self.peers: dict[str, set[str]] = defaultdict(set)
        self._ways: set[asyncio.Task[None]] = set()
        self._serving: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(10)
        self.url = f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def stop(self) -> None:
        """Close every connection and the port, and end the thread."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        for way in self._ways:
            way.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        peer = writer.get_extra_info("peername")[0]
        up_reader, up_writer = await asyncio.open_connection(
            self._upstream.hostname, self._upstream.port
        )

        async def to_broker() -> None:
            while data := await reader.read(65536):
                for token in _TOKEN.findall(data):
                    self.peers[token.decode()].add(peer)
                up_writer.write(data)

        async def to_client() -> None:
            while data := await up_reader.read(65536):
                for start in range(0, min(len(data), APART * PIECE), PIECE):
                    writer.write(data[start : start + PIECE])
                    await writer.drain()
                    await asyncio.sleep(0.0005)
                writer.write(data[APART * PIECE :])
                await writer.drain()

        ways = {asyncio.create_task(to_broker()), asyncio.create_task(to_client())}
        self._ways |= ways
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for stream in (writer, up_writer):
            stream.close()
            with contextlib.suppress(OSError):
                await stream.wait_closed()


@pytest.fixture
def lines(
    installation: Installation, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Pieces]]:
    """A line to each broker, in use from here on, of an authority that SSL_CERT_FILE names."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
    pieces = {
        kind: Pieces(urls["api"], authority.server())
        for kind, urls in settings.QUANTLEAP_BROKERS.items()
    }
    settings.QUANTLEAP_BROKERS = {
        kind: {**urls, "api": pieces[kind].url} for kind, urls in settings.QUANTLEAP_BROKERS.items()
    }
    yield pieces
    for line in pieces.values():
        line.stop()


def test_private_tls_books_in_pieces_and_egresses_end_flat(
    installation: Installation, lines: dict[str, Pieces], executor: Callable[[], Any]
) -> None:
    """With the first piece of each book read the entries were MISSED or COMMITTED for ever; books,
    positions and cancels left by the machine's own address; quotes knew only certifi's authorities,
    so that a private one ended in NO_QUOTE."""
    template = make_iron_condor(strategy=installation.entry_in(9, 8))
    accounts = installation.subscribe(template, 4)
    expected = {}
    for number, account in enumerate(accounts, start=5):
        address = f"127.0.0.{number}"
        BrokerAccount.objects.filter(pk=account.pk).update(
            egress=sealed_credentials.seal(account, "egress", address)
        )
        account.refresh_from_db()
        expected[sealed_credentials.session_of(account).access_token] = {address}
    executor()
    wait_until(runs_closed, 60)
    ends = {(e.status, e.cause, e.message) for e in Execution.objects.all()}
    assert ends == {("CLOSED", "", "")}
    assert_filled(OrderIntent.objects.all())
    positions = installation.control.ask("GET", "/positions")["positions"]
    assert all(row["quantity"] == 0 for row in positions)
    seen = {t: peers for line in lines.values() for t, peers in line.peers.items() if t in expected}
    assert seen == expected


def test_a_broker_that_swallows_syns_delays_nobody_else(
    installation: Installation, settings: Any, executor: Callable[[], Any]
) -> None:
    """Healthy orders were 8 s late. What never left says so, and has used up none of its sends."""
    with loopback.Swallower() as swallower:
        dead = f"http://127.0.0.1:{swallower.port}"
        settings.QUANTLEAP_BROKERS = {
            **settings.QUANTLEAP_BROKERS,
            "zebu": {**settings.QUANTLEAP_BROKERS["zebu"], "api": dead},
        }
        installation.subscribe(make_iron_condor(strategy=installation.entry_in(9, 18)), 4)
        executor()
        wait_until(runs_closed, 60)
    statuses = Execution.objects.values_list("account__broker", "status", "cause").distinct()
    assert set(statuses) == {("zerodha", "CLOSED", ""), ("zebu", "MISSED", "BROKER_DOWN")}
    never = OrderIntent.objects.filter(execution__account__broker="zebu", group=0)
    assert set(never.values_list("sends", "message")) == {(0, "no connection within 5 s")}
    healthy = OrderIntent.objects.filter(
        execution__account__broker="zerodha", purpose="ENTRY", group=0
    )
    late = [(i.sent_at - i.execution.run.entry_at).total_seconds() for i in healthy if i.sent_at]
    assert len(late) == healthy.count()
    assert max(late) < 3.0
