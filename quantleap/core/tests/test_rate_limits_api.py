"""Requests above a limit are refused with 429, and every answer tells how many are left."""

from __future__ import annotations

import socket

import pytest

from partners.tests.factories import key_headers, make_key, make_partner, partner_client
from quantleap.core.api.rate_limits import HEADERS
from quantleap.core.rate_limits.buckets import Bucket, Charge
from quantleap.core.rate_limits.limiter import Limiter
from quantleap.core.tests.matrix.routes import operations
from quantleap.core.tests.token_bucket import somebody

URL = "/api/v1/partner/customers"
BROWSE = "/api/v1/partner/marketplace/templates"


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
        limiter = Limiter(f"redis://127.0.0.1:{silent.getsockname()[1]}", lambda: 2)
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
