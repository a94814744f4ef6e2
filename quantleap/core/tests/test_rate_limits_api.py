"""Requests above a limit are refused with 429, and every answer tells how many are left."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from rest_framework.test import APIClient

from partners.models import Customer
from partners.services import IssuedKey, mint_user_token
from partners.tests.factories import (
    key_headers,
    make_customer,
    make_key,
    make_partner,
    partner_client,
)
from quantleap.core import clock
from quantleap.core.api.rate_limits import CONNECTED_ACCOUNTS, HEADERS
from quantleap.core.audit import SYSTEM
from quantleap.core.rate_limits.buckets import Bucket, Charge
from quantleap.core.rate_limits.limiter import Limiter
from quantleap.core.tests.matrix.routes import operations
from quantleap.core.tests.token_bucket import somebody

URL = "/api/v1/partner/customers"
BROWSE = "/api/v1/partner/marketplace/templates"
TOKENS = "/api/v1/partner/user-tokens"
MINE = "/api/v1/user/subscriptions"
PUBLIC = "/api/v1/marketplace/templates"


@pytest.mark.django_db
def test_a_key_is_refused_above_its_limit_and_told_when_to_come_back() -> None:
    client = partner_client(make_key(make_partner(), requests_per_minute=3, requests_per_day=100))
    passed = [client.get(URL) for _ in range(3)]
    assert [answer.status_code for answer in passed] == [200] * 3
    assert passed[0].headers["X-RateLimit-Remaining"] == "2"
    assert passed[0].headers["RateLimit-Policy"] == '"manage";q=3;w=60, "day";q=100;w=86400'
    refused = client.get(URL)
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert refused.json()["message"] == "Rate limit exceeded: 3 requests per minute"
    assert 1 <= int(refused.headers["Retry-After"]) <= 20
    assert set(HEADERS) <= set(refused.headers)
    assert client.get(BROWSE).status_code == 200, "another class has a bucket of its own"


@pytest.mark.django_db
def test_bad_secrets_drain_nobodys_bucket_and_429_comes_before_permissions() -> None:
    issued = make_key(make_partner(), permissions=[], requests_per_minute=1)
    wrong = {**key_headers(issued), "X-Partner-Secret": "wrong"}
    client = partner_client(issued)
    for _ in range(3):
        assert client.get(URL, headers=wrong).status_code == 401
    assert client.get(URL).status_code == 403
    assert client.get(URL).status_code == 429


def test_a_redis_that_hangs_is_asked_once_and_then_left_alone() -> None:
    charge = Charge(somebody(), (Bucket("manage", "manage", 10),))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        limiter = Limiter(f"redis://127.0.0.1:{silent.getsockname()[1]}", lambda: 2, 0.2)
        decisions = [limiter.charge(charge) for _ in range(10)]
    assert [decision.allowed for decision in decisions] == [True] * 5 + [False] * 5
    assert not decisions[0].shared
    assert (limiter.outages, limiter.alone) == (1, 10)


#: By hand: every other route of partners is MANAGE.
CLASSES = {
    "GET /api/v1/partner/marketplace/templates": "browse",
    "GET /api/v1/partner/marketplace/templates/{template_id}": "browse",
    "POST /api/v1/partner/marketplace/subscribe": "subscribe",
    "POST /api/v1/partner/user-tokens": "login",
    "POST /api/v1/partner/broker-accounts/{client_id}/oauth/initiate": "login",
    "POST /api/v1/partner/broker-accounts/{client_id}/oauth/callback": "login",
}


def test_each_partner_route_has_its_class() -> None:
    found = {
        str(operation): str(operation.rule.limit)
        for operation in operations()
        if operation.surface == "partner" and operation.route.startswith("/api/v1")
    }
    assert {name: of for name, of in found.items() if of != "manage"} == CLASSES


def token_of(customer: Customer, issued: IssuedKey) -> dict[str, str]:
    """The header with a customer's token that a key has issued."""
    minted = mint_user_token(
        partner_id=customer.partner_id,
        environment=customer.environment,
        email=customer.email,
        key_id=issued.key_id,
        actor=SYSTEM,
        now=clock.now(),
    )
    return {"Authorization": f"Bearer {minted.token}"}


# -- who pays --------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_a_customers_token_draws_on_their_own_bucket() -> None:
    """One customer that loops uses up neither the key's requests nor another customer's."""
    partner = make_partner()
    issued = make_key(partner, requests_per_minute=2)
    backend = partner_client(issued)
    looping, other = (token_of(make_customer(partner), issued) for _ in range(2))
    client = APIClient()
    answers = [client.get(MINE, headers=looping).status_code for _ in range(3)]
    assert answers == [200, 200, 429]
    assert client.get(MINE, headers=other).status_code == 200
    assert backend.get(URL).status_code == 200


@pytest.mark.django_db
def test_one_customer_logs_in_ten_times_a_minute_and_the_others_too() -> None:
    """Their user tokens; the bucket of all logins is the larger one."""
    issued = make_key(make_partner(), requests_per_minute=30)
    client = partner_client(issued)

    def mint(name: str) -> int:
        answer = client.post(TOKENS, {"user_email": f"{name}@example.com"})
        return int(answer.status_code)

    assert [mint("asha") for _ in range(11)] == [201] * 10 + [429]
    assert mint("kiran") == 201


@pytest.mark.django_db
def test_a_caller_without_credentials_is_an_address(settings: Any) -> None:
    settings.QUANTLEAP_ANONYMOUS_PER_MINUTE = 2
    client = APIClient()

    def ask(address: str) -> int:
        return int(client.get(PUBLIC, REMOTE_ADDR=address).status_code)

    here, beside, elsewhere = "2001:db8:7::1", "2001:db8:7::2", "2001:db8:7:1::1"
    assert [ask(address) for address in (here, beside, here, elsewhere)] == [200, 200, 429, 200]


@pytest.mark.django_db
def test_a_replayed_answer_counts() -> None:
    client = partner_client(make_key(make_partner(), requests_per_minute=100))
    body, headers = {"user_email": "asha@example.com"}, {"Idempotency-Key": "once"}
    first, again = (client.post(TOKENS, body, headers=headers) for _ in range(2))
    left = [int(answer.headers["X-RateLimit-Remaining"]) for answer in (first, again)]
    assert left[1] == left[0] - 1


@pytest.mark.django_db
def test_a_crash_tells_the_limits_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("partners.api.viewsets.paginate", broken)
    answer = partner_client(make_key(make_partner())).get(URL)
    assert answer.status_code == 500
    assert set(HEADERS) <= set(answer.headers)


@pytest.mark.django_db
def test_logins_grow_with_the_connected_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two requests each, within 45 minutes."""
    issued = make_key(make_partner(), requests_per_minute=60)
    monkeypatch.setattr(CONNECTED_ACCOUNTS, "_implementation", lambda *_: 45_000)
    answer = partner_client(issued).post(TOKENS, {"user_email": "asha@example.com"})
    assert answer.headers["X-RateLimit-Limit"] == "2000"
