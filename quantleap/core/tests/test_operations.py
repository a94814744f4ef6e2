"""Checks before a start, database roles, logs without secrets."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings as configured
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection, transaction

from quantleap.core import checks, clock, role_guard
from quantleap.core.locks import lock_key, try_transaction_lock
from quantleap.core.management.commands import up
from quantleap.core.production_checks import refusals
from quantleap.core.startup import StartRefused
from quantleap.settings import base
from quantleap.settings.reader import Environment


@pytest.fixture
def production(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Any:
    """The tests' settings, made good enough for production."""
    # Not by the fixture, which would load every app anew.
    monkeypatch.setattr(configured, "INSTALLED_APPS", base.INSTALLED_APPS)
    settings.QUANTLEAP_PROFILE = "production"
    settings.QUANTLEAP_SIMULATOR_URL = settings.QUANTLEAP_FAULT = ""
    settings.SECRET_KEY = secrets.token_urlsafe(64)
    settings.ALLOWED_HOSTS = ["console.example.com"]
    settings.QUANTLEAP_PUBLIC_URL = "https://console.example.com"
    settings.QUANTLEAP_BCRYPT_ROUNDS = 12
    return settings


def names(environ: dict[str, str] | None = None) -> list[str]:
    """The first word of every refusal: the setting's name."""
    return [problem.split()[0] for problem in refusals(configured, environ or {})]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("QUANTLEAP_SIMULATOR_URL", "http://127.0.0.1:8900", "QUANTLEAP_SIMULATOR_URL"),
        ("DEBUG", True, "DEBUG"),
        ("CELERY_TASK_ALWAYS_EAGER", True, "CELERY_TASK_ALWAYS_EAGER"),
        ("SECRET_KEY", "a" * 64, "DJANGO_SECRET_KEY"),
        ("ALLOWED_HOSTS", [], "ALLOWED_HOSTS"),
        ("ALLOWED_HOSTS", ["console.example.com", ".com"], "ALLOWED_HOSTS"),
        ("QUANTLEAP_PUBLIC_URL", "http://console.example.com", "QUANTLEAP_PUBLIC_URL"),
        ("QUANTLEAP_PUBLIC_URL", "", "QUANTLEAP_PUBLIC_URL"),
        ("CSRF_TRUSTED_ORIGINS", ["http://console.example.com"], "CSRF_TRUSTED_ORIGINS"),
        ("QUANTLEAP_TRUSTED_PROXIES", ["8.0.0.0/8"], "QUANTLEAP_TRUSTED_PROXIES"),
        ("QUANTLEAP_TRUSTED_PROXIES", ["2000::/3"], "QUANTLEAP_TRUSTED_PROXIES"),
        ("QUANTLEAP_TRUSTED_PROXIES", ["the proxy"], "QUANTLEAP_TRUSTED_PROXIES"),
        (
            "QUANTLEAP_TRUSTED_PROXIES",
            [f"{first}.0.0.0/12" for first in range(20, 28)],
            "QUANTLEAP_TRUSTED_PROXIES",
        ),
        ("QUANTLEAP_TRUSTED_HOPS", 0, "QUANTLEAP_TRUSTED_HOPS"),
        ("QUANTLEAP_BROKERS", {"zebu": {"api": "https://"}}, "QUANTLEAP_ZEBU_API"),
        ("QUANTLEAP_BROKERS", {"zebu": {"login": "https://a:b@c"}}, "QUANTLEAP_ZEBU_LOGIN"),
        (
            "QUANTLEAP_BROKERS",
            {"zebu": {"instruments": "http://x"}},
            "QUANTLEAP_BROKERS['zebu']['instruments']",
        ),
        ("QUANTLEAP_BCRYPT_ROUNDS", 11, "QUANTLEAP_BCRYPT_ROUNDS"),
        ("QUANTLEAP_BCRYPT_ROUNDS", 31, "QUANTLEAP_BCRYPT_ROUNDS"),
        ("TIME_ZONE", "Asia/Kolkata", "TIME_ZONE"),
        ("QUANTLEAP_ENCRYPTION_KEYS", "k:short", "QUANTLEAP_ENCRYPTION_KEYS"),
    ],
)
@pytest.mark.parametrize("profile", ["production", "staging"])
def test_a_renamed_copy_of_production_refuses_too(
    production: Any, name: str, value: object, said: str, profile: str
) -> None:
    """A profile with any other name counts as production."""
    production.QUANTLEAP_PROFILE = profile
    assert names() == []
    setattr(production, name, value)
    assert names() == [said]
    assert [problem.id for problem in checks.check_start()] == ["quantleap.E001"]


def test_proxies_that_people_really_have_are_accepted(production: Any) -> None:
    production.QUANTLEAP_TRUSTED_PROXIES = [
        *("unix", "127.0.0.1", "::1", "10.0.0.0/8", "172.16.0.0/12", "fd00::/8"),
        *("104.16.0.0/13", "172.64.0.0/13", "2606:4700::/32", "203.0.113.9"),
    ]
    assert names() == []


def test_a_fault_is_refused_though_production_does_not_read_it(production: Any) -> None:
    assert names({"QUANTLEAP_FAULT": "skip_commit"}) == ["QUANTLEAP_FAULT"]


@pytest.mark.parametrize("app", ["quantleap.faults", "quantleap.faults.apps.FaultsConfig"])
def test_an_installation_that_has_the_faults_is_refused(
    production: Any, monkeypatch: pytest.MonkeyPatch, app: str
) -> None:
    monkeypatch.setattr(configured, "INSTALLED_APPS", [*base.INSTALLED_APPS, app])
    assert names() == ["INSTALLED_APPS"]
    assert [problem.id for problem in checks.check_start()] == ["quantleap.E001"]
    production.QUANTLEAP_PROFILE = "local"
    assert names() == []


def test_one_role_for_both_is_refused_where_the_owner_is_named(production: Any) -> None:
    role = production.DATABASES["default"]["USER"]
    production.QUANTLEAP_OWNER_DATABASE = {"USER": role}
    assert names() == []  # a serving process is not told who the owner is
    assert names({"OWNER_DATABASE_URL_FILE": "/run/secrets/owner"}) == ["DATABASE_URL"]


def test_neither_a_moved_clock_nor_a_fault_where_orders_are_real(
    production: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "_offset", 60.0)
    assert names() == ["QUANTLEAP_CLOCK_START"]
    production.QUANTLEAP_PROFILE = "local"
    production.QUANTLEAP_FAULT = "send_early"
    assert names() == []
    production.QUANTLEAP_LIVE_BROKERS = ["zebu"]
    assert names() == ["QUANTLEAP_CLOCK_START", "QUANTLEAP_FAULT"]


@pytest.mark.django_db(transaction=True)
def test_a_database_that_came_back_later_is_asked_who_we_are(production: Any) -> None:
    """The start could not ask; the first connection does, and lets nobody work as the owner."""
    owner = {name: production.QUANTLEAP_OWNER_DATABASE[name] for name in ("USER", "PASSWORD")}
    application = {name: connection.settings_dict[name] for name in owner}
    try:
        connection.close()
        connection.settings_dict.update(owner)
        with pytest.raises(StartRefused, match="DATABASE_URL connects as 'quantleap_owner'"):
            connection.cursor()
        with role_guard.as_owner(), connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        connection.close()
        connection.settings_dict.update(application)
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        assert cursor.fetchone()[0] == application["USER"]


@pytest.mark.parametrize(
    ("reader", "value"), [("int", "two"), ("bool", "maybe"), ("float", "fast"), ("json", "{")]
)
def test_an_unreadable_variable_hides_its_value(
    monkeypatch: pytest.MonkeyPatch, reader: str, value: str
) -> None:
    """Bug: `DEBUG=maybe` was off, and a bad number a traceback without a name."""
    monkeypatch.setenv("QUANTLEAP_SOMETHING", value)
    with pytest.raises(ImproperlyConfigured, match=r"^QUANTLEAP_SOMETHING") as caught:
        getattr(Environment(), reader)("QUANTLEAP_SOMETHING")
    assert value not in str(caught.value).split()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id int)",
        "DROP TABLE core_outboxevent",
        "ALTER TABLE core_auditentry DISABLE TRIGGER ALL",
        "SET ROLE quantleap_owner",
    ],
)
def test_the_application_role_cannot_change_the_schema(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user, rolsuper FROM pg_roles WHERE rolname = current_user")
        name, is_super = cursor.fetchone()
    assert (name, is_super) == (configured.DATABASES["default"]["USER"], False)
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.mark.django_db
def test_advisory_locks_are_stable_names() -> None:
    assert lock_key("a") == lock_key("a") != lock_key("b")
    assert -(2**63) <= lock_key("a") < 2**63
    with transaction.atomic():
        assert try_transaction_lock("a")


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in up.STOP_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_up_is_ended_by_a_closed_terminal_but_not_under_nohup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    up._interrupt_on_signals()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGHUP)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    up._interrupt_on_signals()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
