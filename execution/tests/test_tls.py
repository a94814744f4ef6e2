"""One TLS setting for every call to a broker, and its faults in words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from brokers import tls, transport_async, transport_sync
from brokers.base import HttpRequest, HttpResponse, Outcome
from brokers.tests import loopback
from brokers.tests.certificates import Authority
from brokers.transport_sync import Limits, TransportError
from execution.engine.wire.sockets import NotConnected, Target, open_socket

READ = HttpRequest("GET", "/orders")
QUICK = Limits(connect=2.0, read=2.0)


def _requests(url: str) -> HttpResponse:
    return transport_sync.send(READ, base_url=url, limits=QUICK)


def _line(url: str) -> HttpResponse:
    line = transport_sync.Line()
    try:
        return line.send(READ, base_url=url, limits=QUICK)
    finally:
        line.close()


def _aiohttp(url: str) -> HttpResponse:
    async def run() -> HttpResponse:
        async with transport_async.client() as client:
            return await transport_async.send(client, READ, base_url=url, limits=QUICK)

    return asyncio.run(run())


def _own_sockets(url: str) -> HttpResponse:
    """The prepared sender's way in; its faults in the transports' words."""

    async def run() -> HttpResponse:
        try:
            opened = await open_socket(Target.of(url), asyncio.get_running_loop())
        except NotConnected as error:
            raise TransportError(Outcome.NOT_SENT, str(error)) from error
        opened.close()
        return HttpResponse(200, {}, b"")

    return asyncio.run(run())


Send = Callable[[str], HttpResponse]
every = pytest.mark.parametrize(
    "send", [_requests, _line, _aiohttp, _own_sockets], ids=["requests", "line", "aiohttp", "own"]
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@every
def test_every_call_obeys_the_same_certificate_file(
    send: Send, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Quotes and logins use the file that orders use."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
    with loopback.server(loopback.reply(b"{}"), authority.server()) as (url, _):
        assert send(url).status == 200


@every
def test_an_unnamed_private_authority_is_refused_in_words(
    send: Send, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with (
        loopback.server(loopback.reply(b"{}"), authority.server()) as (url, seen),
        pytest.raises(TransportError) as caught,
    ):
        send(url)
    assert caught.value.outcome is Outcome.NOT_SENT
    assert caught.value.message == (
        "the broker's certificate is not accepted: unable to get local issuer certificate"
    )
    assert seen == []


@every
@pytest.mark.parametrize(
    ("address", "days", "said"),
    [
        ("127.0.0.1", (-3, -1), "certificate has expired"),
        ("127.0.0.1", (1, 3), "certificate is not yet valid"),
        ("127.0.0.9", (-1, 1), "IP address mismatch, certificate is not valid for '127.0.0.1'"),
    ],
    ids=["expired", "of tomorrow", "of another host"],
)
def test_a_bad_certificate_is_named_at_the_first_connect(
    send: Send,
    address: str,
    days: tuple[int, int],
    said: str,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
    server = authority.server(address, days)
    with (
        loopback.server(loopback.reply(b"{}"), server) as (url, _),
        pytest.raises(TransportError) as caught,
    ):
        send(url)
    assert caught.value.outcome is Outcome.NOT_SENT
    assert said in caught.value.message


def test_a_client_older_than_the_names_obeys_them(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)

    async def run(url: str) -> int:
        async with transport_async.client() as client:
            monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
            return (await transport_async.send(client, READ, base_url=url, limits=QUICK)).status

    with loopback.server(loopback.reply(b"{}"), authority.server()) as (url, _):
        assert asyncio.run(run(url)) == 200


@every
def test_whoever_names_a_file_that_is_not_there_is_told(
    send: Send, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "mistyped.pem"))
    with (
        loopback.server(loopback.reply(b"{}"), authority.server()) as (url, _),
        pytest.raises(TransportError) as caught,
    ):
        send(url)
    assert caught.value.message.endswith("(SSL_CERT_FILE names no file)")


@every
def test_what_speaks_no_tls_is_named(send: Send) -> None:
    with (
        loopback.server(loopback.raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as (url, _),
        pytest.raises(TransportError) as caught,
    ):
        send(url.replace("http://", "https://"))
    assert caught.value.message.startswith("TLS failed: ")


def test_without_the_systems_bundle_there_still_is_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert tls.context().cert_store_stats()["x509_ca"] > 50


def test_faults_that_are_not_about_tls_are_nobodys_certificate() -> None:
    assert tls.fault(ConnectionRefusedError(111, "refused")) == ""
