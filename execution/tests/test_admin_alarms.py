"""Alarms in the console: narrowed, acknowledged, settled with a note, and by whom."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from execution.models import Alarm, Execution
from execution.tests.consoleday import ATTENTION, Day, get, list_of, login
from execution.tests.rows import make_alarm, make_execution
from quantleap.core import clock
from quantleap.core.console import page_of
from quantleap.core.models import AuditEntry
from quantleap.core.tests.confirming import confirm

pytestmark = pytest.mark.django_db


def test_attention_is_settled_with_a_note(day: Day, staff: Client) -> None:
    day.fill(1)
    execution = Execution.objects.get(needs_attention=True)
    text = get(staff, reverse(ATTENTION))
    assert execution.public_id in text
    assert "Escalated" in text
    assert "Unknown" in text
    assert reverse("admin:execution_alarm_settle", args=[execution.alarms.get().pk]) in text
    settle = reverse("admin:execution_execution_settle", args=[execution.pk])
    assert settle in get(staff, page_of(execution))
    assert "Look at the account" in get(staff, settle)
    assert confirm(staff, settle, {"confirm": "yes", "note": ""}).status_code == 400
    answer = confirm(staff, settle, {"confirm": "yes", "note": "cancelled at the broker"})
    assert answer.status_code == 302
    assert not execution.needs_attention
    entry = AuditEntry.objects.get(action="alarm.settled")
    assert entry.data["note"] == "cancelled at the broker"
    assert settle not in get(staff, page_of(execution))
    assert page_of(execution) not in get(staff, reverse(ATTENTION))
    again = confirm(staff, settle, {"confirm": "yes", "note": "again"})
    assert again.status_code == 409


def test_an_alarm_is_acknowledged_by_name_and_then_settled(day: Day, staff: Client) -> None:
    (subscription,) = day.subscribers(1)
    execution = make_execution(day.run, subscription, "OPEN")
    alarm = make_alarm(execution, "DUPLICATE", words="orders 2608 and 2609")
    for page in (reverse(ATTENTION), page_of(day.run), page_of(execution), page_of(alarm)):
        text = get(staff, page)
        assert "orders 2608 and 2609" in text
        assert "15 min" in text
    acknowledge = reverse("admin:execution_alarm_acknowledge", args=[alarm.pk])
    settle = reverse("admin:execution_alarm_settle", args=[alarm.pk])
    assert confirm(staff, acknowledge, {"confirm": "yes"}).status_code == 302
    assert "is at it since" in get(staff, reverse(ATTENTION))
    assert "is at it since" in get(staff, page_of(execution))
    assert confirm(staff, acknowledge, {"confirm": "yes"}).status_code == 409
    answer = confirm(staff, settle, {"confirm": "yes", "note": "2609 is cancelled"})
    assert answer.status_code == 302
    assert not execution.needs_attention
    history = get(staff, page_of(execution))
    assert "2609 is cancelled" in history
    assert settle not in history
    assert settle not in get(staff, reverse(ATTENTION))


def test_alarms_are_narrowed_by_state_and_cause(day: Day, staff: Client) -> None:
    """The page says so when no alarm matches, and an unknown state or cause narrows nothing."""
    assert "Nothing needs a person." in get(staff, reverse(ATTENTION))
    fresh, acknowledged, cleared = (make_execution(day.run, s, "OPEN") for s in day.subscribers(3))
    make_alarm(fresh, "DUPLICATE")
    make_alarm(acknowledged, "PAST_EXIT", acknowledged_at=clock.now(), acknowledged_by="asha")
    make_alarm(cleared, "PAST_EXIT", cleared_at=clock.now(), cleared_by="the order is filled")

    def shown(url: str, **query: str) -> list[bool]:
        text = get(staff, url, **query)
        return [execution.public_id in text for execution in (fresh, acknowledged, cleared)]

    assert shown(reverse(ATTENTION)) == [True, True, False]
    assert shown(reverse(ATTENTION), state="new") == [True, False, False]
    assert shown(reverse(ATTENTION), state="acknowledged") == [False, True, False]
    assert shown(reverse(ATTENTION), cause="PAST_EXIT") == [False, True, False]
    assert shown(reverse(ATTENTION), cause="nonsense", state="'") == [True, True, False]
    assert shown(list_of(Alarm)) == [True, True, True]
    assert shown(list_of(Alarm), state="cleared") == [False, False, True]
    assert shown(list_of(Alarm), state="new", cause="DUPLICATE") == [True, False, False]
    assert shown(list_of(Execution), needs_attention="1") == [True, True, False]
    assert shown(list_of(Execution), needs_attention="0") == [False, False, True]
    empty = get(staff, reverse(ATTENTION), state="acknowledged", cause="DUPLICATE")
    assert "No open alarm is like that." in empty


def test_the_first_page_counts_alarms_and_names_a_cause(day: Day, staff: Client) -> None:
    """The cause that is named is the most frequent one."""
    for subscription in day.subscribers(2):
        make_alarm(make_execution(day.run, subscription, "OPEN"), "PAST_EXIT")
    make_alarm(Execution.objects.all()[0], "DUPLICATE")
    Alarm.objects.create(run=day.run, cause="NO_PRICE", words="short straddle, call")
    text = get(staff, "/admin/")
    assert "4 alarms are open" in text
    assert "2 × A position is open past its exit time." in text
    assert "short straddle, call" in get(staff, page_of(day.run))


def test_who_may_only_look_is_offered_no_way_to_settle_an_alarm(day: Day) -> None:
    day.fill(1)
    alarm = Alarm.objects.get()
    viewer = login("view_execution", "view_alarm", "view_run")
    for page in (reverse(ATTENTION), page_of(day.run), page_of(alarm)):
        assert f"/alarm/{alarm.pk}/settle" not in get(viewer, page)
    for name in ("settle", "acknowledge"):
        url = reverse(f"admin:execution_alarm_{name}", args=[alarm.pk])
        assert confirm(viewer, url, {"confirm": "yes", "note": "x"}).status_code == 403
    allowed = login("view_execution", "view_alarm", "change_alarm")
    assert f"/alarm/{alarm.pk}/settle" in get(allowed, reverse(ATTENTION))


def test_settling_needs_the_change_permission(day: Day) -> None:
    day.fill(1)
    execution = Execution.objects.get(needs_attention=True)
    viewer = login("view_execution")
    settle = reverse("admin:execution_execution_settle", args=[execution.pk])
    assert confirm(viewer, settle, {"confirm": "yes", "note": "x"}).status_code == 403
    assert settle not in get(viewer, page_of(execution))
    allowed = login("view_execution", "change_execution")
    assert settle in get(allowed, page_of(execution))
