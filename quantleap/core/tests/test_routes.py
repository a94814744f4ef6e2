"""Every route: the same under both spellings, with the right authentication, open to those who
may."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import pytest
import responses
from django import urls
from django.core.exceptions import ImproperlyConfigured
from rest_framework.request import Request
from rest_framework.response import Response

from partners import permissions
from partners.models import Partner
from partners.tests.factories import key_headers, make_key
from quantleap.core.api.idempotency import Idempotency
from quantleap.core.api.routers import ApiRouter
from quantleap.core.api.viewsets import ActionRule, ApiViewSet, PublicViewSet
from quantleap.core.audit import SYSTEM
from quantleap.core.tests.conftest import NOREN
from quantleap.core.tests.matrix.bad_requests import BAD_QUERY
from quantleap.core.tests.matrix.bodies import GOOD, good_body, places
from quantleap.core.tests.matrix.cases import Case, request
from quantleap.core.tests.matrix.dataset import (
    Dataset,
    Headers,
    bearer,
    fingerprint,
    lacks,
    user_token,
)
from quantleap.core.tests.matrix.play import envelope_faults, new_client, send, undone
from quantleap.core.tests.matrix.routes import (
    METHODS,
    VERSIONED,
    Operation,
    api_routes,
    operations,
    route_of,
)
from subscriptions import services

ALLOCATION = "subscriptions/{subscription_id}/allocations/{allocation_id}"
#: The permission of a partner's key, written by hand: code that requires less fails.
PERMISSIONS = {
    "GET /partner/marketplace/templates": permissions.MARKETPLACE_READ,
    "GET /partner/marketplace/templates/{template_id}": permissions.MARKETPLACE_READ,
    "POST /partner/user-tokens": permissions.SUBSCRIPTIONS_WRITE,
    "GET /partner/customers": permissions.SUBSCRIPTIONS_READ,
    "GET /partner/customers/{user_id}": permissions.SUBSCRIPTIONS_READ,
    "POST /partner/customers/{user_id}/email": permissions.SUBSCRIPTIONS_WRITE,
    "GET /partner/broker-accounts": permissions.BROKER_ACCOUNTS_READ,
    "POST /partner/broker-accounts": permissions.BROKER_ACCOUNTS_WRITE,
    "GET /partner/broker-accounts/{client_id}": permissions.BROKER_ACCOUNTS_READ,
    "DELETE /partner/broker-accounts/{client_id}": permissions.BROKER_ACCOUNTS_WRITE,
    "POST /partner/broker-accounts/{client_id}/oauth/initiate": permissions.BROKER_ACCOUNTS_WRITE,
    "POST /partner/broker-accounts/{client_id}/oauth/callback": permissions.BROKER_ACCOUNTS_WRITE,
    "POST /partner/marketplace/subscribe": permissions.MARKETPLACE_SUBSCRIBE,
    "GET /partner/invoices": permissions.REVENUE_READ,
    "GET /partner/invoices/{invoice_id}": permissions.REVENUE_READ,
    "GET /partner/invoices/{invoice_id}/pdf": permissions.REVENUE_READ,
    "GET /partner/payments": permissions.REVENUE_READ,
    "GET /partner/revenue": permissions.REVENUE_READ,
    "GET /partner/commissions": permissions.REVENUE_READ,
    "GET /partner/readiness": permissions.SUBSCRIPTIONS_READ,
    "GET /partner/subscriptions": permissions.SUBSCRIPTIONS_READ,
    "GET /partner/subscriptions/{subscription_id}": permissions.SUBSCRIPTIONS_READ,
    "DELETE /partner/subscriptions/{subscription_id}": permissions.SUBSCRIPTIONS_WRITE,
    "PUT /partner/subscriptions/{subscription_id}/pause": permissions.SUBSCRIPTIONS_WRITE,
    "PUT /partner/subscriptions/{subscription_id}/resume": permissions.SUBSCRIPTIONS_WRITE,
    "GET /partner/subscriptions/{subscription_id}/allocations": permissions.SUBSCRIPTIONS_READ,
    "POST /partner/subscriptions/{subscription_id}/allocations": permissions.SUBSCRIPTIONS_WRITE,
    f"GET /partner/{ALLOCATION}": permissions.SUBSCRIPTIONS_READ,
    f"PATCH /partner/{ALLOCATION}": permissions.SUBSCRIPTIONS_WRITE,
    f"DELETE /partner/{ALLOCATION}": permissions.SUBSCRIPTIONS_WRITE,
    "PATCH /partner/subscriptions/{subscription_id}": permissions.SUBSCRIPTIONS_WRITE,
    "GET /partner/subscriptions/{subscription_id}/executions": permissions.SUBSCRIPTIONS_READ,
    "GET /partner/subscriptions/{subscription_id}/positions": permissions.SUBSCRIPTIONS_READ,
    # a token may what its key may; the catalogue asks whoever shows one or the other
    "GET /marketplace/templates": permissions.MARKETPLACE_READ,
    "GET /marketplace/templates/{template_id}": permissions.MARKETPLACE_READ,
    "POST /marketplace/subscribe/{template_id}": permissions.MARKETPLACE_SUBSCRIBE,
    "GET /user/broker-accounts": permissions.BROKER_ACCOUNTS_READ,
    "POST /user/broker-accounts": permissions.BROKER_ACCOUNTS_WRITE,
    "GET /user/broker-accounts/{client_id}": permissions.BROKER_ACCOUNTS_READ,
    "DELETE /user/broker-accounts/{client_id}": permissions.BROKER_ACCOUNTS_WRITE,
    "POST /user/broker-accounts/{client_id}/oauth/initiate": permissions.BROKER_ACCOUNTS_WRITE,
    "POST /user/broker-accounts/{client_id}/oauth/callback": permissions.BROKER_ACCOUNTS_WRITE,
    "GET /user/invoices": permissions.REVENUE_READ,
    "GET /user/invoices/{invoice_id}": permissions.REVENUE_READ,
    "GET /user/invoices/{invoice_id}/pdf": permissions.REVENUE_READ,
    "GET /user/payments": permissions.REVENUE_READ,
    "GET /user/subscriptions": permissions.SUBSCRIPTIONS_READ,
    "GET /user/subscriptions/{subscription_id}": permissions.SUBSCRIPTIONS_READ,
    "DELETE /user/subscriptions/{subscription_id}": permissions.SUBSCRIPTIONS_WRITE,
    "PUT /user/subscriptions/{subscription_id}/pause": permissions.SUBSCRIPTIONS_WRITE,
    "PUT /user/subscriptions/{subscription_id}/resume": permissions.SUBSCRIPTIONS_WRITE,
    "GET /user/subscriptions/{subscription_id}/allocations": permissions.SUBSCRIPTIONS_READ,
    "POST /user/subscriptions/{subscription_id}/allocations": permissions.SUBSCRIPTIONS_WRITE,
    f"GET /user/{ALLOCATION}": permissions.SUBSCRIPTIONS_READ,
    f"PATCH /user/{ALLOCATION}": permissions.SUBSCRIPTIONS_WRITE,
    f"DELETE /user/{ALLOCATION}": permissions.SUBSCRIPTIONS_WRITE,
    "PATCH /user/subscriptions/{subscription_id}": permissions.SUBSCRIPTIONS_WRITE,
    "GET /user/subscriptions/{subscription_id}/executions": permissions.SUBSCRIPTIONS_READ,
    "GET /user/subscriptions/{subscription_id}/positions": permissions.SUBSCRIPTIONS_READ,
}
#: What stays open for a suspended partner's keys and its customers' tokens (adr 0051), written by
#: hand: a route that is not here is closed to both.
KEYS_OF_SUSPENDED_MAY = {
    "POST /partner/user-tokens",
    "PUT /partner/subscriptions/{subscription_id}/pause",
    "DELETE /partner/subscriptions/{subscription_id}",
}
TOKENS_OF_SUSPENDED_MAY = {
    "GET /marketplace/templates",
    "GET /marketplace/templates/{template_id}",
    "GET /user/broker-accounts",
    "GET /user/broker-accounts/{client_id}",
    "DELETE /user/broker-accounts/{client_id}",
    "POST /user/broker-accounts/{client_id}/oauth/initiate",
    "POST /user/broker-accounts/{client_id}/oauth/callback",
    "GET /user/invoices",
    "GET /user/invoices/{invoice_id}",
    "GET /user/invoices/{invoice_id}/pdf",
    "GET /user/payments",
    "GET /user/subscriptions",
    "GET /user/subscriptions/{subscription_id}",
    "DELETE /user/subscriptions/{subscription_id}",
    "PUT /user/subscriptions/{subscription_id}/pause",
    "GET /user/subscriptions/{subscription_id}/allocations",
    f"GET /user/{ALLOCATION}",
    "GET /user/subscriptions/{subscription_id}/executions",
    "GET /user/subscriptions/{subscription_id}/positions",
}
#: How each POST treats its ``Idempotency-Key``: a call to a broker is never repeated, a secret is
#: shown once.
IDEMPOTENCY = {
    "POST /partner/user-tokens": Idempotency.SHOWS_SECRET,
    "POST /partner/customers/{user_id}/email": Idempotency.WITH_EFFECT,
    "POST /partner/broker-accounts": Idempotency.WITH_EFFECT,
    "POST /partner/subscriptions/{subscription_id}/allocations": Idempotency.WITH_EFFECT,
    "POST /partner/broker-accounts/{client_id}/oauth/initiate": Idempotency.SHOWS_SECRET,
    "POST /partner/broker-accounts/{client_id}/oauth/callback": Idempotency.OUTSIDE,
    "POST /partner/marketplace/subscribe": Idempotency.WITH_EFFECT,
    "POST /marketplace/subscribe/{template_id}": Idempotency.WITH_EFFECT,
    "POST /user/broker-accounts": Idempotency.WITH_EFFECT,
    "POST /user/subscriptions/{subscription_id}/allocations": Idempotency.WITH_EFFECT,
    "POST /user/broker-accounts/{client_id}/oauth/initiate": Idempotency.SHOWS_SECRET,
    "POST /user/broker-accounts/{client_id}/oauth/callback": Idempotency.OUTSIDE,
}
#: Routes for people or tools, without the unversioned spelling.
VERSIONED_ONLY = {"/api/v1/schema", "/api/v1/docs"}
VERSIONED_OPERATIONS = [
    operation for operation in operations() if operation.route.startswith(VERSIONED)
]


def spoken(operation: Operation) -> str:
    """``POST /partner/user-tokens``."""
    return f"{operation.method} {operation.route.removeprefix(VERSIONED)}"


# -- the walk --------------------------------------------------------------------------------------
def test_both_spellings_are_the_same_views() -> None:
    routes = api_routes()
    versioned = {
        path.removeprefix(VERSIONED): route
        for path, route in routes.items()
        if path.startswith(VERSIONED) and path not in VERSIONED_ONLY
    }
    plain = {path: route for path, route in routes.items() if not path.startswith(VERSIONED)}
    assert versioned == plain
    assert len(versioned) >= 20


def test_every_route_is_an_api_viewset() -> None:
    loose = {
        path: route
        for path, route in api_routes().items()
        if not (isinstance(route.view, type) and issubclass(route.view, ApiViewSet))
    }
    assert loose == {}


def test_every_route_comes_from_a_router() -> None:
    by_hand = {path for path, route in api_routes().items() if not route.from_router}
    assert by_hand == set()


class _ThingViewSet(PublicViewSet):
    """Anything."""

    rules: ClassVar[Mapping[str, ActionRule]] = {"list": ActionRule()}

    def list(self, request: Request) -> Response:
        return Response({})


def test_a_route_that_is_written_by_hand_is_noticed() -> None:
    written = urls.path("things", _ThingViewSet.as_view({"get": "list"}))
    assert not route_of(written).from_router
    router = ApiRouter()
    router.register("things", _ThingViewSet)
    [registered] = router.urls
    assert isinstance(registered, urls.URLPattern)
    assert route_of(registered).from_router
    assert registered.name == "things-list"


@pytest.mark.parametrize(
    "rules",
    [{}, {"list": ActionRule(), "create": ActionRule()}],
    ids=["no rule", "a rule too many"],
)
def test_a_router_takes_no_action_without_its_rule(
    rules: Mapping[str, ActionRule], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_ThingViewSet, "rules", rules)
    with pytest.raises(ImproperlyConfigured, match="_ThingViewSet"):
        ApiRouter().register("things", _ThingViewSet)


def test_the_matrix_knows_every_method() -> None:
    named = {
        name.upper() for route in api_routes().values() for name in route.view.http_method_names
    }
    assert named <= {*METHODS, "HEAD"}


def test_partner_and_user_routes_are_where_they_belong() -> None:
    for operation in operations():
        first = operation.route.removeprefix(VERSIONED).split("/")[1]
        expected = {"partner": "partner", "user": "user"}.get(first)
        if operation.route.endswith("/marketplace/subscribe/{template_id}"):
            expected = "user"
        assert operation.surface == (expected or "public"), str(operation)


def test_every_method_asks_for_its_permission() -> None:
    asked = {
        spoken(operation): operation.permission
        for operation in VERSIONED_OPERATIONS
        if operation.permission
    }
    assert asked == PERMISSIONS
    for operation in VERSIONED_OPERATIONS:
        assert operation.permission or operation.surface == "public", str(operation)


def test_what_a_post_does_with_its_key_is_what_the_table_says() -> None:
    posts = [operation for operation in VERSIONED_OPERATIONS if operation.method == "POST"]
    assert {spoken(operation): operation.rule.idempotency for operation in posts} == IDEMPOTENCY
    others = {
        operation.rule.idempotency
        for operation in VERSIONED_OPERATIONS
        if operation.method != "POST"
    }
    assert others == {Idempotency.WITH_EFFECT}, "it says how a POST holds its key"


def test_every_body_and_query_is_known_to_the_matrix() -> None:
    for operation in operations():
        if operation.method in ("POST", "PUT", "PATCH"):
            assert operation.serializer is not None, f"{operation}: ActionRule(body=…)"
            unknown = {place.name for place in places(operation.serializer())} - set(GOOD)
            assert not unknown, f"{operation}: give good values in matrix/bodies.py"
        assert set(operation.query) <= set(BAD_QUERY), f"{operation}: matrix/bad_requests.py"


# -- who may, and who may not ----------------------------------------------------------------------
@pytest.fixture
def broker() -> Iterator[responses.RequestsMock]:
    """A broker that grants every code."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def good_request(operation: Operation, dataset: Dataset, headers: Headers) -> Case:
    """One that is accepted; what must be so before it is made so."""
    if operation.route.endswith("/resume"):
        services.pause(
            subscription_id=dataset.me.subscription.pk,
            actor=SYSTEM,
            reason="PARTNER" if operation.surface == "partner" else "USER",
            now=dataset.me.subscription.created_at,
        )
    if operation.method == "DELETE" and operation.route.endswith(ALLOCATION):
        services.add_allocation(  # the only one may not go
            subscription_id=dataset.me.subscription.pk,
            choice=services.AccountChoice(client_id="SECOND1", broker="zebu"),
            actor=SYSTEM,
            now=dataset.me.subscription.created_at,
        )
    changes: dict[str, Any] = {}
    if operation.route.endswith("/callback"):
        body = {**good_body(operation, dataset), "state": begun_login(operation, dataset)}
        changes["body"] = json.dumps(body).encode()
    return request(operation, dataset, "good", 0, headers=headers, **changes)


def begun_login(operation: Operation, dataset: Dataset) -> str:
    """The state of a login that has begun."""
    path = operation.route.replace("callback", "initiate")
    begin = next(candidate for candidate in operations() if candidate.route == path)
    answer = send(new_client(), request(begin, dataset, "begin", 200))
    state: str = answer.json()["state"]
    return state


def grant(broker: responses.RequestsMock, dataset: Dataset) -> None:
    client_id = dataset.me.account.client_id
    granted = {"stat": "Ok", "access_token": "today", "actid": client_id, "USERID": client_id}
    broker.post(f"{NOREN}/NorenWClientAPI/GenAcsTok", json=granted)


def only(dataset: Dataset, permission: str, surface: str) -> Headers:
    """A key that may do this alone, or a customer's token that such a key minted."""
    if surface == "partner":
        assert dataset.me.partner is not None
        return key_headers(make_key(dataset.me.partner, permissions=[permission]))
    return bearer(user_token(dataset.me.customer, granted=[permission]))


def without(dataset: Dataset) -> Callable[[Operation], Headers]:
    """Headers of who lacks what an operation needs, and nothing else; each made once."""
    lacking = functools.cache(functools.partial(lacks, dataset))
    return lambda operation: lacking(operation.permission, operation.surface != "partner")


def test_a_good_request_is_accepted(dataset: Dataset, broker: responses.RequestsMock) -> None:
    """The control of every refusal: the same request without its fault, by the one who may; a
    partner's key has this permission and no other, and so has the key of a customer's token."""
    grant(broker, dataset)
    alone = functools.cache(functools.partial(only, dataset))
    client = new_client()
    for operation in VERSIONED_OPERATIONS:
        asks = operation.permission
        headers = alone(asks, operation.surface) if asks else {}
        with undone():
            case = good_request(operation, dataset, headers)
            before = fingerprint()
            answer = send(client, case)
            changed = {table for table, rows in fingerprint().items() if rows != before[table]}
        assert answer.status in (200, 201), (str(case), answer.content)
        assert bool(changed) == (operation.method != "GET"), (str(case), changed)
        assert not any(secret.encode() in answer.content for secret in dataset.secrets), str(case)


def test_without_the_permission_it_is_refused_by_name(dataset: Dataset) -> None:
    lacking = without(dataset)
    client = new_client()
    for operation in VERSIONED_OPERATIONS:
        if not operation.permission:
            continue
        headers = lacking(operation)
        with undone():
            case = good_request(operation, dataset, headers)
            before = fingerprint()
            answer = send(client, case)
            assert fingerprint() == before, str(case)
        assert (answer.status, answer.json()["code"]) == (403, "permission_denied"), str(case)
        assert answer.json()["details"] == {"permission": operation.permission}
        assert envelope_faults(case, answer) == []


def test_a_new_route_is_closed_while_a_partner_is_suspended() -> None:
    """Whatever a view says of itself stands in one of the two tables."""
    open_ones = {
        spoken(operation)
        for operation in VERSIONED_OPERATIONS
        if operation.rule.open_when_suspended
    }
    assert open_ones == KEYS_OF_SUSPENDED_MAY | TOKENS_OF_SUSPENDED_MAY


def test_what_stays_open_while_a_partner_is_suspended(
    dataset: Dataset, broker: responses.RequestsMock
) -> None:
    """Every route: seen was 401 for a customer's pause and cancel, and for the partner's."""
    grant(broker, dataset)
    client, opened = new_client(), {"partner": set[str](), "user": set[str]()}
    assert dataset.me.partner is not None
    for operation in VERSIONED_OPERATIONS:
        surfaces = ("partner", "user") if operation.surface == "public" else (operation.surface,)
        for surface in surfaces:
            with undone():
                case = good_request(operation, dataset, dataset.headers(surface))
                if operation.route.endswith("/user-tokens"):  # for whoever is a customer already
                    known = json.dumps({"user_email": dataset.me.customer.email}).encode()
                    case = request(operation, dataset, "known", 201, body=known)
                Partner.objects.filter(pk=dataset.me.partner.pk).update(status="SUSPENDED")
                answer = send(client, case)
            if answer.status in (200, 201):
                opened[surface].add(spoken(operation))
                continue
            assert (answer.status, answer.json()["code"]) == (403, "partner_suspended"), str(case)
            assert answer.json()["message"], str(case)
            assert envelope_faults(case, answer) == []
    assert opened["partner"] == KEYS_OF_SUSPENDED_MAY
    assert opened["user"] == TOKENS_OF_SUSPENDED_MAY


def test_a_head_needs_what_its_get_needs(dataset: Dataset) -> None:
    lacking = without(dataset)
    client = new_client()

    def head(operation: Operation, headers: Headers) -> int:
        case = request(operation, dataset, "head", 0, headers=headers, method="HEAD")
        return send(client, case).status

    for operation in VERSIONED_OPERATIONS:
        if operation.method != "GET":
            continue
        assert head(operation, dataset.headers(operation.surface)) == 200, str(operation)
        if operation.surface != "public":
            assert head(operation, {}) == 401, str(operation)
        if operation.permission:
            headers = lacking(operation)
            assert head(operation, headers) == 403, str(operation)


#: What clients send without meaning it, or by mistake.
ODD_ACCEPTS = (
    "",
    " ",
    "application/octet-stream",
    "application/pdf",
    "application/xml",
    "text/html",
    "garbage",
    ";;;,",
    "application/x;q=",
    "*",
    "é",
)


def test_an_accept_that_no_route_has_gets_the_routes_own_type(dataset: Dataset) -> None:
    """Bug: 406 for an empty header, and for application/octet-stream to an invoice's PDF."""
    client = new_client()
    for operation in VERSIONED_OPERATIONS:
        if operation.method != "GET":
            continue
        headers = dataset.headers(operation.surface)
        own = send(client, request(operation, dataset, "plain", 200, headers=headers))
        assert own.status == 200, str(operation)
        for accept in ODD_ACCEPTS:
            given = {**headers, "Accept": accept}
            answer = send(client, request(operation, dataset, accept, 200, headers=given))
            assert answer.status == 200, (str(operation), accept)
            assert answer.headers["Content-Type"] == own.headers["Content-Type"], accept


def test_a_refusal_is_json_whatever_the_accept(dataset: Dataset) -> None:
    client = new_client()
    for operation in VERSIONED_OPERATIONS:
        for accept in ODD_ACCEPTS:
            headers = {"Accept": accept, "Authorization": "Bearer nobody"}
            answer = send(client, request(operation, dataset, accept, 401, headers=headers))
            assert (answer.status, answer.json()["code"]) == (401, "invalid_credentials")


def test_every_request_is_told_apart(dataset: Dataset) -> None:
    """A caller's own request id comes back, also on a refusal; a harmful one does not."""
    ids = {"abc-123": True, "x" * 64: True, "x" * 65: False, "tab\there": False, "é": False}
    client = new_client()
    for operation in operations():
        for given, is_kept in ids.items():
            case = request(operation, dataset, "id", 401, headers={"X-Request-Id": given})
            answer = send(client, case)
            assert (answer.headers["X-Request-Id"] == given) == is_kept, str(case)
