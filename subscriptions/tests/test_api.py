"""Subscriptions over HTTP: lifecycle, filters, who may, who must not see, and bad input."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from marketplace.tests.factories import leg_spec, load_reference_data, make_template
from partners import permissions
from partners.tests.factories import (
    Tenant,
    customer_client,
    key_headers,
    make_customer,
    make_key,
    make_tenant,
    partner_client,
    strangers,
)
from quantleap.core.audit import SYSTEM
from quantleap.core.models import AuditEntry, OutboxEvent
from subscriptions import ports, services
from subscriptions.models import Allocation, Subscription
from subscriptions.tests.factories import make_subscription, subscribe_many

URL = "/partner/subscriptions"
SUBSCRIBE = "/partner/marketplace/subscribe"


@pytest.fixture
def tenant(db: None) -> Tenant:
    load_reference_data()
    return make_tenant("zebu")


@pytest.fixture
def mine(tenant: Tenant) -> Subscription:
    return make_subscription(make_template(), tenant.partner, email="asha@example.com")


def his_client(subscription: Subscription) -> APIClient:
    return customer_client(subscription.customer)


# -- lists and one -------------------------------------------------------------------------------
def test_filters(tenant: Tenant, mine: Subscription) -> None:
    other = make_subscription(make_template(), tenant.partner)
    services.pause(subscription_id=other.pk, actor=SYSTEM, reason="USER", now=other.created_at)

    def ids(query: str) -> list[str]:
        listing = tenant.client.get(f"{URL}?{query}").json()
        return [row["subscription_id"] for row in listing["subscriptions"]]

    both = [other.public_id, mine.public_id]
    assert ids("") == both
    assert ids("user_email=ASHA@example.com") == [mine.public_id]
    assert ids(f"template_id={other.template.public_id}") == [other.public_id]
    assert ids("status=PAUSED") == [other.public_id]
    assert ids("status=CANCELLED") == []
    assert ids("template_id=bsk_unknown") == []
    assert ids("user_email=nobody@example.com") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=active", "status"),
        ("user_email=nobody", "user_email"),
        ("template_id=%00", "template_id"),
        ("page=0", "page"),
        ("per_page=101", "per_page"),
        ("colour=red", "colour"),
    ],
)
def test_a_wrong_filter_is_named(tenant: Tenant, query: str, field: str) -> None:
    answer = tenant.client.get(f"{URL}?{query}")
    assert (answer.status_code, list(answer.json()["details"])) == (400, [field])


def test_one_subscription(
    tenant: Tenant, mine: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Day:
        def last_executions(self, subscription_id: int, limit: int) -> list[dict[str, Any]]:
            assert (subscription_id, limit) == (mine.pk, 10)
            return [{"execution_id": "exe_1"}]

        def performance(self, subscription_id: int) -> dict[str, Any]:
            return {"total_pnl": None, "roi_percentage": None}

    monkeypatch.setattr(ports.ACTIVITY, "_implementation", Day())
    detail = tenant.client.get(f"{URL}/{mine.public_id}").json()
    assert detail["subscription"]["subscription_id"] == detail["subscription_id"] == mine.public_id
    assert detail["last_executions"] == [{"execution_id": "exe_1"}]
    assert detail["performance_tracking"] == {"total_pnl": None, "roi_percentage": None}
    assert detail["revenue_share_tracking"] == {
        "partner_share": 0,
        "platform_share": 0,
        "currency": "INR",
    }
    assert detail["effective_lots"] == [{"leg": "SELL CE ATM WEEKLY", "lots": 1}]
    assert detail["broker_allocations"][0]["allocation_id"] == Allocation.objects.get().public_id


def test_the_customer_sees_his_own_without_commission(tenant: Tenant, mine: Subscription) -> None:
    make_subscription(mine.template, tenant.partner)
    client = his_client(mine)
    listed = client.get("/user/subscriptions")
    assert [row["subscription_id"] for row in listed.json()["subscriptions"]] == [mine.public_id]
    detail = client.get(f"/user/subscriptions/{mine.public_id}")
    assert detail.json()["subscription"]["pricing"]["monthly_fee"] == 999
    paused = client.put(f"/user/subscriptions/{mine.public_id}/pause")
    for answer in (listed, detail, paused):
        assert answer.status_code == 200
        for word in ("commission", "revenue", "attribution", "platform_fee"):
            assert word not in answer.content.decode()


def test_allocations(tenant: Tenant, mine: Subscription) -> None:
    for client, url in ((tenant.client, URL), (his_client(mine), "/user/subscriptions")):
        listing = client.get(f"{url}/{mine.public_id}/allocations").json()
        assert listing["statusCode"] == 200
        assert [row["status"] for row in listing["allocations"]] == ["ACTIVE"]


# -- lifecycle -----------------------------------------------------------------------------------
def test_pause_resume_cancel_by_the_partner(tenant: Tenant, mine: Subscription) -> None:
    url = f"{URL}/{mine.public_id}"
    paused = tenant.client.put(f"{url}/pause", {"reason": "asked by phone"})
    assert paused.status_code == 200
    body = paused.json()
    assert body["subscription"]["status"] == body["status"] == "PAUSED"
    assert (body["status_reason"], body["reason"]) == ("PARTNER", "asked by phone")
    assert (body["changed"], body["next_entry_affected"]) == (True, True)
    again = tenant.client.put(f"{url}/pause").json()
    assert (again["changed"], again["status"]) == (False, "PAUSED")
    assert again["reason"] == "asked by phone"
    resumed = tenant.client.put(f"{url}/resume").json()
    assert (resumed["status"], resumed["status_reason"], resumed["reason"]) == (
        "ACTIVE",
        None,
        None,
    )
    cancelled = tenant.client.delete(f"{url}?reason=moved+away&open_positions=MANAGE").json()
    assert (cancelled["status"], cancelled["reason"]) == ("CANCELLED", "moved away")
    assert cancelled["next_billing_date"] is None
    assert cancelled["cancelled_at"] == cancelled["status_changed_at"]
    assert tenant.client.delete(url).json()["changed"] is False
    refused = tenant.client.put(f"{url}/resume")
    assert refused.status_code == 409
    assert refused.json()["code"] == "invalid_transition"
    assert refused.json()["status"] == "CANCELLED"
    event_types = list(
        OutboxEvent.objects.filter(type__startswith="subscription.")
        .order_by("id")
        .values_list("type", flat=True)
    )
    assert event_types == [
        f"subscription.{what}" for what in ("created", "paused", "resumed", "cancelled")
    ]
    entry = AuditEntry.objects.get(action="subscription.cancelled")
    assert entry.actor_id == tenant.key.key_public_id


def test_each_lifts_the_others_pause_only_with_a_reason(tenant: Tenant, mine: Subscription) -> None:
    his, url = his_client(mine), f"{URL}/{mine.public_id}"
    his_url = f"/user/subscriptions/{mine.public_id}"
    his.put(f"{his_url}/pause")
    refused = tenant.client.put(f"{url}/resume")
    assert (refused.status_code, refused.json()["status_reason"]) == (409, "USER")
    assert tenant.client.put(f"{url}/resume", {"reason": "he called"}).status_code == 200
    tenant.client.put(f"{url}/pause")
    assert his.put(f"{his_url}/resume", {"reason": "  "}).status_code == 409
    assert his.put(f"{his_url}/resume", {"reason": "my decision"}).status_code == 200


@pytest.mark.parametrize("reason", ["ADMIN", "PAYMENT_FAILED"])
def test_a_pause_by_staff_or_payment_stays(tenant: Tenant, mine: Subscription, reason: str) -> None:
    services.pause(subscription_id=mine.pk, actor=SYSTEM, reason=reason, now=mine.created_at)
    for client, url in ((tenant.client, URL), (his_client(mine), "/user/subscriptions")):
        answer = client.put(f"{url}/{mine.public_id}/resume", {"reason": "please"})
        assert (answer.status_code, answer.json()["status_reason"]) == (409, reason)


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda c, u: c.put(f"{u}/pause", {"open_positions": "SELL"}), "open_positions"),
        (lambda c, u: c.put(f"{u}/pause", {"open_positions": None}), "open_positions"),
        (lambda c, u: c.put(f"{u}/pause", {"reason": 5}), "reason"),
        (lambda c, u: c.put(f"{u}/pause", {"reason": "x" * 201}), "reason"),
        (lambda c, u: c.put(f"{u}/pause", {"reason": "a\0b"}), "reason"),
        (lambda c, u: c.put(f"{u}/pause", {"why": "x"}), "why"),
        (lambda c, u: c.put(f"{u}/resume", {"open_positions": "EXIT_NOW"}), "open_positions"),
        (lambda c, u: c.put(f"{u}/pause?reason=x"), "reason"),
        (lambda c, u: c.delete(f"{u}?open_positions=SELL"), "open_positions"),
        (lambda c, u: c.delete(f"{u}?why=x"), "why"),
        (lambda c, u: c.delete(u, {"open_positions": "EXIT_NOW"}), "body"),
        (lambda c, u: c.get(f"{u}?open_positions=MANAGE"), "open_positions"),
    ],
)
def test_a_wrong_transition_request_is_named_and_changes_nothing(
    tenant: Tenant, mine: Subscription, call: Callable[[APIClient, str], Any], field: str
) -> None:
    for client, url in ((tenant.client, URL), (his_client(mine), "/user/subscriptions")):
        answer = call(client, f"{url}/{mine.public_id}")
        assert (answer.status_code, list(answer.json()["details"])) == (400, [field])
    mine.refresh_from_db()
    assert mine.status == "ACTIVE"


# -- permissions, both ways ----------------------------------------------------------------------
ROUTES = (
    ("post", SUBSCRIBE, permissions.MARKETPLACE_SUBSCRIBE),
    ("get", URL, permissions.SUBSCRIPTIONS_READ),
    ("get", URL + "/{id}", permissions.SUBSCRIPTIONS_READ),
    ("get", URL + "/{id}/allocations", permissions.SUBSCRIPTIONS_READ),
    ("put", URL + "/{id}/pause", permissions.SUBSCRIPTIONS_WRITE),
    ("put", URL + "/{id}/resume", permissions.SUBSCRIPTIONS_WRITE),
    ("delete", URL + "/{id}", permissions.SUBSCRIPTIONS_WRITE),
)


@pytest.mark.parametrize(("method", "url", "permission"), ROUTES)
def test_a_permission_opens_its_routes_and_no_other(
    tenant: Tenant, mine: Subscription, method: str, url: str, permission: str
) -> None:
    path = url.format(id=mine.public_id)
    body = {
        "template_id": make_template().public_id,
        "user_email": "new@example.com",
        "user_state": "33",
        "broker_client_id": "NEW1",
    }
    given = body if method == "post" else {}
    all_but = [name for name in permissions.ALL if name != permission]
    without = partner_client(make_key(tenant.partner, permissions=all_but))
    refused = getattr(without, method)(path, given)
    assert refused.status_code == 403
    assert refused.json()["code"] == "permission_denied"
    assert refused.json()["details"] == {"permission": permission}
    mine.refresh_from_db()
    assert mine.status == "ACTIVE"
    only = partner_client(make_key(tenant.partner, permissions=[permission]))
    assert getattr(only, method)(path, given).status_code in (200, 201)


def test_who_nobody_knows_is_401_and_a_customer_is_no_partner(
    tenant: Tenant, mine: Subscription
) -> None:
    nobody, his = APIClient(raise_request_exception=False), his_client(mine)
    for method, url, _ in ROUTES:
        path = url.format(id=mine.public_id)
        for client in (nobody, his):
            assert getattr(client, method)(path).status_code == 401
        user_path = path.replace("/partner/marketplace/subscribe", "/marketplace/subscribe/x")
        user_path = user_path.replace("/partner/", "/user/")
        for client in (nobody, tenant.client):
            assert getattr(client, method)(user_path).status_code == 401
    mine.refresh_from_db()
    assert mine.status == "ACTIVE"


# -- tenancy -------------------------------------------------------------------------------------
def test_what_is_not_ones_own_is_unknown_byte_for_byte(tenant: Tenant, mine: Subscription) -> None:
    """Another partner, the other environment, and for a customer his neighbour."""
    headers = {"X-Request-Id": "same"}
    neighbour = customer_client(make_customer(tenant.partner))
    direct = customer_client(make_customer(None, mine.customer.email))
    clients = [(stranger.client, URL) for stranger in strangers(tenant)]
    clients += [(client, "/user/subscriptions") for client in (neighbour, direct)]
    tried = 0
    for client, base in clients:
        listed = client.get(base).json()
        assert (listed["subscriptions"], listed["pagination"]["total"]) == ([], 0)
        for method, tail in (
            ("get", ""),
            ("get", "/allocations"),
            ("put", "/pause"),
            ("put", "/resume"),
            ("delete", ""),
        ):
            call = getattr(client, method)
            given = call(f"{base}/{mine.public_id}{tail}", headers=headers)
            unknown = call(f"{base}/sub_00000000000000000000{tail}", headers=headers)
            nul = call(f"{base}/sub_%00{tail}", headers=headers)
            assert given.status_code == 404
            assert given.content == unknown.content == nul.content
            tried += 1
    assert tried == 20
    mine.refresh_from_db()
    assert mine.status == "ACTIVE"


def test_a_list_shows_only_the_keys_own_tenant(tenant: Tenant, mine: Subscription) -> None:
    others = strangers(tenant)
    for other in others:
        subscribe_many(make_template(environment=other.environment), 2, other.partner)
    assert tenant.client.get(URL).json()["pagination"]["total"] == 1
    for other in others:
        assert other.client.get(URL).json()["pagination"]["total"] == 2


# -- bad input of subscribe ----------------------------------------------------------------------
WRONG: dict[str, list[Any]] = {
    "template_id": [None, 5, True, [], {}, "", "x" * 41, "a\0b"],
    "template_basket_id": [5, "bsk_other"],
    "user_email": [None, 5, [], "", "nobody", "a@b", "a\0@example.com", "x" * 250 + "@e.com", ...],
    "user_name": [5, True, "x" * 121, "a\0b"],
    "user_state": [29, "2", "KA", "290", "\u0662\u0669", "00", "28", "96", "99"],
    "broker_client_id": [None, 5, {}, "", "a b", "x" * 41, "a\0b", "naïve", ...],
    "broker": [5, "", "unknown", "a\0b", "x" * 21],
    "lot_multiplier": [None, "2", True, [], 0, -1, 0.001, 1.234, 10**7, 0.5, 1.5],
    "auto_link_broker": ["true", 1, 0, []],
    "max_lots_per_order": ["1", 0, -1, 1.5, True, 10**9],
    "priority": ["1", 0, -1, 1.5, False, 10**6],
    "allocations": [5, "x", {}, [], [5], [{}], [{"broker_client_id": 5}], [{"colour": 1}]],
    "accepted_disclosure_version": ["1", 0, 7, 1.5, True, 10**12],
    "colour": ["red"],
}
CASES = [(field, value) for field, values in WRONG.items() for value in values]


@pytest.mark.django_db
def test_bad_input_names_its_field_and_changes_nothing() -> None:
    """Every case is refused with 400 and the code invalid_request."""
    load_reference_data()
    tenant = make_tenant("zebu")
    template = make_template(legs=[leg_spec(lots=1), leg_spec("BUY", "PE", lots=2)])
    his = customer_client(make_customer(tenant.partner))
    valid = {"broker_client_id": "Z1", "lot_multiplier": 1}
    partner_only = {"template_id": template.public_id, "user_email": "a@example.com"}
    tried = 0
    for field, value in CASES:
        calls = [(tenant.client, SUBSCRIBE, valid | partner_only)]
        if field not in ("template_id", "template_basket_id", "user_email"):
            calls.append((his, f"/marketplace/subscribe/{template.public_id}", valid))
        for client, url, good in calls:
            body = good | {field: value}
            if field == "allocations":
                body = {k: v for k, v in body.items() if k not in valid}
            body = {name: given for name, given in body.items() if given is not ...}
            answer = client.post(url, body)
            refusal = answer.json()
            assert answer.status_code == 400, (field, value, refusal)
            assert refusal["details"], (field, value)
            assert all(name.split(".")[0] == field for name in refusal["details"]), refusal
            assert refusal["code"] == "invalid_request"
            assert set(refusal) == {
                "statusCode",
                "error",
                "code",
                "message",
                "details",
                "request_id",
            }
            tried += 1
    assert not Subscription.objects.exists()
    assert not OutboxEvent.objects.filter(type__startswith="subscription").exists()
    assert tried > 100


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("raw", "content_type", "status"),
    [
        (b"", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'"text"', "application/json", 400),
        (b"{", "application/json", 400),
        (b'{"lot_multiplier": NaN}', "application/json", 400),
        (b'{"lot_multiplier": 1e999999}', "application/json", 400),
        (b'{"user_name": "\\ud800"}', "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b'{"broker": "a", "broker": "b"}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"user_name": "' + b"x" * 300_000 + b'"}', "application/json", 413),
        (b"template_id=x", "application/x-www-form-urlencoded", 415),
        (b"{}", "text/plain", 415),
    ],
)
def test_a_body_that_is_no_body(raw: bytes, content_type: str, status: int) -> None:
    tenant = make_tenant()
    client = APIClient(headers=key_headers(tenant.key), raise_request_exception=False)
    for url, method in ((SUBSCRIBE, client.post), (f"{URL}/sub_x/pause", client.put)):
        answer = method(url, data=raw, content_type=content_type)
        expected = {status} if method == client.post else {status, 404}
        assert answer.status_code in expected, (url, answer.content)
        assert json.loads(answer.content)["statusCode"] == answer.status_code


def test_methods_that_no_route_has(tenant: Tenant, mine: Subscription) -> None:
    paths = [url.format(id=mine.public_id) for _, url, _ in ROUTES]
    known = {(method, path) for (method, _, _), path in zip(ROUTES, paths, strict=True)}
    for method, path in itertools.product(("get", "post", "put", "patch", "delete"), set(paths)):
        if (method, path) not in known:
            answer = getattr(tenant.client, method)(path)
            assert answer.status_code in (400, 405), (method, path, answer.json())


def test_times_are_utc_with_z(tenant: Tenant, mine: Subscription) -> None:
    detail = tenant.client.get(f"{URL}/{mine.public_id}").json()
    for name in ("created_at", "status_changed_at", "next_billing_at"):
        assert detail[name].endswith("Z")
        assert dt.datetime.fromisoformat(detail[name]).tzinfo == dt.UTC
