"""Every failure is answered with the one envelope (docs/api/conventions.md#errors)."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

URL = "/api/v1/partner/user-tokens"
MEMBERS = {"statusCode", "error", "code", "message", "details", "request_id"}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("get", "/api/v1/nothing", 404, "not_found"),
        ("get", "/partner/nothing", 404, "not_found"),
        ("get", "/api/v1/partner/user-tokens/", 404, "not_found"),
        ("post", URL, 401, "invalid_credentials"),
    ],
)
def test_errors_have_one_shape(method: str, path: str, status: int, code: str) -> None:
    answer = getattr(Client(raise_request_exception=False), method)(path)
    body = answer.json()
    assert (answer.status_code, body["statusCode"], body["code"]) == (status, status, code)
    assert set(body) == MEMBERS
    assert body["request_id"] == answer.headers["X-Request-Id"]


@pytest.mark.django_db
def test_people_get_a_page_and_not_an_envelope() -> None:
    answer = Client().get("/app/nothing")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"].startswith("text/html")


@pytest.mark.django_db
def test_a_callers_request_id_is_kept_if_it_is_harmless() -> None:
    for given, is_kept in (("abc-123", True), ("x" * 65, False), ("with space", False)):
        answer = Client().get("/api/v1/nothing", headers={"X-Request-Id": given})
        assert (answer.headers["X-Request-Id"] == given) == is_kept


@pytest.mark.django_db
def test_the_log_has_the_id_that_the_caller_was_given(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING"):
        answer = Client().get("/api/v1/nothing")
    assert answer.headers["X-Request-Id"] in caplog.text


class TestPlainHttp:
    """Production refuses it and never redirects."""

    @pytest.fixture(autouse=True)
    def _production(self, settings: Any) -> None:
        settings.QUANTLEAP_REFUSE_PLAIN_HTTP = True
        settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

    @pytest.mark.parametrize("path", ["/api/v1/docs", "/partner/user-tokens", "/admin/"])
    def test_it_is_403_with_the_envelope(self, path: str) -> None:
        answer = Client(REMOTE_ADDR="203.0.113.9").get(path)
        assert (answer.status_code, answer.json()["code"]) == (403, "https_required")
        assert "Location" not in answer.headers

    def test_https_and_this_machine_pass(self) -> None:
        assert Client(REMOTE_ADDR="203.0.113.9").get("/api/v1/docs", secure=True).status_code == 200
        assert Client(REMOTE_ADDR="127.0.0.1").get("/api/v1/docs").status_code == 200

    def test_a_proxy_on_this_machine_does_not_make_plain_http_local(self) -> None:
        client = Client(REMOTE_ADDR="127.0.0.1")
        proxied = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http"}
        assert client.get("/api/v1/docs", headers=proxied).status_code == 403
        secure = {**proxied, "X-Forwarded-Proto": "https"}
        assert client.get("/api/v1/docs", headers=secure).status_code == 200
