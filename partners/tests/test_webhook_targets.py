"""No URL that a partner types in reaches anything but a public server over https."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partners.webhooks.events import EVENT_TYPES, MAX_BODY_BYTES, build_body
from partners.webhooks.http import Sender, UnsafeTarget, _PublicResolver, check_target, is_public
from quantleap.core import clock
from quantleap.core.addresses import parse_address

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
    "2002:a00:1::1",
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
    assert check_target(url) == url


def test_a_developers_own_machine_may_be_called_over_http_and_no_other() -> None:
    assert check_target("http://127.0.0.1:9000/hook")
    assert check_target("http://localhost:9000/hook")
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
    found = asyncio.run(_PublicResolver().resolve("example.com", 443))
    assert [one["host"] for one in found] == ["8.8.8.8"]


@pytest.mark.usefixtures("production")
@pytest.mark.parametrize("host", ["example.com", "2130706433", "0x7f.1"])
def test_the_connection_itself_is_guarded(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _answers(monkeypatch, "127.0.0.1")
    with Sender(2) as sender:
        outcome = sender.post(f"https://{host}/hook", "{}", {}).result()
    assert outcome.status is None
    assert "public" in outcome.error or "canonical" in outcome.error


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=2000),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=50), inner),
    max_leaves=60,
)


@given(st.sampled_from(sorted(EVENT_TYPES)), st.dictionaries(st.text(max_size=100), json_values))
def test_every_body_fits_and_says_its_type(type: str, data: dict[str, Any]) -> None:
    body = build_body(type, data, clock.now())
    assert len(body.encode()) <= MAX_BODY_BYTES
    assert json.loads(body)["type"] == type


def test_a_large_body_is_shortened_and_says_so() -> None:
    data = {"error": "x" * 30_000, "subscription_id": "sub_1", "broker_response": {"code": "A"}}
    body = json.loads(build_body("execution.failed", data, clock.now()))
    assert body["truncated"] is True
    assert body["data"]["subscription_id"] == "sub_1"
    assert body["broker_response"] == {"code": "A"}
    assert len(body["data"]["error"]) == 500
