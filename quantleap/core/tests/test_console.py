"""The console's frame: navigation by permission, badge, read-only history, Indian time."""

from __future__ import annotations

import datetime as dt
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django import forms
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.template.loader import render_to_string
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils.html import escape, format_html

from partners.models import PartnerKey
from partners.tests.factories import make_key, make_partner
from quantleap.core import audit, console
from quantleap.core.audit import SYSTEM
from quantleap.core.clock import UTC
from quantleap.core.confirmation import ConfirmForm
from quantleap.core.models import AuditEntry, OutboxEvent, StaffUser
from quantleap.embedded.state import PROJECT_ROOT

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


def test_the_sidebar_keeps_its_order_whichever_room_comes_first() -> None:
    """A group may contain entries of two rooms: subscriptions are between customers and
    webhooks."""
    request = RequestFactory().get("/admin/")
    request.user = StaffUser.objects.create_superuser("boss")
    groups = {
        group.get("title", ""): [item["title"] for item in group["items"]]
        for group in console.navigation(request)
    }
    assert list(groups) == ["", *console.GROUPS]
    assert groups["Partners"] == [
        "Partners",
        "Partner mails",
        "Keys",
        "Customers",
        "E-mail changes",
        "Customer mails",
        "Subscriptions",
        "Holds",
        "Webhook endpoints",
        "Webhook deliveries",
        "Endpoint mails",
    ]
    assert {section.group for section in console.NAVIGATION.all()} == set(console.GROUPS)


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
        ("staging", ["zebu"], "", ["Live: zebu", "danger"]),
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
        type="test.done", object_id="thing_1", created_at=dt.datetime(2026, 8, 4, 3, 50, tzinfo=UTC)
    )
    page = staff.get(reverse("admin:core_outboxevent_changelist")).content.decode()
    assert "4 Aug 2026, 09:20:00" in page


# -- help texts ----------------------------------------------------------------------------------
HELP = "unfold/helpers/help_text.html"


def test_a_help_text_is_shown_as_it_is_written() -> None:
    shown = render_to_string(HELP, {"help_text": "pk_<partner>_…"})
    assert "pk_&lt;partner&gt;_…" in shown
    link = format_html('<a href="{}">this form</a>', "../password/")
    assert link in render_to_string(HELP, {"help_text": link})


def test_no_help_text_of_the_console_is_eaten_as_html(staff: Client) -> None:
    """Every help text that contains a <, on a form or above a table."""
    request = RequestFactory().get("/admin/")
    request.user = StaffUser.objects.get()
    seen = 0
    for model, page in admin.site._registry.items():
        for field in model._meta.get_fields():
            text = str(getattr(field, "help_text", ""))
            if "<" not in text:
                continue
            shown = render_to_string(HELP, {"help_text": text})
            assert escape(text) in shown, field
            seen += 1
        forms = [page.get_form(request)] if page.has_add_permission(request) else []
        for form in forms:
            for name, asked in form.base_fields.items():
                text = str(asked.help_text)
                safe = hasattr(asked.help_text, "__html__") or hasattr(text, "__html__")
                assert safe or not re.search(r"</|<a |<br", text), (form, name)
    assert seen, "pk_<partner>_<environment>_…"


def test_the_key_pages_help_names_the_parts_of_a_key(staff: Client) -> None:
    key = make_key(make_partner()).key
    page = staff.get(
        reverse("admin:partners_partnerkey_change", args=[PartnerKey.objects.get(key=key).pk])
    ).content.decode()
    assert "pk_&lt;partner&gt;_&lt;environment&gt;_…" in page


# -- forms ---------------------------------------------------------------------------------------
def questions(kind: type[ConfirmForm] = ConfirmForm) -> Iterator[type[ConfirmForm]]:
    for form in kind.__subclasses__():
        yield form
        yield from questions(form)


def test_action_fields_look_like_the_consoles() -> None:
    """Bug: the questions of actions were the browser's bare inputs."""
    asked = 0
    for form in questions():
        for field in form().visible_fields():
            widget = field.field.widget
            ours = any(kind.__module__ == "unfold.widgets" for kind in type(widget).__mro__)
            assert ours, (form, field.name)
            assert widget.attrs["class"], (form, field.name)
            asked += 1
    assert asked > 20


def test_a_dressed_field_keeps_what_its_form_said() -> None:
    class Ask(ConfirmForm):
        amount = forms.DecimalField(min_value=1, widget=forms.NumberInput(attrs={"step": "0.05"}))
        day = forms.DateField(initial=dt.date(2026, 8, 4))
        why = forms.CharField(max_length=9, widget=forms.Textarea)
        kinds = forms.MultipleChoiceField(choices=[("A", "a"), ("B", "b")], initial=["B"])

    page = Ask().as_p()
    assert 'step="0.05"' in page
    assert 'type="date" name="day" value="2026-08-04"' in page
    assert 'maxlength="9"' in page
    assert '<option value="B" selected>b</option>' in page


def test_a_form_says_once_what_is_wrong_with_it(client: Client) -> None:
    StaffUser.objects.create_superuser("boss", "boss@example.com", "secret-pass")
    wrong = client.post(reverse("admin:login"), {"username": "boss", "password": "no"})
    page = wrong.content.decode()
    assert page.count("errornote") == 1
    assert "Please enter the correct username and password" in page
    assert "marked below" not in page


def cookie_of(base_url: str) -> str:
    """The session cookie's name in an installation at that address."""
    code = "from django.conf import settings as s; print(s.SESSION_COOKIE_NAME, s.CSRF_COOKIE_NAME)"
    done = subprocess.run(
        (sys.executable, "-c", code),
        cwd=PROJECT_ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "quantleap.settings.local",
            "QUANTLEAP_BASE_URL": base_url,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_run_and_play_keep_separate_sessions() -> None:
    """Bug: side by side they logged out each other's staff."""
    run, play = cookie_of("http://127.0.0.1:8000"), cookie_of("http://127.0.0.1:8100")
    assert run == "sessionid csrftoken"
    assert play == "sessionid8100 csrftoken8100"
