"""After a login at a broker people land on a page of ours, never on a bare 404."""

from __future__ import annotations

import datetime as dt
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import responses
from django.conf import LazySettings, settings
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from brokers.models import FeedAccount, FeedLogin
from brokers.sealed_credentials import session_of
from brokers.services import feeds
from brokers.services.login import exchange_code
from brokers.services.sessions import sweep_sessions
from brokers.tests.factories import make_feed
from quantleap.core import clock
from quantleap.core.models import AuditEntry, StaffUser

pytestmark = pytest.mark.django_db

KITE, NOREN = "http://127.0.0.1:8901", "http://127.0.0.1:8902"
LANDING = "/broker-login/done"


@pytest.fixture(autouse=True)
def _brokers(settings: LazySettings) -> None:
    settings.QUANTLEAP_BROKERS = {
        "zerodha": {"api": KITE, "login": KITE, "instruments": ""},
        "zebu": {"api": NOREN, "login": NOREN, "instruments": ""},
    }


def console(name: str = "asha") -> Client:
    client = Client()
    client.force_login(StaffUser.objects.create_superuser(name, password="x"))
    return client


@pytest.fixture
def staff() -> Client:
    return console()


def begin(staff: Client, feed: FeedAccount) -> dict[str, str]:
    """Press the button; the query of the broker's address."""
    answer = staff.get(reverse("admin:brokers_feedaccount_begin_login", args=[feed.pk]))
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith(KITE if feed.broker == "zerodha" else NOREN)
    return dict(parse_qsl(urlsplit(answer.headers["Location"]).query))


def state_of(query: dict[str, str]) -> str:
    return dict(parse_qsl(query["redirect_params"]))["state"]


def land(client: Client, **query: str) -> Any:
    return client.get(LANDING, query)


def kite_grants(wire: responses.RequestsMock, client_id: str = "F1") -> None:
    wire.post(
        f"{KITE}/session/token",
        json={"status": "success", "data": {"access_token": "t", "user_id": client_id}},
    )


def noren_grants(wire: responses.RequestsMock, client_id: str = "F1") -> None:
    wire.post(
        f"{NOREN}/NorenWClientAPI/GenAcsTok",
        json={"stat": "Ok", "access_token": "t", "USERID": client_id, "actid": client_id},
    )


def feed_at(broker: str, name: str = "main", role: str = "PRIMARY") -> FeedAccount:
    return make_feed(name, broker, role, client_id="F1", app="app", logged_in=False)


def token_of(feed: FeedAccount) -> str:
    feed.refresh_from_db()
    return session_of(feed).access_token if feed.access_token else ""


# -- a feed account's login ------------------------------------------------------------------
def test_kites_redirect_finishes_the_login_by_itself(staff: Client) -> None:
    feed = feed_at("zerodha")
    staff.defaults["REMOTE_ADDR"] = "203.0.113.9"
    state = state_of(begin(staff, feed))
    with responses.RequestsMock() as wire:
        kite_grants(wire)
        answer = land(
            staff, request_token="rt1", action="login", type="login", status="success", state=state
        )
    change = reverse("admin:brokers_feedaccount_change", args=[feed.pk])
    assert (answer.status_code, answer.headers["Location"]) == (302, change)
    assert token_of(feed) == "t"
    assert "main is logged in at Zerodha until" in staff.get(change).content.decode()
    actions = AuditEntry.objects.filter(target_type="feed_account").values_list(
        "action", "actor_id", "address"
    )
    assert set(actions) >= {
        ("feed_account.login_started", "asha", "203.0.113.9"),
        ("feed_account.logged_in", "asha", "203.0.113.9"),
    }


def test_zebus_redirect_finishes_this_sessions_login(staff: Client) -> None:
    """Zebu returns no state."""
    feed = feed_at("zebu")
    assert begin(staff, feed) == {"client_id": "app"}
    with responses.RequestsMock() as wire:
        noren_grants(wire)
        assert land(staff, code="c1").status_code == 302
    assert token_of(feed) == "t"


def test_an_address_with_a_slash_behind_it_is_the_same(staff: Client) -> None:
    feed = feed_at("zebu")
    begin(staff, feed)
    with responses.RequestsMock() as wire:
        noren_grants(wire)
        assert staff.get(LANDING + "/", {"code": "c1"}).status_code == 302


def test_a_login_is_used_once(staff: Client) -> None:
    feed = feed_at("zerodha")
    state = state_of(begin(staff, feed))
    with responses.RequestsMock() as wire:
        kite_grants(wire)
        assert land(staff, request_token="rt1", state=state).status_code == 302
    again = land(staff, request_token="rt1", state=state)
    assert (again.status_code, "already used" in again.content.decode()) == (400, True)


def test_a_state_is_bound_to_the_console_session_that_began(staff: Client) -> None:
    """Control: the same address in the session that began works."""
    feed = feed_at("zerodha")
    state = state_of(begin(staff, feed))
    other = land(console("ravi"), request_token="rt1", state=state)
    assert (other.status_code, "another browser" in other.content.decode()) == (400, True)
    stranger = land(Client(), request_token="rt1", state=state)
    assert stranger.status_code == 400
    assert token_of(feed) == ""
    with responses.RequestsMock() as wire:
        kite_grants(wire)
        assert land(staff, request_token="rt1", state=state).status_code == 302


def test_a_code_without_state_fits_no_login_with_one(
    staff: Client,
) -> None:
    feed = feed_at("zerodha")
    begin(staff, feed)
    for state in ("", "made-up", "\u202e\u2028", "x" * 5000):
        answer = land(staff, request_token="attackers", state=state)
        assert answer.status_code == 400
        assert "No login was started" in answer.content.decode()
    assert token_of(feed) == ""


def test_a_slow_login_is_late(staff: Client) -> None:
    feed = feed_at("zerodha")
    state = state_of(begin(staff, feed))
    FeedLogin.objects.update(expires_at=clock.now() - dt.timedelta(seconds=1))
    answer = land(staff, request_token="rt1", state=state)
    assert (answer.status_code, "10 minutes" in answer.content.decode()) == (400, True)


def test_beginning_again_voids_what_was_begun_before(staff: Client) -> None:
    """Zebu says nothing but a code: it must mean one login."""
    main, spare = feed_at("zebu"), feed_at("zebu", "spare", "SPARE")
    begin(staff, main)
    begin(staff, spare)
    with responses.RequestsMock() as wire:
        noren_grants(wire)
        answer = land(staff, code="c1")
    assert answer.headers["Location"].endswith(f"/{spare.pk}/change/")
    assert (token_of(main), token_of(spare)) == ("", "t")
    assert land(staff, code="c2").status_code == 400


def test_another_client_id_than_the_accounts_is_not_taken(staff: Client) -> None:
    feed = feed_at("zebu")
    begin(staff, feed)
    with responses.RequestsMock() as wire:
        noren_grants(wire, client_id="MALLORY")
        answer = land(staff, code="attackers")
    page = answer.content.decode()
    assert (answer.status_code, "another client id" in page) == (422, True)
    assert "Log in again" in page
    assert token_of(feed) == ""


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"status": "cancelled", "action": "login"}, "Zerodha says: cancelled."),
        ({"status": "error", "message": "User cancelled <b>it</b>"}, "User cancelled &lt;b&gt;it"),
        ({"error": "access_denied"}, "Zerodha says: access_denied."),
        ({}, "Zerodha did not log F1 in."),
    ],
    ids=str,
)
def test_a_login_cancelled_at_the_broker_is_said_in_words(
    staff: Client, query: dict[str, str], said: str
) -> None:
    feed = feed_at("zerodha")
    state = state_of(begin(staff, feed))
    answer = land(staff, state=state, request_token="rt1" if query.get("status") else "", **query)
    page = answer.content.decode()
    assert answer.status_code == 400
    assert said in page
    assert "Nothing has changed." in page
    assert reverse("admin:brokers_feedaccount_log_in", args=[feed.pk]) in page
    assert token_of(feed) == ""


def test_a_broker_that_refuses_or_is_silent_is_said_in_its_words(staff: Client) -> None:
    feed = feed_at("zerodha")
    state = state_of(begin(staff, feed))
    with responses.RequestsMock() as wire:
        error = {"status": "error", "error_type": "TokenException", "message": "Token is invalid"}
        wire.post(f"{KITE}/session/token", json=error, status=403)
        answer = land(staff, request_token="rt1", state=state)
    assert (answer.status_code, "Token is invalid." in answer.content.decode()) == (422, True)
    state = state_of(begin(staff, feed))
    with responses.RequestsMock() as wire:
        wire.post(f"{KITE}/session/token", body=OSError("reset"))
        answer = land(staff, request_token="rt2", state=state)
    assert (answer.status_code, "did not answer" in answer.content.decode()) == (503, True)


def test_changed_credentials_do_not_get_the_old_session(
    staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = feed_at("zerodha")
    state = state_of(begin(staff, feed))

    def exchange(*args: Any, **options: Any) -> Any:
        FeedAccount.objects.filter(pk=feed.pk).update(api_secret="v1:another")
        return exchange_code(*args, **options)

    monkeypatch.setattr(feeds, "exchange_code", exchange)
    with responses.RequestsMock() as wire:
        kite_grants(wire)
        answer = land(staff, request_token="rt1", state=state)
    assert (answer.status_code, "changed during the login" in answer.content.decode()) == (
        503,
        True,
    )
    assert not FeedAccount.objects.get(pk=feed.pk).access_token


# -- who may ---------------------------------------------------------------------------------
def test_beginning_and_finishing_need_the_right_to_change_feeds(staff: Client) -> None:
    feed = feed_at("zerodha")
    ravi = StaffUser.objects.create_user("ravi", is_staff=True)
    ravi.user_permissions.add(Permission.objects.get(codename="view_feedaccount"))
    client = Client()
    client.force_login(ravi)
    url = reverse("admin:brokers_feedaccount_begin_login", args=[feed.pk])
    assert client.get(url).status_code == 403
    assert land(client, request_token="rt1", state="x").status_code == 403
    assert Client().get(url).status_code == 302  # to the console's login
    assert staff.post(url).status_code == 403
    for key in ("0", "abc", "9" * 30):
        assert staff.get(url.replace(f"/{feed.pk}/", f"/{key}/")).status_code == 404
    assert not FeedLogin.objects.exists()


def test_the_session_cookie_comes_along_from_the_brokers_page() -> None:
    assert settings.SESSION_COOKIE_SAMESITE == "Lax"


# -- strangers -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ({}, 200, "Nothing to do here"),
        ({"request_token": "rt1", "status": "success"}, 400, "Go back to the page"),
        ({"code": "c1"}, 400, "should lead to their own page"),
        ({"status": "cancelled"}, 400, "It says: cancelled."),
        ({"error": "<script>alert(1)</script>"}, 400, "&lt;script&gt;alert(1)"),
        ({"code": "\ud7ff\u202e", "state": "\x01", "status": "\x7f"}, 400, "QuantLeap"),
    ],
    ids=str,
)
def test_a_customer_who_lands_here_reads_what_to_do(
    client: Client, query: dict[str, str], status: int, said: str
) -> None:
    answer = client.get(LANDING, query)
    page = answer.content.decode()
    assert (answer.status_code, said in page) == (status, True)
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "no-store" in answer.headers["Cache-Control"]
    for code in ("rt1", "c1"):
        assert code not in page
    assert "<script" not in page
    assert "style=" not in page


def test_only_a_visit_finishes_a_login(staff: Client) -> None:
    feed = feed_at("zebu")
    begin(staff, feed)
    for answer in (staff.head(LANDING, {"code": "c1"}), staff.post(LANDING, {"code": "c1"})):
        assert answer.status_code == 405
    assert FeedLogin.objects.get().used_at is None


def test_staff_without_a_begun_login_are_shown_where_to_begin(staff: Client) -> None:
    page = land(staff).content.decode()
    assert "begins on its page" in page
    assert reverse("admin:brokers_feedaccount_changelist") in page


def test_old_logins_are_swept(staff: Client) -> None:
    begin(staff, feed_at("zerodha"))
    FeedLogin.objects.update(expires_at=clock.now() - dt.timedelta(days=8))
    sweep_sessions(now=clock.now())
    assert not FeedLogin.objects.exists()
