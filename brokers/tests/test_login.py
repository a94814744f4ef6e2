"""The daily login: states are one-time, brokers' texts are passed on, tokens expire on their
hour."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import responses
import structlog.testing
import time_machine
from django.conf import LazySettings
from django.db import connection

from brokers.base import LoginResult
from brokers.errors import BrokerRejected, InvalidState
from brokers.models import BrokerAccount, LoginAttempt
from brokers.sealed_credentials import session_of
from brokers.services import login
from brokers.tests.factories import make_account
from brokers.tests.login_requests import BACK, Desk
from partners.tests.factories import make_customer, make_partner
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.models import AuditEntry, IdempotencyRecord

KITE, NOREN = "http://127.0.0.1:8901", "http://127.0.0.1:8902"
TOKEN_URL = {"zerodha": f"{KITE}/session/token", "zebu": f"{NOREN}/NorenWClientAPI/GenAcsTok"}


@pytest.fixture(autouse=True)
def _simulated(settings: LazySettings) -> None:
    settings.QUANTLEAP_BROKERS = {
        "zerodha": {"api": KITE, "login": KITE, "instruments": ""},
        "zebu": {"api": NOREN, "login": NOREN, "instruments": ""},
    }


@pytest.fixture
def wire() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def granted(broker: str, client_id: str, token: str = "today-token") -> dict[str, Any]:
    if broker == "zerodha":
        return {"status": "success", "data": {"access_token": token, "user_id": client_id}}
    return {"stat": "Ok", "access_token": token, "actid": client_id, "USERID": client_id}


# -- the good way ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("broker", "page", "until"),
    [
        ("zerodha", f"{KITE}/connect/login", "6:00 AM IST"),
        ("zebu", f"{NOREN}/OAuthlogin/authorize/oauth", "5:00 AM IST"),
    ],
)
@pytest.mark.django_db
def test_a_whole_login(broker: str, page: str, until: str, wire: responses.RequestsMock) -> None:
    desk = Desk(broker)
    wire.post(TOKEN_URL[broker], json=granted(broker, "AB1234"))
    started = desk.initiate(redirect_uri=BACK)
    assert started.status_code == 200, started.json()
    assert started.json()["expires_in"] == 300
    assert started.json()["oauth_url"].startswith(page)
    assert b"secret-AB1234" not in started.content
    done = desk.callback(started.json()["state"])
    assert done.status_code == 200, done.json()
    assert done.json()["valid_until"] == until
    account = desk.fresh()
    assert account.token_expires_at is not None
    assert done.json()["token_expires_at"] == account.token_expires_at.strftime(
        "%Y-%m-%dT%H:%M:%S.%fZ"
    )
    assert session_of(account).access_token == "today-token"
    assert b"today-token" not in done.content
    assert "today-token" not in str(BrokerAccount.objects.values().get())
    sent = wire.calls[0].request.body
    assert b"code1" in (sent.encode() if isinstance(sent, str) else sent or b"")
    shown = desk.tenant.client.get("/partner/broker-accounts/AB1234").json()["broker_account"]
    assert (shown["has_oauth_token"], shown["ready_for_trading"]) == (True, True)
    actions = [entry.action for entry in AuditEntry.objects.order_by("id")]
    assert actions[-2:] == ["broker_login.started", "broker_login.completed"]


@pytest.mark.django_db
def test_kite_hands_the_state_back_and_zebu_does_not() -> None:
    desk = Desk("zerodha")
    answer = desk.initiate().json()
    query = dict(parse_qsl(urlsplit(answer["oauth_url"]).query))
    assert dict(parse_qsl(query["redirect_params"])) == {"state": answer["state"]}
    zebu = Desk("zebu").initiate().json()
    assert zebu["state"] not in zebu["oauth_url"]


@pytest.mark.parametrize("name", ["code", "auth_token"])
@pytest.mark.django_db
def test_the_code_has_aliases(name: str, wire: responses.RequestsMock) -> None:
    desk = Desk()
    wire.post(TOKEN_URL["zebu"], json=granted("zebu", "AB1234"))
    body = {"user_email": desk.email, "state": desk.state(), name: "code1"}
    assert desk.tenant.client.post(f"{desk.base}/callback", body).status_code == 200


# -- states ----------------------------------------------------------------------------------
@pytest.mark.django_db
def test_a_state_is_good_once(wire: responses.RequestsMock) -> None:
    desk = Desk()
    wire.post(TOKEN_URL["zebu"], json=granted("zebu", "AB1234"))
    state = desk.state()
    assert state not in str(list(LoginAttempt.objects.values()))
    assert desk.callback(state).status_code == 200
    again = desk.callback(state)
    assert (again.status_code, again.json()["code"]) == (400, "invalid_state")
    assert len(wire.calls) == 1


@pytest.mark.django_db
def test_wrong_late_and_foreign_states_are_one_and_the_same_400(
    wire: responses.RequestsMock,
) -> None:
    desk = Desk()
    other = make_account(desk.account.customer, "zebu", "OTHER1")
    started = desk.tenant.client.post(
        f"/partner/broker-accounts/{other.client_id}/oauth/initiate", {"user_email": desk.email}
    )
    late = desk.state()
    answers = [
        desk.callback("never-issued"),
        desk.callback(started.json()["state"]),
        desk.callback("x" * 200),
    ]
    with time_machine.travel(clock.now() + dt.timedelta(seconds=301), tick=False):
        answers.append(desk.callback(late))
    for answer in answers:
        assert answer.status_code == 400
        assert answer.json()["code"] == "invalid_state"
        assert answer.json()["details"] == answers[0].json()["details"]
    assert len(wire.calls) == 0
    assert desk.fresh().access_token == ""


@pytest.mark.django_db(transaction=True)
def test_parallel_uses_of_one_state_reach_the_broker_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert _parallel_callbacks(monkeypatch) == 1


@pytest.mark.django_db(transaction=True)
def test_control_without_conditional_update_calls_repeat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Parallel callbacks then ask the broker several times."""
    together = threading.Barrier(4)

    def look_then_use(account: BrokerAccount, state: str, now: dt.datetime) -> None:
        unused = LoginAttempt.objects.filter(account=account, used_at__isnull=True).exists()
        together.wait()  # everyone has looked, nobody has used
        if not unused:
            raise InvalidState
        LoginAttempt.objects.filter(account=account).update(used_at=now)

    monkeypatch.setattr(login, "_spend_state", look_then_use)
    assert _parallel_callbacks(monkeypatch) == 4


def _parallel_callbacks(monkeypatch: pytest.MonkeyPatch) -> int:
    """Four callbacks at once with one state; returns how often the broker was asked."""
    account = make_account(make_customer(make_partner()), "zebu", "AB1234")
    started = login.initiate_login(
        account=account, redirect_uri="", registered=(), actor=SYSTEM, now=clock.now()
    )
    asked: list[str] = []

    def exchange(broker: str, credentials: Any, code: str, *, egress: str = "") -> Any:
        asked.append(code)
        return LoginResult(access_token="t", client_id="AB1234")

    monkeypatch.setattr(login, "exchange_code", exchange)
    barrier = threading.Barrier(4)

    def callback(number: int) -> object:
        barrier.wait()
        try:
            return login.complete_login(
                account=BrokerAccount.objects.get(pk=account.pk),
                code=f"code{number}",
                state=started.state,
                actor=SYSTEM,
                now=clock.now(),
            )
        except InvalidState as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(callback, range(4)))
    return len(asked)


@pytest.mark.django_db(transaction=True)
def test_a_replayed_login_hides_the_state(
    wire: responses.RequestsMock,
) -> None:
    desk = Desk()
    wire.post(TOKEN_URL["zebu"], json=granted("zebu", "AB1234"))
    post = desk.tenant.client.post
    started = post(
        f"{desk.base}/initiate", {"user_email": desk.email}, headers={"Idempotency-Key": "i1"}
    )
    again = post(
        f"{desk.base}/initiate", {"user_email": desk.email}, headers={"Idempotency-Key": "i1"}
    )
    assert (again.status_code, again.json()["code"]) == (409, "secret_already_shown")
    state = started.json()["state"]
    assert state not in str(list(IdempotencyRecord.objects.values()))
    body = {"user_email": desk.email, "request_token": "code1", "state": state}
    answers = [
        post(f"{desk.base}/callback", body, headers={"Idempotency-Key": "c1"}) for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["Idempotent-Replayed"] == "true"
    assert len(wire.calls) == 1


# -- refusals --------------------------------------------------------------------------------
@pytest.mark.django_db
def test_the_brokers_refusal_comes_with_its_words(wire: responses.RequestsMock) -> None:
    desk = Desk("zerodha")
    wire.post(
        TOKEN_URL["zerodha"],
        status=403,
        json={
            "status": "error",
            "message": "Token is invalid or has expired.",
            "error_type": "TokenException",
        },
    )
    answer = desk.callback(desk.state())
    assert (answer.status_code, answer.json()["code"]) == (422, "broker_rejected")
    assert answer.json()["broker_response"]["message"] == "Token is invalid or has expired."
    assert desk.fresh().access_token == ""


@pytest.mark.django_db
def test_another_client_at_the_broker_is_refused(wire: responses.RequestsMock) -> None:
    desk = Desk()
    wire.post(TOKEN_URL["zebu"], json=granted("zebu", "ZZ9999"))
    answer = desk.callback(desk.state())
    assert (answer.status_code, answer.json()["code"]) == (422, "broker_rejected")
    assert answer.json()["broker_response"]["code"] == "other_client"
    assert desk.fresh().access_token == ""


@pytest.mark.parametrize(
    "reply",
    [
        {"status": 502, "body": "<html>"},
        {"status": 200, "body": "{}"},
        {"status": 302, "headers": {"Location": "https://evil.example/"}, "body": ""},
        {"body": ConnectionResetError("reset")},
    ],
    ids=["502", "empty", "redirect", "reset"],
)
@pytest.mark.django_db
def test_no_readable_answer_is_503_and_the_state_is_spent(
    wire: responses.RequestsMock, reply: dict[str, Any]
) -> None:
    desk = Desk()
    wire.post(TOKEN_URL["zebu"], **reply)
    state = desk.state()
    assert desk.callback(state).status_code == 503
    assert desk.callback(state).status_code == 400
    assert len(wire.calls) == 1


@pytest.mark.django_db
def test_a_live_broker_is_not_spoken_to_unless_enabled(
    settings: LazySettings, wire: responses.RequestsMock
) -> None:
    settings.QUANTLEAP_BROKERS = {
        "zebu": {"api": "https://go.example", "login": "https://go.example", "instruments": ""}
    }
    desk = Desk()
    answer = desk.initiate()
    assert (answer.status_code, answer.json()["code"]) == (422, "broker_not_enabled")
    assert not LoginAttempt.objects.exists()
    settings.QUANTLEAP_LIVE_BROKERS = ["zebu"]
    assert desk.initiate().status_code == 200


@pytest.mark.django_db
def test_only_registered_redirect_addresses() -> None:
    desk = Desk()
    for wrong in ("https://evil.example/", BACK + "/", BACK.upper()):
        answer = desk.initiate(redirect_uri=wrong)
        assert answer.status_code == 400
        assert "redirect_uri" in answer.json()["details"]


@pytest.mark.django_db
def test_an_account_that_is_off_cannot_log_in() -> None:
    desk = Desk()
    state = desk.state()
    BrokerAccount.objects.update(status="disabled")
    assert desk.initiate().json()["code"] == "invalid_transition"
    assert desk.callback(state).json()["status"] == "disabled"


@pytest.mark.django_db
def test_credentials_changed_meanwhile_void_the_login(
    wire: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk()
    wire.post(TOKEN_URL["zebu"], json=granted("zebu", "AB1234"))
    ask = login.exchange_code

    def change_then_ask(*args: Any, **kwargs: Any) -> Any:
        BrokerAccount.objects.update(api_secret="another")
        return ask(*args, **kwargs)

    monkeypatch.setattr(login, "exchange_code", change_then_ask)
    assert desk.callback(desk.state()).status_code == 409
    assert desk.fresh().access_token == ""


@pytest.mark.parametrize(
    "change",
    [
        {"request_token": ""},
        {"request_token": "a b"},
        {"request_token": 1},
        {"code": "x"},
        {"state": ""},
        {"state": None},
        {"password": "hunter2"},
        {"user_email": "x"},
    ],
    ids=str,
)
@pytest.mark.django_db
def test_bad_bodies_are_400_and_spend_nothing(change: dict[str, Any]) -> None:
    desk = Desk()
    assert desk.callback(desk.state(), **change).status_code == 400
    assert LoginAttempt.objects.get().used_at is None


@pytest.mark.django_db
def test_another_customers_e_mail_is_404() -> None:
    desk = Desk()
    make_customer(desk.tenant.partner, "ravi@example.com")
    assert desk.initiate(user_email="ravi@example.com").status_code == 404
    assert desk.initiate(user_email="nobody@example.com").status_code == 404


# -- the sandbox -----------------------------------------------------------------------------
@pytest.mark.django_db
def test_a_test_login_needs_no_browser_and_no_broker(wire: responses.RequestsMock) -> None:
    desk = Desk(environment="test")
    started = desk.initiate(redirect_uri=BACK).json()
    returned = dict(parse_qsl(urlsplit(started["oauth_url"]).query))
    assert started["oauth_url"].startswith(BACK)
    assert returned["state"] == started["state"]
    answer = desk.callback(started["state"], request_token=returned["request_token"])
    assert answer.status_code == 200
    refused = desk.callback(desk.state(), request_token="a-real-looking-code")
    assert (refused.status_code, refused.json()["code"]) == (422, "broker_rejected")
    assert len(wire.calls) == 0


# -- silence ---------------------------------------------------------------------------------
@pytest.mark.django_db
def test_no_secret_in_logs(wire: responses.RequestsMock) -> None:
    desk = Desk()
    wire.post(TOKEN_URL["zebu"], status=502, body="today-token")
    with structlog.testing.capture_logs() as logs:
        desk.callback(desk.state(), request_token="code-kept-quiet")
    text = json.dumps(logs, default=str)
    for secret in ("secret-AB1234", "key-AB1234", "today-token", "code-kept-quiet"):
        assert secret not in text


def test_an_error_carries_the_brokers_words_only() -> None:
    error = BrokerRejected("Invalid code", broker_response={"code": "x", "message": "Invalid code"})
    assert error.extra == {"broker_response": {"code": "x", "message": "Invalid code"}}
