"""A token answer that names no owner: the code asks for the owner before it stores anything."""

from __future__ import annotations

import datetime as dt
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import LazySettings

from brokers.base import LoginResult
from brokers.errors import BrokerRejected, BrokerUnavailable
from brokers.models import FeedAccount
from brokers.sealed_credentials import session_of
from brokers.services.feeds import complete_feed_login
from brokers.tests import loopback
from brokers.tests.factories import make_feed
from brokers.tests.login_requests import Desk
from brokers.wire_values import IST
from quantleap.core.audit import SYSTEM

#: The documented sample, but for the token.
DOCUMENTED = {
    "request_time": "08:30:00 24-08-2026",
    "stat": "Ok",
    "access_token": "today-token",
    "refresh_token": "tomorrow-token",
}
NOW = dt.datetime(2026, 8, 24, 8, 30, tzinfo=IST).astimezone(dt.UTC)
FIVE = dt.datetime(2026, 8, 25, 5, 0, tzinfo=IST).astimezone(dt.UTC)
HOUR = dt.timedelta(hours=1)


class Noren:
    """A Noren on a real socket: what it answers to each operation, and what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[str, Any]] = {
            "GenAcsTok": ("200 OK", DOCUMENTED),
            "ClientDetails": ("200 OK", {"stat": "Ok", "actid": "AB1234"}),
        }
        self.asked: list[bytes] = []

    def __call__(self, connection: socket.socket, request: bytes) -> None:
        self.asked.append(request)
        operation = request.split(b" ", 2)[1].rpartition(b"/")[2].decode()
        status, value = self.answers[operation]
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        loopback.reply(body, status)(connection, request)

    def operations(self) -> list[str]:
        return [r.split(b" ", 2)[1].rpartition(b"/")[2].decode() for r in self.asked]


@pytest.fixture
def noren(settings: LazySettings) -> Iterator[Noren]:
    broker = Noren()
    with loopback.server(broker) as (url, _):
        settings.QUANTLEAP_BROKERS = {"zebu": {"api": url, "login": url, "instruments": ""}}
        yield broker


@pytest.mark.django_db
def test_zebus_documented_token_answer_is_a_login(noren: Noren) -> None:
    """Bug: "broker did not answer", at every login."""
    desk = Desk("zebu")
    done = desk.callback(desk.state())
    assert done.status_code == 200, done.json()
    assert session_of(desk.fresh()).access_token == "today-token"
    assert noren.operations() == ["GenAcsTok", "ClientDetails"]
    assert b"Bearer today-token" in noren.asked[1]
    assert b'"actid":"AB1234"' in noren.asked[1]


@pytest.mark.django_db
def test_an_answer_that_names_its_owner_is_not_asked_again(noren: Noren) -> None:
    noren.answers["GenAcsTok"] = ("200 OK", DOCUMENTED | {"actid": "AB1234", "USERID": "AB1234"})
    desk = Desk("zebu")
    assert desk.callback(desk.state()).status_code == 200
    assert noren.operations() == ["GenAcsTok"]


@pytest.mark.django_db
@pytest.mark.parametrize("shape", ["asked", "named"])
def test_somebody_elses_login_is_refused_by_name(noren: Noren, shape: str) -> None:
    if shape == "asked":
        noren.answers["ClientDetails"] = ("200 OK", {"stat": "Ok", "actid": "ZZ9999"})
    else:
        noren.answers["GenAcsTok"] = ("200 OK", DOCUMENTED | {"actid": "ZZ9999"})
    desk = Desk("zebu")
    refused = desk.callback(desk.state())
    assert refused.status_code == 422
    assert "another client id" in str(refused.json())
    assert desk.fresh().access_token == ""


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("status", "answer", "code"),
    [
        ("200 OK", {"stat": "Not_Ok", "emsg": "Session Expired :  Invalid Session Key"}, 422),
        ("403 Forbidden", b"", 422),
        ("502 Bad Gateway", b"<html>", 503),
        ("200 OK", {"stat": "Ok"}, 503),
        ("200 OK", {"stat": "Not_Ok", "emsg": "Server Timeout :"}, 503),
    ],
    ids=str,
)
def test_without_a_proven_owner_nothing_is_stored(
    noren: Noren, status: str, answer: Any, code: int
) -> None:
    noren.answers["ClientDetails"] = (status, answer)
    desk = Desk("zebu")
    assert desk.callback(desk.state()).status_code == code
    assert (desk.fresh().access_token, desk.fresh().token_expires_at) == ("", None)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("expires_in", "ends"),
    [
        ("3600", lambda now: now + HOUR),
        (f"{(NOW + 2 * HOUR).timestamp():.0f}", lambda now: NOW + 2 * HOUR),
        ("1756979040", None),  # the documented sample, long ago: over before it began
        ("999999", lambda now: FIVE),
        (f"{(FIVE + HOUR).timestamp():.0f}", lambda now: FIVE),
        ("", lambda now: FIVE),
        ("0", lambda now: FIVE),
        ("-5", lambda now: FIVE),
        ("soon", lambda now: FIVE),
        ("9" * 30, lambda now: FIVE),
    ],
    # a function's own name has an address in it, which is another one in every process
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_expires_in_bounds_the_session_in_both_shapes(
    noren: Noren, expires_in: str, ends: Callable[[dt.datetime], dt.datetime] | None
) -> None:
    noren.answers["GenAcsTok"] = ("200 OK", DOCUMENTED | {"expires_in": expires_in})
    feed = make_feed("main", "zebu", client_id="AB1234", now=NOW, logged_in=False)
    if ends is None:
        with pytest.raises(BrokerRejected, match="expired session"):
            complete_feed_login(feed=feed, code="code1", actor=SYSTEM, now=NOW)
        assert FeedAccount.objects.get().access_token == ""
        return
    complete_feed_login(feed=feed, code="code1", actor=SYSTEM, now=NOW)
    assert FeedAccount.objects.get().token_expires_at == ends(NOW)


@pytest.mark.django_db
def test_a_feeds_owner_is_proven_as_well(noren: Noren) -> None:
    feed = make_feed("main", "zebu", client_id="AB1234", now=NOW, logged_in=False)
    noren.answers["ClientDetails"] = ("200 OK", {"stat": "Ok", "actid": "ZZ9999"})
    with pytest.raises(BrokerRejected, match="another client id"):
        complete_feed_login(feed=feed, code="code1", actor=SYSTEM, now=NOW)
    noren.answers["ClientDetails"] = ("502 Bad Gateway", b"<html>")
    with pytest.raises(BrokerUnavailable):
        complete_feed_login(feed=feed, code="code1", actor=SYSTEM, now=NOW)
    assert FeedAccount.objects.get().access_token == ""


def test_control_a_login_ends_at_the_brokers_hour() -> None:
    assert LoginResult(access_token="t").expiry(NOW, FIVE) == FIVE
