"""A host with several addresses, some of them dead, as ``requests`` meets it."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from brokers import dial, transport_sync
from brokers.base import HttpRequest, Outcome
from brokers.tests import loopback
from brokers.transport_sync import Limits, TransportError

READ = HttpRequest("GET", "/quote")
LIMITS = Limits(connect=1.0, read=2.0)
HOST = "broker.example"


@pytest.fixture(autouse=True)
def _two_families(monkeypatch: pytest.MonkeyPatch) -> None:
    """``HOST`` has an AAAA record first and an A record second, both of this machine."""
    ask = socket.getaddrinfo

    def answer(host: Any, port: Any, family: int = 0, *rest: Any, **named: Any) -> Any:
        if host != HOST:
            return ask(host, port, family, *rest, **named)
        rows = [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]
        return [row for row in rows if family in (0, row[0])]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


@pytest.mark.parametrize("egress", ["", "127.0.0.2"])
def test_a_dead_aaaa_record_costs_no_quote(egress: str) -> None:
    peers: list[str] = []

    def note(connection: socket.socket, request: bytes) -> None:
        peers.append(connection.getpeername()[0])
        loopback.reply(b"{}")(connection, request)

    with loopback.server(note) as (url, _):
        named = f"http://{HOST}:{port_of(url)}"
        assert transport_sync.send(READ, base_url=named, egress=egress, limits=LIMITS).status == 200
    assert peers == [egress or "127.0.0.1"]


def test_an_aaaa_record_that_swallows_syns_is_passed_by() -> None:
    """urllib3 gives each address the whole time-out: here the second would never have its turn."""
    with (
        loopback.server(loopback.reply(b"{}")) as (url, _),
        loopback.Swallower("::1", port_of(url)),
        dial.dial(HOST, port_of(url), timeout=60) as connection,
    ):
        assert connection.getpeername()[0] == "127.0.0.1"


def test_the_time_out_is_over_all_addresses() -> None:
    with loopback.Swallower() as four, loopback.Swallower("::1", four.port):
        with pytest.raises(TransportError) as caught:
            transport_sync.send(READ, base_url=f"http://{HOST}:{four.port}", limits=LIMITS)
        assert caught.value.outcome is Outcome.NOT_SENT
        assert caught.value.message == "ConnectTimeout"


def test_all_addresses_refuse() -> None:
    with pytest.raises(ConnectionRefusedError):
        dial.dial(HOST, loopback.refused_port(), timeout=1)


def test_an_egress_of_another_family_than_the_hosts_is_not_sent() -> None:
    with (
        loopback.server(loopback.reply(b"{}")) as (url, seen),
        pytest.raises(TransportError) as caught,
    ):
        transport_sync.send(READ, base_url=url, egress="::1", limits=LIMITS)
    assert (caught.value.outcome, seen) == (Outcome.NOT_SENT, [])


def test_families_take_turns() -> None:
    six = [(socket.AF_INET6, 1, 6, "", (f"2001:db8::{n}", 1, 0, 0)) for n in (1, 2)]
    four = [(socket.AF_INET, 1, 6, "", ("192.0.2.1", 1))]
    assert dial._interleaved([*six, *four]) == [six[0], four[0], six[1]]
