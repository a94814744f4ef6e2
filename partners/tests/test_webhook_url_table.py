"""A table of URLs that lead inside: each is refused when it is entered, and again when dialled."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass
from typing import Any, Final

import pytest
from yarl import URL

from partners.models import WebhookEndpoint
from partners.tests.factories import make_partner
from partners.tests.sink import running_sink
from partners.webhooks import http
from partners.webhooks.http import Sender
from partners.webhooks.services import create_endpoint
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.errors import InvalidRequest

HOSTS: Final = (
    # full-width, circled, superscript, Arabic and mathematical digits; other full stops
    *("１２７.０.０.１", "127．0．0．1", "127。0。0。1", "127｡0｡0｡1", "①②⑦.⓪.⓪.①"),
    *("¹²⁷.0.0.1", "١٢٧.٠.٠.١", "𝟏𝟐𝟕.𝟎.𝟎.𝟏", "①②⑦.0.0.1", "1２7.0.0.1", "٨.٨.٨.٨"),
    *("ｌocalhost", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "𝓁ocalhost", "locaˡhost", "０x7f.1", "[２００１::1]", "[::１]"),
    # zones
    *("[fe80::1%251]", "[fe80::1%25lo]", "[fe80::1%1]", "[::1%251]", "[::1%25lo]", "[::1%1]"),
    *("127.0.0.1%1", "127.0.0.1%251", "127.0.0.1%25lo", "8.8.8.8%1", "[::ffff:8.8.8.8%1]"),
    # IPv4 within IPv6: mapped, compatible, translated, 6to4, NAT64, Teredo, ISATAP
    *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:1]", "[::ffff:10.0.0.1]"),
    *("[::ffff:169.254.169.254]", "[::127.0.0.1]", "[::7f00:1]", "[::ffff:0:127.0.0.1]"),
    *("[2002:7f00:1::]", "[2002:7f00:1::1]", "[2002:a9fe:a9fe::]", "[2002:c0a8:101::1]"),
    *("[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b::169.254.169.254]"),
    *("[64:ff9b:1::7f00:1]", "[2001:0:7f00:1::1]", "[2001::1]", "[2001:0:a00:1::5601:fefe]"),
    *("[2606:4700::5efe:7f00:1]", "[2606:4700::200:5efe:7f00:1]", "[fe80::5efe:7f00:1]"),
    # IPv4 in other spellings
    *("2130706433", "0x7f000001", "0X7F000001", "0x7f.1", "0x7f.0x0.0x0.0x1", "017700000001"),
    *("0177.1", "0177.0.0.1", "0177.0.0.01", "127.1", "127.0.1", "0", "00", "0.0", "0x0", "1.2.3"),
    *("127.0.0.1.", "127.0.0.01", "0000127.0.0.1", "127.0.0.0x1", "127.0.0.256", "3232235777"),
    *("127..0.0.1", ".127.0.0.1", "4294967297", "[127.0.0.1]", "[::1].example.com", "[::1", "::1"),
    # names
    *("localhost", "LOCALHOST", "localhost.", "a.localhost", "localhost.localdomain"),
    *("ip6-localhost", "router", "metadata.google.internal", "host.internal", "printer.local"),
    *("router.home.arpa", "nas.lan", "example.com.", "%31%32%37.0.0.1", "%6cocalhost"),
    *("127.0.0.1\u200b", "127.0.0.1\u00ad", "127.0.0.1\t", "127.0.0.1\\@example.com"),
    # addresses that are not public
    *("127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.0.1", "192.0.2.1", "198.18.0.1"),
    *("203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "[::1]", "[::]", "[fe80::1]"),
    *("[fd00::1]", "[fd00:ec2::254]", "[ff02::1]", "[fec0::1]", "[2001:db8::1]", "[100::1]"),
    *("[3fff::1]", "[5f00::1]", "[4000::1]", "[2001:2::1]"),
    # somebody before the @
    *("user@127.0.0.1", "example.com@127.0.0.1", "user:password@example.com", "@127.0.0.1"),
    *("example.com:443@127.0.0.1", "127.0.0.1#@example.com", "127.0.0.1\\.example.com"),
)


@pytest.fixture
def production(settings: Any) -> None:
    settings.QUANTLEAP_PROFILE = "production"


@dataclass(frozen=True)
class _AsTyped:
    """What a check that trusted the text would hand on."""

    url: str


def test_the_table_is_long() -> None:
    assert len(HOSTS) == len(set(HOSTS)) >= 100


@pytest.mark.django_db
@pytest.mark.usefixtures("production")
def test_none_of_them_becomes_an_endpoint() -> None:
    partner = make_partner()
    accepted = []
    for host in HOSTS:
        with contextlib.suppress(InvalidRequest):
            create_endpoint(
                partner_id=partner.pk,
                environment="live",
                url=f"https://{host}/hook",
                actor=SYSTEM,
                now=clock.now(),
            )
            accepted.append(host)
    assert accepted == []
    assert not WebhookEndpoint.objects.exists()
    # the control
    url = "https://hooks.example.com/hook"
    create_endpoint(
        partner_id=partner.pk, environment="live", url=url, actor=SYSTEM, now=clock.now()
    )
    assert WebhookEndpoint.objects.get().url == url


def _everything_is_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(self: object, host: str, port: int, **kwargs: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", getaddrinfo)


@pytest.mark.usefixtures("production")
@pytest.mark.parametrize("encoded", [True, False], ids=["as-typed", "normalised"])
def test_none_of_them_is_dialled(monkeypatch: pytest.MonkeyPatch, encoded: bool) -> None:
    """Even if the text was not checked, and every name resolves to this machine."""
    monkeypatch.setattr(http, "check_target", _AsTyped)
    monkeypatch.setattr(http, "URL", lambda text, **_: URL(text, encoded=encoded))
    # what is public stays unreachable in this test
    dialled: list[str] = []
    real = http._dialled_socket

    def watched(info: tuple[Any, ...]) -> socket.socket:
        opened = real(info)
        opened.close()
        dialled.append(info[4][0])
        raise ConnectionRefusedError

    monkeypatch.setattr(http, "_dialled_socket", watched)
    _everything_is_this_machine(monkeypatch)
    with running_sink() as sink, Sender(8) as sender:
        port = sink.url.rsplit(":", 1)[1].partition("/")[0]
        posts = [sender.post(f"http://{host}:{port}/hook", "{}", {}) for host in HOSTS]
        assert [post.result().status for post in posts] == [None] * len(HOSTS)
        assert sink.requests == []
    # literal public addresses that only their spelling makes wrong
    assert set(dialled) <= {"8.8.8.8"}


def test_a_developers_machine_does_dial() -> None:
    """The control: the same server hears it where loopback is allowed."""
    with running_sink() as sink, Sender(1) as sender:
        assert sender.post(sink.url, "{}", {}).result().status == 204
        assert len(sink.requests) == 1
