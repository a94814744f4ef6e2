"""The console's kill switch: it asks, it blocks what it told of, and it says what it stops."""

from __future__ import annotations

import time

import pytest
from django.test import Client
from django.urls import reverse

from execution.models import KillSwitch
from execution.tests.consoleday import Day, get, list_of, login
from execution.tests.rows import make_execution
from quantleap.core.console import page_of
from quantleap.core.models import AuditEntry
from quantleap.core.tests.confirming import confirm, seal_of

pytestmark = pytest.mark.django_db


def test_engaging_asks_withdraws_and_shows_on_every_page(day: Day, staff: Client) -> None:
    (subscription,) = day.subscribers(1)
    armed = make_execution(day.run, subscription, "ARMED")
    add = reverse("admin:execution_killswitch_add")
    text = get(staff, add, template=str(day.template.pk))
    assert "1 armed executions are withdrawn" in text
    assert not KillSwitch.objects.exists()
    posted = {"confirm": "yes", "template": str(day.template.pk), "reason": "odd quotes"}
    assert confirm(staff, add, posted | {"reason": ""}).status_code == 400
    assert confirm(staff, f"{add}?template={day.template.pk}", posted).status_code == 302
    armed.refresh_from_db()
    assert (armed.status, armed.cause) == ("WITHDRAWN", "KILL_SWITCH")
    switch = KillSwitch.objects.get()
    assert (switch.target_id, switch.reason) == (day.template.pk, "odd quotes")
    assert confirm(staff, f"{add}?template={day.template.pk}", posted).status_code == 409
    run_page = get(staff, page_of(day.run))
    assert "Kill switch engaged: NIFTY straddle." in run_page
    assert page_of(switch) in run_page
    assert "NIFTY straddle" in get(staff, list_of(KillSwitch))


def test_a_switch_of_another_template_is_not_this_runs_business(day: Day, staff: Client) -> None:
    KillSwitch.objects.create(
        scope="TEMPLATE", target_id=day.template.pk + 1, reason="x", engaged_by="y"
    )
    assert "Kill switch engaged" not in get(staff, page_of(day.run))
    KillSwitch.objects.create(scope="PLATFORM", reason="x", engaged_by="y")
    assert "Kill switch engaged: Platform." in get(staff, page_of(day.run))


def test_releasing_asks_and_is_written_down(day: Day, staff: Client) -> None:
    add = reverse("admin:execution_killswitch_add")
    confirm(staff, add, {"confirm": "yes", "template": "", "reason": "test"})
    switch = KillSwitch.objects.get()
    assert switch.scope == "PLATFORM"
    release = reverse("admin:execution_killswitch_release", args=[switch.pk])
    assert release in get(staff, page_of(switch))
    assert "what was withdrawn stays so" in get(staff, release)
    assert confirm(staff, release, {"confirm": "yes"}).status_code == 302
    switch.refresh_from_db()
    assert switch.released_at is not None
    assert confirm(staff, release, {"confirm": "yes"}).status_code == 409
    assert AuditEntry.objects.filter(action="kill_switch.released").exists()


def test_who_may_look_may_not_engage_or_release(day: Day) -> None:
    switch = KillSwitch.objects.create(scope="PLATFORM", reason="x", engaged_by="y")
    viewer = login("view_killswitch")
    get(viewer, page_of(switch))
    posted = {"confirm": "yes", "template": "", "reason": "x"}
    add = reverse("admin:execution_killswitch_add")
    assert viewer.post(add, posted).status_code == 403
    release = reverse("admin:execution_killswitch_release", args=[switch.pk])
    assert confirm(viewer, release, {"confirm": "yes"}).status_code == 403
    assert login("add_killswitch").get(add).status_code == 200


def test_the_kill_page_said_nothing_here_yet_and_add_kill_switch(day: Day, staff: Client) -> None:
    text = get(staff, list_of(KillSwitch))
    assert "New entries are allowed" in text
    assert "open positions are managed to their exit as before" in text
    assert "Stop all new entries" in text
    assert "Nothing here yet" not in text
    assert "Add kill switch" not in text


def test_stop_everything_only_stopped_entries_and_says_so(day: Day, staff: Client) -> None:
    page = get(staff, page_of(day.run))
    assert "Stop all new entries" in page
    assert "Stop new entries of this template" in page
    assert "Stop everything" not in page
    assert "Nothing is closed." in get(staff, reverse("admin:execution_killswitch_add"))


def test_the_kill_switch_blocks_what_its_page_told_about(staff: Client, day: Day) -> None:
    """Seen: the page told of one template, the form blocked the whole platform."""
    add = reverse("admin:execution_killswitch_add")
    page = staff.get(f"{add}?template={day.template.pk}")
    assert f"{day.template.name}:" in page.content.decode()
    everything = {"confirm": "yes", "template": "", "reason": "odd quotes", "seal": seal_of(page)}
    asked = staff.post(add, everything)
    assert asked.status_code == 409
    assert "All templates, the whole platform:" in asked.content.decode()
    assert not KillSwitch.objects.exists()
    assert staff.post(add, {**everything, "seal": seal_of(asked)}).status_code == 302
    assert KillSwitch.objects.get().target_id is None


def test_a_kill_page_that_was_open_for_two_hours_was_refused(
    staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an emergency nobody reads why a page asks again; what it told of is still the same."""
    add = reverse("admin:execution_killswitch_add")
    page = staff.get(add)
    opened = time.time()
    monkeypatch.setattr("django.core.signing.time.time", lambda: opened + 7200)
    body = {"confirm": "yes", "template": "", "reason": "odd quotes", "seal": seal_of(page)}
    assert staff.post(add, body).status_code == 302
    assert KillSwitch.objects.get().target_id is None
