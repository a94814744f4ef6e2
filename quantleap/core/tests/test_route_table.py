"""The answer of every path to every method, written by hand and tested over HTTP.

It knows nothing of views: it passed before the API used viewsets, and must pass with whatever comes
next.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import pytest
from django.test import Client

from quantleap.core.api.paths import is_api_path
from quantleap.core.models import IdempotencyRecord
from quantleap.core.tests.matrix.cases import NOBODYS
from quantleap.core.tests.matrix.dataset import Dataset
from quantleap.core.tests.matrix.play import new_client, undone
from quantleap.core.tests.matrix.routes import leaves

GET, POST, PUT = "GET, HEAD", "POST", "PUT"
GET_PATCH_DELETE = "GET, PATCH, DELETE, HEAD"
#: Path and the ``Allow`` header of whatever it answers; below ``/api/v1`` and without.
ALLOW: Mapping[str, str] = {
    "/marketplace/templates": GET,
    "/marketplace/templates/{template_id}": GET,
    "/marketplace/subscribe/{template_id}": POST,
    "/partner/marketplace/templates": GET,
    "/partner/marketplace/templates/{template_id}": GET,
    "/partner/marketplace/subscribe": POST,
    "/partner/user-tokens": POST,
    "/partner/customers": GET,
    "/partner/customers/{user_id}": GET,
    "/partner/customers/{user_id}/email": POST,
    "/partner/broker-accounts": "GET, POST, HEAD",
    "/partner/broker-accounts/{client_id}": "GET, DELETE, HEAD",
    "/partner/broker-accounts/{client_id}/oauth/initiate": POST,
    "/partner/broker-accounts/{client_id}/oauth/callback": POST,
    "/partner/readiness": GET,
    "/partner/subscriptions": GET,
    "/partner/subscriptions/{subscription_id}": GET_PATCH_DELETE,
    "/partner/subscriptions/{subscription_id}/pause": PUT,
    "/partner/subscriptions/{subscription_id}/resume": PUT,
    "/partner/subscriptions/{subscription_id}/allocations": "GET, POST, HEAD",
    "/partner/subscriptions/{subscription_id}/allocations/{allocation_id}": GET_PATCH_DELETE,
    "/partner/subscriptions/{subscription_id}/executions": GET,
    "/partner/subscriptions/{subscription_id}/positions": GET,
    "/partner/invoices": GET,
    "/partner/invoices/{invoice_id}": GET,
    "/partner/invoices/{invoice_id}/pdf": GET,
    "/partner/payments": GET,
    "/partner/revenue": GET,
    "/partner/commissions": GET,
    "/user/broker-accounts": "GET, POST, HEAD",
    "/user/broker-accounts/{client_id}": "GET, DELETE, HEAD",
    "/user/broker-accounts/{client_id}/oauth/initiate": POST,
    "/user/broker-accounts/{client_id}/oauth/callback": POST,
    "/user/subscriptions": GET,
    "/user/subscriptions/{subscription_id}": GET_PATCH_DELETE,
    "/user/subscriptions/{subscription_id}/pause": PUT,
    "/user/subscriptions/{subscription_id}/resume": PUT,
    "/user/subscriptions/{subscription_id}/allocations": "GET, POST, HEAD",
    "/user/subscriptions/{subscription_id}/allocations/{allocation_id}": GET_PATCH_DELETE,
    "/user/subscriptions/{subscription_id}/executions": GET,
    "/user/subscriptions/{subscription_id}/positions": GET,
    "/user/invoices": GET,
    "/user/invoices/{invoice_id}": GET,
    "/user/invoices/{invoice_id}/pdf": GET,
    "/user/payments": GET,
}
#: Only below ``/api/v1``.
DOCUMENTS: Mapping[str, str] = {"/schema": GET, "/docs": GET}
PATHS = {
    **{f"/api/v1{path}": allow for path, allow in {**ALLOW, **DOCUMENTS}.items()},
    **ALLOW,
}
METHODS = (
    *("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE"),
    *("PROPFIND", "OTHER", "CHECK_BODY", "INITIAL", "DISPATCH", "LIST", "RETRIEVE", "PAUSE"),
)


def surface(path: str) -> str:
    """The audience whose credentials a path accepts."""
    bare = path.removeprefix("/api/v1")
    if bare.startswith("/partner/"):
        return "partner"
    return "user" if bare.startswith(("/user/", "/marketplace/subscribe/")) else "public"


def ask(client: Client, method: str, url: str, headers: Mapping[str, str]) -> Any:
    """The answer to a request without a body."""
    with undone():
        return client.generic(method, url, headers=dict(headers))


def at(path: str, dataset: Dataset) -> str:
    """The path with ids that its caller may see."""
    return path.format(**dataset.me.ids)


def body_of(answer: Any) -> bytes:
    content: bytes = b"".join(answer) if answer.streaming else answer.content
    return content


# -- paths ----------------------------------------------------------------------------------------
def test_the_api_has_these_paths_and_no_others() -> None:
    assert {path for path, _ in leaves() if is_api_path(path)} == set(PATHS)


def test_each_path_has_the_methods_of_the_table_and_no_others(dataset: Dataset) -> None:
    """Whatever is answered names them, a refusal by 405 too; OPTIONS is none of them."""
    client = new_client()
    for path, allow in PATHS.items():
        for method in METHODS:
            answer = ask(client, method, at(path, dataset), dataset.headers(surface(path)))
            assert answer.headers["Allow"] == allow, (method, path)
            refused = answer.status_code == HTTPStatus.METHOD_NOT_ALLOWED
            assert refused == (method not in allow.split(", ")), (method, path)
            assert answer.status_code < 500, (method, path)


def test_who_may_call_comes_before_which_methods_there_are(dataset: Dataset) -> None:
    client = new_client()
    for path in (path for path in PATHS if path.startswith("/api/v1")):
        bad = {"Authorization": "Bearer nobody"}
        for headers in ({}, bad) if surface(path) != "public" else (bad,):
            for method in METHODS:
                answer = ask(client, method, at(path, dataset), headers)
                assert answer.status_code == 401, (method, path)
                assert answer.headers["WWW-Authenticate"] == "Bearer", (method, path)


def test_a_head_is_its_get_without_the_body(dataset: Dataset) -> None:
    client = new_client()
    for path, allow in PATHS.items():
        if "HEAD" not in allow:
            continue
        for ids in (dataset.me.ids, dict.fromkeys(dataset.me.ids, NOBODYS["unknown"])):
            url, headers = path.format(**ids), dataset.headers(surface(path))
            got, head = ask(client, "GET", url, headers), ask(client, "HEAD", url, headers)
            assert (head.status_code, body_of(head)) == (got.status_code, b""), url
            for name in ("Allow", "Vary", "Content-Type", "Cache-Control", "ETag"):
                assert head.headers.get(name) == got.headers.get(name), (name, url)


def test_no_path_has_a_slash_or_a_suffix_and_none_is_redirected(dataset: Dataset) -> None:
    client = new_client()
    for path in PATHS:
        url = at(path, dataset)
        for other in (f"{url}/", f"{url}//", f"{url}%0A", f"{url}/list", f"{url}.json"):
            answer = ask(client, "GET", other, dataset.headers(surface(path)))
            if other.endswith((".json", "%0A")) and path.endswith("}"):  # then it is in the id,
                assert answer.status_code in (200, 404, 405), other  # and brokers' are trimmed
            else:
                assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), other
            assert "Location" not in answer.headers, other


@pytest.mark.parametrize("client_id", ["Z.1", "a.b.json", "-", "_", "Z@1", "é", "Z:1", "Z1."])
def test_an_id_is_everything_between_two_slashes(dataset: Dataset, client_id: str) -> None:
    """Dots included: 404 names the account, not the path, and other methods are still 405."""
    client = new_client()
    for who in ("partner", "user"):
        for ending, allow in {"": "GET, DELETE, HEAD", "/oauth/initiate": "POST"}.items():
            url = f"/api/v1/{who}/broker-accounts/{client_id}{ending}"
            for method in ("GET", "POST", "PUT", "DELETE"):
                answer = ask(client, method, url, dataset.headers(who))
                assert answer.headers["Allow"] == allow, (method, url)
                expected = 404 if method in allow.split(", ") else 405
                assert answer.status_code == expected, (method, url)


# -- Idempotency-Key ------------------------------------------------------------------------------
def test_only_a_post_holds_its_key(dataset: Dataset) -> None:
    client = new_client()
    for path, allow in PATHS.items():
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            if method not in allow.split(", "):
                continue
            headers = {**dataset.headers(surface(path)), "Idempotency-Key": "a-key"}
            with undone():
                answer = client.generic(method, at(path, dataset), headers=headers)
                assert not IdempotencyRecord.objects.exists(), (method, path)
            assert "Idempotent-Replayed" not in answer.headers, (method, path)
            assert answer.status_code in (200, 409), (method, path)


def test_a_post_to_a_path_that_has_none_holds_no_key(dataset: Dataset) -> None:
    client = new_client()
    for path, allow in PATHS.items():
        if "POST" in allow:
            continue
        headers = {**dataset.headers(surface(path)), "Idempotency-Key": "not a key"}
        answer = ask(client, "POST", at(path, dataset), headers)
        assert answer.status_code == 405, path
