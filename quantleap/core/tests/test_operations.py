"""What guards a start: checks, roles, logs without secrets."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings as configured
from django.db import DatabaseError, connection, transaction

from quantleap.core import checks, clock
from quantleap.core.locks import lock_key, try_transaction_lock
from quantleap.core.logging import hide_secrets


@pytest.fixture
def production(settings: Any) -> Any:
    settings.QUANTLEAP_PROFILE = "production"
    settings.QUANTLEAP_SIMULATOR_URL = ""
    settings.QUANTLEAP_SABOTAGE = ""
    return settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("QUANTLEAP_SIMULATOR_URL", "http://127.0.0.1:8900"),
        ("DEBUG", True),
        ("CELERY_TASK_ALWAYS_EAGER", True),
        ("QUANTLEAP_SABOTAGE", "skip_webhook"),
    ],
)
def test_production_refuses(production: Any, name: str, value: object) -> None:
    assert checks.check_profile() == []
    setattr(production, name, value)
    assert [problem.id for problem in checks.check_profile()] == ["quantleap.E004"]


def test_the_clock_is_not_moved_in_production_nor_with_a_live_broker(
    production: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "_offset", 60.0)
    assert [problem.id for problem in checks.check_profile()] == ["quantleap.E003"]
    production.QUANTLEAP_PROFILE = "local"
    assert checks.check_profile() == []
    production.QUANTLEAP_LIVE_BROKERS = ["zebu"]
    assert [problem.id for problem in checks.check_profile()] == ["quantleap.E003"]


def test_time_and_keys_are_checked(settings: Any) -> None:
    assert checks.check_time() == checks.check_encryption_keys() == []
    settings.TIME_ZONE = "Asia/Kolkata"
    settings.QUANTLEAP_ENCRYPTION_KEYS = "k:short"
    assert [problem.id for problem in checks.check_time()] == ["quantleap.E001"]
    assert [problem.id for problem in checks.check_encryption_keys()] == ["quantleap.E002"]


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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("api_secret", "anything"),
        ("Authorization", "Bearer x"),
        ("totp", "123456"),
        ("why", "key sk_zebu_live_0123456789 refused"),
        ("why", "token ut_0123456789abcdefghij expired"),
        ("body", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("header", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc"),
    ],
)
def test_logs_hold_no_secret(name: str, value: str) -> None:
    cleaned = hide_secrets(None, "info", {name: value})[name]
    assert "[hidden]" in cleaned
    for part in ("sk_zebu", "ut_01", "whsec_M", "eyJh", "123456", "anything"):
        assert part not in cleaned
