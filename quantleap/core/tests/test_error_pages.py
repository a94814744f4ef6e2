"""Refusals have a page for people and an envelope for programs; both name the request."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from quantleap.core import error_pages
from quantleap.core.admin.records import AuditEntryAdmin
from quantleap.core.models import StaffUser

pytestmark = pytest.mark.django_db
AUDIT = "/admin/core/auditentry/"


def browser(*, superuser: bool = True, **options: Any) -> Client:
    user = StaffUser.objects.create_user("asha", is_staff=True, is_superuser=superuser)
    client = Client(raise_request_exception=False, **options)
    client.force_login(user)
    return client


def check(answer: Any, status: int, back: str = "/admin/") -> str:
    """Check that it is the styled page, with the way back and the request id of the header."""
    text: str = answer.content.decode()
    assert answer.status_code == status
    assert error_pages.WORDS[status].title in text or status == 403
    assert f'href="{back}"' in text
    assert answer.headers["X-Request-Id"] in text
    assert "core/errors.css" in text
    assert "<script>" not in text, "a page works under the content security policy"
    return text


def test_nul_and_forbidden_lookups_are_400() -> None:
    check(browser().get(f"{AUDIT}?q=%00"), 400)


def test_403_for_a_page_without_the_right() -> None:
    check(browser(superuser=False).get(AUDIT), 403)


def test_404_leads_to_the_list_where_there_is_one() -> None:
    client = browser()
    check(client.get(f"{AUDIT}abc/change/"), 404, back=AUDIT)
    check(client.get("/admin/no/such/page/"), 404)
    check(client.get("/nothing"), 404)


def test_405_for_an_address_that_only_takes_a_button() -> None:
    answer = browser().get("/admin/logout/")
    check(answer, 405)
    assert "POST" in answer.headers["Allow"]


def test_413_for_a_form_that_is_too_large() -> None:
    form = {"username": "asha", "password": "x" * 300_000}
    answer = Client().post(
        "/admin/login/",
        "&".join(f"{k}={v}" for k, v in form.items()),
        content_type="application/x-www-form-urlencoded",
    )
    check(answer, 413)


def test_500_shows_nothing_of_the_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("s3cret inside")

    monkeypatch.setattr(AuditEntryAdmin, "get_queryset", broken)
    text = check(browser().get(AUDIT), 500)
    assert "s3cret" not in text
    assert "RuntimeError" not in text


def test_a_form_whose_token_does_not_fit_says_what_to_do() -> None:
    answer = browser(enforce_csrf_checks=True).post(f"{AUDIT}add/", {})
    text = check(answer, 403, back=AUDIT)
    assert error_pages.FORGED.title in text
    assert "reload" in text


def test_the_api_keeps_its_envelope() -> None:
    client = Client(raise_request_exception=False)
    for path, status in (("/api/v1/nothing", 404), ("/api/v1/partner/invoices", 401)):
        answer = client.get(path)
        assert answer.status_code == status
        assert answer.headers["Content-Type"].startswith("application/json")
        assert answer.json()["request_id"] == answer.headers["X-Request-Id"]


def test_a_request_id_of_the_caller_is_shown_as_text() -> None:
    answer = browser().get("/admin/no/page/", headers={"X-Request-Id": "<b>x</b>"})
    assert re.search(r"&lt;b&gt;x&lt;/b&gt;", answer.content.decode())
