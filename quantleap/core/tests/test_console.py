"""The console's frame: navigation by right, badge, read-only history, Indian time."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client, RequestFactory
from django.urls import reverse

from quantleap.core import audit, console
from quantleap.core.audit import SYSTEM
from quantleap.core.clock import UTC
from quantleap.core.models import AuditEntry, OutboxEvent, StaffUser

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(client: Client) -> Client:
    user = StaffUser.objects.create_superuser("boss", "boss@example.com", "secret-pass")
    client.force_login(user)
    return client


def titles(user: StaffUser) -> set[str]:
    request = RequestFactory().get("/admin/")
    request.user = user
    return {item["title"] for group in console.navigation(request) for item in group["items"]}


def test_everybody_sees_only_what_he_may_open() -> None:
    boss = StaffUser.objects.create_superuser("boss")
    auditor = StaffUser.objects.create_user("auditor", is_staff=True)
    assert {"Today", "Templates", "Audit", "Staff", "Schedules"} <= titles(boss)
    assert titles(auditor) == {"Today"}
    auditor.user_permissions.add(Permission.objects.get(codename="view_auditentry"))
    assert titles(StaffUser.objects.get(pk=auditor.pk)) == {"Today", "Audit"}


def test_every_link_of_the_sidebar_opens(staff: Client) -> None:
    request = RequestFactory().get("/admin/")
    request.user = StaffUser.objects.get()
    for group in console.navigation(request):
        for item in group["items"]:
            assert staff.get(item["link"]).status_code == 200, item["title"]


def test_the_login_leads_to_the_console(client: Client) -> None:
    StaffUser.objects.create_superuser("boss", "boss@example.com", "secret-pass")
    login = reverse("admin:login")
    assert client.get(login).status_code == 200
    answer = client.post(login, {"username": "boss", "password": "secret-pass"})
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")


@pytest.mark.parametrize(
    ("profile", "live", "simulator", "badge"),
    [
        ("production", ["zebu"], "", ["Live: zebu", "danger"]),
        ("production", [], "", ["Production", "warning"]),
        ("local", [], "http://127.0.0.1:8900", ["Simulated brokers", "info"]),
        ("local", [], "", ["Local", "info"]),
    ],
)
def test_the_badge_says_which_installation_this_is(
    settings: Any, profile: str, live: list[str], simulator: str, badge: list[str]
) -> None:
    settings.QUANTLEAP_PROFILE = profile
    settings.QUANTLEAP_LIVE_BROKERS = live
    settings.QUANTLEAP_SIMULATOR_URL = simulator
    assert console.environment(RequestFactory().get("/admin/")) == badge


def test_history_is_read_only_and_in_indian_time(staff: Client) -> None:
    entry = audit.record(actor=SYSTEM, action="test.done", target_type="thing", target_id="thing_1")
    change = reverse("admin:core_auditentry_change", args=[entry.pk])
    assert staff.get(change).status_code == 200
    assert staff.post(change, {"action": "undone"}).status_code == 403
    delete = reverse("admin:core_auditentry_delete", args=[entry.pk])
    assert staff.post(delete, {"post": "yes"}).status_code == 403
    assert AuditEntry.objects.get().action == "test.done"
    OutboxEvent.objects.create(
        type="test.done", created_at=dt.datetime(2026, 8, 4, 3, 50, tzinfo=UTC)
    )
    page = staff.get(reverse("admin:core_outboxevent_changelist")).content.decode()
    assert "4 Aug 2026, 09:20:00" in page
