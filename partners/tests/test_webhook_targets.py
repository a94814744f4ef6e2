"""No URL that a partner enters reaches anything but a public server over https."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from partners.webhooks import http
from partners.webhooks.events import EVENT_TYPES, MAX_BODY_BYTES, build_body
from partners.webhooks.http import Sender, _PublicResolver, check_target
from quantleap.core import clock
from quantleap.core.ip_addresses import parse_address
from quantleap.core.outbound_targets import UnsafeTarget, is_public

INNER = [
    "127.0.0.1",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fd00::1",
    "ff02::1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "64:ff9b:1::1",
    "2002:a00:1::1",
    "2001:0:a00:1::1",
    "2001:2::1",
    "2001:db8::1",
    "fec0::1",
    "::7f00:1",
    "::ffff:0:7f00:1",
    "4000::1",
    "192.88.99.1",
    "192.0.0.9",
    "198.18.0.1",
    "192.0.2.1",
]

# Text that stays within the shape of a URL and is loopback for some parser, resolver or library.
LOOPBACK_SPELLINGS = [
    "127.0.0.1",
    "１２７.0.0.1",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "127.0.0。1",
    "𝟏𝟐𝟕.0.0.1",
    "2130706433",
    "０x7f.1",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "127.1",
    "127.0.0.1.",
    "0",
    "[::1]",
    "[::1%1]",
    "[::1%25lo]",
    "[::ffff:127.0.0.1]",
    "[0:0:0:0:0:ffff:7f00:1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "localhost",
    "ｌocalhost",
    "a.localhost",
]


@pytest.fixture
def production(settings: Any) -> None:
    settings.QUANTLEAP_PROFILE = "production"


@pytest.mark.parametrize("text", INNER)
def test_inner_addresses_are_not_public(text: str) -> None:
    address = parse_address(text)
    assert address is not None
    assert not is_public(address, loopback=False)


@pytest.mark.parametrize("text", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_are(text: str) -> None:
    address = parse_address(text)
    assert address is not None
    assert is_public(address, loopback=False)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook",
        "ftp://example.com/",
        "https://",
        "https:///x",
        "https://user@example.com/",
        "https://user:pw@example.com/",
        "https://example.com/#x",
        "https://example.com/#",
        "https://..com/",
        "https://example..com/",
        "https://.example.com/",
        "https://example.com./",
        "https://exa mple.com/",
        "https://example.com/a b",
        " https://example.com/",
        "https://example.com/\r\nX-Injected: 1",
        "https://exam\tple.com/",
        "https://example.com\n",
        "https://example.com/\x00",
        "https://example.com\u2028/",
        "https://example.com\\@10.0.0.1/",
        "https://exam_ple.com/",
        "https://-example.com/",
        "https://xn--a.com/",
        "https://\u212aite.com/",
        "https://example.com:/",
        "https://example.com:+443/",
        "https://example.com:４４３/",
        "https://[::1].example.com/",
        "https://[127.0.0.1]/",
        "https://1.2.3.4.5/",
        "https://4.4.4.256/",
        "https://example.com/%zz",
        "https://example.com/é",
        "https:example.com/",
        "//example.com/",
        "javascript:alert(1)",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://[::1/",
        "http://127.0.0.1/",
        "http://localhost/",
        "",
        "example.com",
        *(f"https://[{text}]/" if ":" in text else f"https://{text}/" for text in INNER),
    ],
)
@pytest.mark.usefixtures("production")
def test_unsafe_urls_are_refused(url: str) -> None:
    with pytest.raises(UnsafeTarget):
        check_target(url)


@pytest.mark.parametrize("url", ["https://example.com/hook", "https://8.8.8.8:8443/x?y=1"])
@pytest.mark.usefixtures("production")
def test_public_https_is_called(url: str) -> None:
    assert check_target(url).url == url


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("HTTPS://Example.COM:443/Hook", "https://example.com/Hook"),
        ("https://Bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://straße.example", "https://xn--strae-oqa.example"),
        ("https://[2606:4700:4700:0::1111]:8443/", "https://[2606:4700:4700::1111]:8443/"),
        ("https://[::ffff:8.8.8.8]/", "https://8.8.8.8/"),
    ],
)
@pytest.mark.usefixtures("production")
def test_a_url_is_stored_in_the_one_spelling_that_is_called(typed: str, stored: str) -> None:
    assert check_target(typed).url == stored
    assert check_target(stored).url == stored


class Listener:
    """A real server on this machine that counts who connects."""

    def __init__(self) -> None:
        self.connections = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._count, daemon=True)
        self._thread.start()

    def _count(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


@pytest.mark.usefixtures("production")
@pytest.mark.parametrize("host", LOOPBACK_SPELLINGS)
def test_no_spelling_of_this_machine_passes_the_form(host: str) -> None:
    with pytest.raises(UnsafeTarget):
        check_target(f"https://{host}/")


@dataclass(frozen=True)
class _AsTyped:
    """What a check that trusted the text would hand on."""

    url: str


@pytest.mark.parametrize("host", LOOPBACK_SPELLINGS)
def test_no_spelling_of_this_machine_is_ever_called(
    host: str, listener: Listener, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """Even if the form let it pass."""
    url = f"http://{host}:{listener.port}/"
    monkeypatch.setattr(http, "check_target", _AsTyped)
    _answers(monkeypatch, "127.0.0.1")
    settings.QUANTLEAP_PROFILE = "production"
    for encoded in (True, False):  # False: the library maps and normalises, as it likes to
        monkeypatch.setattr(
            http, "URL", lambda text, encoded=encoded, **_: URL(text, encoded=encoded)
        )
        with Sender(1) as sender:
            outcome = sender.post(url, "{}", {}).result()
        assert outcome.status is None
    assert listener.connections == 0


def test_the_same_listener_hears_from_a_developers_machine(listener: Listener) -> None:
    with Sender(1) as sender:
        assert sender.post(f"http://127.0.0.1:{listener.port}/", "{}", {}).result().status is None
    assert listener.connections == 1


@pytest.mark.usefixtures("production")
def test_an_unresolved_address_is_checked_on_connect(listener: Listener) -> None:
    """aiohttp resolves nothing where it takes the host for an address."""
    info = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", listener.port))
    with pytest.raises(PermissionError, match="public"):
        http._dialled_socket(info)
    zoned = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1%lo", 1, 0, 1))
    with pytest.raises(PermissionError, match="public"):
        http._dialled_socket(zoned)
    with pytest.raises(PermissionError, match="public"):
        http._dialled_socket((socket.AF_UNIX, socket.SOCK_STREAM, 0, "", "/run/x.sock"))


@pytest.mark.usefixtures("production")
def test_a_name_that_turns_internal_is_not_called(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two look-ups."""
    asked: list[str] = []

    async def getaddrinfo(self: object, host: str, port: int, **kwargs: Any) -> list[Any]:
        asked.append(host)
        address = "8.8.8.8" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    dialled: list[str] = []

    def refuse_to_dial(info: Any) -> socket.socket:
        dialled.append(info[4][0])
        raise ConnectionRefusedError

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(http, "_dialled_socket", refuse_to_dial)
    with Sender(1) as sender:
        sender.post(f"https://example.com:{listener.port}/", "{}", {}).result()
    assert (asked, dialled) == (["example.com"], ["8.8.8.8"])
    monkeypatch.undo()


def test_proxies_of_the_environment_are_not_asked(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{listener.port}")
    _answers(monkeypatch, "127.0.0.1")
    with Sender(1) as sender:
        sender.post("http://localhost:9/hook", "{}", {}).result()
    assert listener.connections == 0


def test_only_a_developers_own_machine_may_use_http() -> None:
    for url in ("http://127.0.0.1:9000/hook", "http://localhost:9000/hook"):
        assert check_target(url).url == url
    for url in ("http://10.0.0.1/", "http://example.com/"):
        with pytest.raises(UnsafeTarget):
            check_target(url)


@given(st.text(max_size=200))
def test_no_text_breaks_the_check(url: str) -> None:
    try:
        check_target(url)
    except UnsafeTarget:
        return


def _answers(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    async def getaddrinfo(self: object, host: str, port: int, **kwargs: Any) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses
        ]

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", getaddrinfo)


@pytest.mark.usefixtures("production")
def test_a_name_with_one_inner_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _answers(monkeypatch, "8.8.8.8", "10.0.0.1")
    with pytest.raises(OSError, match="public"):
        asyncio.run(_PublicResolver().resolve("example.com", 443))
    _answers(monkeypatch, "8.8.8.8")
    hosts = asyncio.run(_PublicResolver().resolve("example.com", 443))
    assert [host["host"] for host in hosts] == ["8.8.8.8"]


@pytest.mark.usefixtures("production")
@pytest.mark.parametrize("host", ["example.com", "inner.example.com"])
def test_the_connection_itself_is_guarded(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _answers(monkeypatch, "127.0.0.1")
    with Sender(2) as sender:
        outcome = sender.post(f"https://{host}/hook", "{}", {}).result()
    assert outcome.status is None
    assert "public" in outcome.error


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=2000),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=50), inner),
    max_leaves=60,
)


@given(st.sampled_from(sorted(EVENT_TYPES)), st.dictionaries(st.text(max_size=100), json_values))
def test_every_body_fits_and_says_its_type(type: str, data: dict[str, Any]) -> None:
    body = build_body(type, data, clock.now(), about="sub_1", sequence=7)
    assert len(body.encode()) <= MAX_BODY_BYTES
    assert json.loads(body)["type"] == type


def test_a_large_body_is_shortened_and_says_so() -> None:
    data = {"error": "x" * 30_000, "subscription_id": "sub_1", "broker_response": {"code": "A"}}
    body = json.loads(build_body("execution.failed", data, clock.now(), about="exe_1", sequence=7))
    assert body["truncated"] is True
    assert body["data"]["subscription_id"] == "sub_1"
    assert body["broker_response"] == {"code": "A"}
    assert len(body["data"]["error"]) == 500
