"""Headers of every answer: no cache keeps it, no foreign script runs in it."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import yaml
from django.core.cache import cache
from django.test import Client
from playwright.sync_api import sync_playwright
from pytest_django.live_server_helper import LiveServer

from partners.tests.factories import make_customer, make_tenant
from quantleap.core.json_cache import JsonSerializer
from quantleap.core.models import StaffUser
from quantleap.core.tests.browser import logged_in
from quantleap.embedded.state import PROJECT_ROOT


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(StaffUser.objects.create_superuser("asha", "a@example.com", "x"))
    return client


# -- caches ------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_tokens_and_personal_data_are_kept_by_no_cache(staff: Client) -> None:
    tenant = make_tenant()
    customer = make_customer(tenant.partner)
    token = tenant.client.post("/partner/user-tokens", {"user_email": customer.email})
    assert token.status_code == 201, token.json()
    answers = [
        token,
        tenant.client.get("/partner/broker-accounts"),
        tenant.client.get("/partner/nowhere"),
        staff.get("/admin/"),
        staff.get("/admin/partners/customer/"),
        Client().get("/admin/login/"),
        Client().get("/api/v1/docs"),
        Client().get("/api/v1/partner/subscriptions"),
    ]
    for answer in answers:
        assert "no-store" in answer.headers["Cache-Control"]


def test_the_cache_reads_no_pickles() -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return pytest.fail, ("a pickle was read",)

    cache.set("x", 1)
    planted = cache._cache  # type: ignore[attr-defined]
    planted.get_client(None, write=True).set(cache.make_key("x"), pickle.dumps(Trap()))
    assert cache.get("x") is None


@pytest.mark.parametrize("value", [0, -5, True, None, "text", [1, {"a": [None, 1.5]}], {}])
def test_what_is_json_comes_back(value: object) -> None:
    cache.set("x", value)
    assert cache.get("x", "nothing") == value
    cache.set("n", 1)
    assert cache.incr("n", 2) == 3


def test_what_is_no_json_is_refused_where_it_is_written() -> None:
    with pytest.raises(TypeError, match="cannot be cached"):
        JsonSerializer().dumps(object())


@pytest.mark.django_db
def test_the_consoles_search_is_the_same_from_the_cache(staff: Client) -> None:
    """Its results are objects, which came back from the cache as pickles."""
    first, second = (staff.get("/admin/search/?s=templ") for _ in range(2))
    assert first.status_code == second.status_code == 200
    assert b"/admin/marketplace/template/" in second.content
    assert second.content.count(b"href") == first.content.count(b"href")


def test_the_queue_of_the_compose_file_has_a_password() -> None:
    compose = yaml.safe_load((PROJECT_ROOT / "compose.yaml").read_text())
    valkey = compose["services"]["valkey"]
    assert "valkey_password" in valkey["secrets"]
    assert "requirepass" in (PROJECT_ROOT / "deploy" / "valkey.sh").read_text()
    for name in ("migrate", "web", "worker", "beat"):
        service = compose["services"][name]
        assert "redis_url" in service["secrets"]
        assert "REDIS_URL" not in service["environment"]
        assert set(service["secrets"]) <= set(compose["secrets"])


# -- scripts -----------------------------------------------------------------------------------
@pytest.mark.django_db
def test_no_inline_script_and_no_foreign_one_may_run(staff: Client) -> None:
    console = staff.get("/admin/").headers["Content-Security-Policy"]
    docs = Client().get("/api/v1/docs").headers["Content-Security-Policy"]
    for policy in (console, docs):
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        assert rules["default-src"] == rules["object-src"] == rules["base-uri"] == "'none'"
        assert rules["frame-ancestors"] == "'none'"
        assert "unsafe-inline" not in rules["script-src"]
        assert "http" not in policy
    assert "unsafe-eval" in console  # Alpine, docs/adr/0028
    assert "unsafe-eval" not in docs
    assert "nonce-" in docs


#: Pages of every kind: the console's frame, charts and forms, and the documentation. The test that
#: walks all of the console (test_console_pages.py) fails on a violation anywhere, too.
PAGES = (
    "/admin/",
    "/admin/password_change/",
    "/admin/marketplace/template/",
    "/admin/marketplace/template/add/",
    "/admin/django_celery_beat/periodictask/",
    "/admin/core/staffuser/add/",
    "/api/v1/docs",
    "/api/v1/docs?audience=user",
)


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_no_page_breaks_its_own_rules(
    chromium_path: str,
    live_server: LiveServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A violation is a message on the browser's console, and each of them fails the test."""
    with logged_in(
        "asha", chromium_path=chromium_path, server=live_server, monkeypatch=monkeypatch
    ) as tab:
        violations: list[str] = []
        tab.add_init_script(
            "document.addEventListener('securitypolicyviolation', e =>"
            " (window.violations = window.violations || [])"
            ".push(e.violatedDirective + ' ' + e.blockedURI + ' ' + e.sourceFile));"
        )
        for page in PAGES:
            answer = tab.goto(page)
            assert answer is not None
            assert answer.ok, page
            violations += [
                f"{page}: {violation}" for violation in tab.evaluate("window.violations || []")
            ]
        assert violations == []


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_an_inline_script_does_not_run(chromium_path: str, live_server: LiveServer) -> None:
    """The control: the rules are in force, and breaking them is noticed."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium_path, args=["--no-sandbox"])
        tab = browser.new_page(base_url=live_server.url)
        said: list[str] = []
        tab.on("console", lambda message: said.append(message.text))
        tab.goto("/admin/login/")
        tab.evaluate(
            "const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
            "document.body.append(s)"
        )
        assert tab.evaluate("window.ran") is None
        assert any("Content Security Policy" in line for line in said)
        browser.close()
