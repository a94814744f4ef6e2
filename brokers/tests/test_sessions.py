"""The end of broker sessions: announced before and reported after, once each, and the token is
gone."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from brokers.models import BrokerAccount, LoginAttempt
from brokers.selectors import trading_accounts
from brokers.services.accounts import disable_account
from brokers.services.sessions import sweep_sessions
from brokers.tasks import expire_sessions
from brokers.tests.factories import give_session, make_account
from partners.tests.factories import make_customer, make_partner
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.models import OutboxEvent

pytestmark = pytest.mark.django_db

NOW = dt.datetime(2026, 8, 25, 22, 0, tzinfo=dt.UTC)  # 03:30 IST
END = NOW + dt.timedelta(minutes=90)  # 05:00 IST
MINUTE = dt.timedelta(minutes=1)


def events(kind: str) -> list[dict[str, Any]]:
    return [event.payload for event in OutboxEvent.objects.filter(type=kind).order_by("id")]


def an_account(client_id: str = "Z1") -> BrokerAccount:
    account = make_account(make_customer(make_partner()), "zebu", client_id, now=NOW)
    give_session(account, NOW)
    return account


def test_a_session_is_announced_then_ended() -> None:
    """An hour before its end, and at its end."""
    account = an_account()
    assert account.token_expires_at == END
    sweep_sessions(now=NOW)
    assert not OutboxEvent.objects.exists()
    for minutes in (30, 31, 60):
        sweep_sessions(now=NOW + minutes * MINUTE)
    assert events("broker_session.expiring") == [
        {
            "user_id": account.customer.public_id,
            "user_email": account.customer.email,
            "external_user_id": None,
            "broker_name": "zebu",
            "client_id": "Z1",
            "token_expires_at": "2026-08-25T23:30:00Z",
        }
    ]
    assert sweep_sessions(now=END - MINUTE) == 0
    assert sweep_sessions(now=END) == 1
    assert sweep_sessions(now=END + MINUTE) == 0
    assert len(events("broker_session.expired")) == 1
    event = OutboxEvent.objects.get(type="broker_session.expired")
    assert (event.partner_id, event.environment) == (account.partner_id, "live")
    ended = BrokerAccount.objects.get()
    assert ended.access_token == ""
    assert ended.token_expires_at is None
    assert (ended.token_expiry_told_at, ended.last_login_at) == (END, NOW)


def test_the_next_day_is_told_again() -> None:
    account = an_account()
    sweep_sessions(now=END)
    give_session(account, END + MINUTE)
    sweep_sessions(now=END + dt.timedelta(days=1))
    assert len(events("broker_session.expired")) == 2


def test_many_sessions_end_in_batches(django_assert_max_num_queries: Any) -> None:
    partner = make_partner()
    for number in range(7):
        account = make_account(make_customer(partner), client_id=f"Z{number}", now=NOW)
        give_session(account, NOW)
    assert sweep_sessions(now=END, batch=3) == 7
    assert len({event["client_id"] for event in events("broker_session.expired")}) == 7


def test_old_login_attempts_are_forgotten() -> None:
    account = an_account()
    for days in (1, 8):
        LoginAttempt.objects.create(
            account=account,
            partner_id=account.partner_id,
            state_hash=str(days),
            expires_at=NOW - dt.timedelta(days=days),
        )
    sweep_sessions(now=NOW)
    assert [attempt.state_hash for attempt in LoginAttempt.objects.all()] == ["1"]


def test_the_task_calls_the_sweep() -> None:
    account = an_account()
    BrokerAccount.objects.update(token_expires_at=clock.now())
    assert expire_sessions() == 1
    account.refresh_from_db()
    assert account.access_token == ""


def test_trading_accounts_are_opened_with_one_query(django_assert_num_queries: Any) -> None:
    ready, dead, off = an_account("A1"), an_account("A2"), an_account("A3")
    disable_account(account=off, actor=SYSTEM, now=NOW)
    BrokerAccount.objects.filter(pk=dead.pk).update(token_expires_at=NOW)
    with django_assert_num_queries(1):
        opened = trading_accounts([ready.pk, dead.pk, off.pk, 0], NOW)
    assert {pk: account.problem for pk, account in opened.items()} == {
        ready.pk: "",
        dead.pk: "session_expired",
        off.pk: "disabled",
    }
    session = opened[ready.pk].session
    assert session is not None
    assert (session.client_id, session.access_token) == ("A1", "token-A1")
    assert opened[dead.pk].session is None
    assert opened[off.pk].session is not None  # exits stay possible
    assert "token-A1" not in repr(opened)
