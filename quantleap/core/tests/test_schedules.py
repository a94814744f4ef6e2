"""Schedules in the console: viewed by many, stopped by few, red while one is not as required.

Bug: `view_periodictask` alone disabled, enabled and ran scheduled tasks, and nothing was audited.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from celery import current_app
from celery.beat import Scheduler
from django.conf import settings
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import NoReverseMatch, reverse
from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks
from django_celery_beat.schedulers import ModelEntry
from kombu.exceptions import OperationalError

from quantleap.core import clock, schedules
from quantleap.core.audit import SYSTEM
from quantleap.core.dashboard import today
from quantleap.core.errors import InvalidTransition, Unavailable
from quantleap.core.models import AuditEntry, StaffUser

pytestmark = pytest.mark.django_db
LIST = "/admin/django_celery_beat/periodictask/"
TICK = "execution-tick"


@pytest.fixture(autouse=True)
def beat() -> None:
    """Beat has written the code's schedules into its tables, as it does when it starts."""
    for name, entry in settings.CELERY_BEAT_SCHEDULE.items():
        ModelEntry.from_entry(name, **entry)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    monkeypatch.setattr(current_app, "send_task", lambda name, **_: names.append(name))
    return names


def browser(*rights: str) -> Client:
    user = StaffUser.objects.create_user("-".join(rights) or "nobody", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    client = Client()
    client.force_login(user)
    return client


def operator() -> Client:
    return browser("view_periodictask", "operate_schedules")


def tick() -> PeriodicTask:
    task: PeriodicTask = PeriodicTask.objects.get(name=TICK)
    return task


def page(name: str, row: PeriodicTask | None = None) -> str:
    return reverse(f"admin:django_celery_beat_periodictask_{name}", args=[(row or tick()).pk])


def confirm(client: Client, url: str, **more: str) -> Any:
    """Read the page, and answer it with its seal."""
    shown: Any = client.post(url, {"confirm": "yes", **more}) if more else client.get(url)
    return client.post(url, {"confirm": "yes", "seal": shown.context["seal"], **more})


# -- who may --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "rights", [("view_periodictask",), ("view_periodictask", "change_periodictask")]
)
def test_the_right_to_look_stops_starts_and_runs_nothing(
    rights: tuple[str, ...], sent: list[str]
) -> None:
    client = browser(*rights)
    assert client.get(LIST).status_code == 200
    for action in ("enable_tasks", "disable_tasks", "toggle_tasks", "run_tasks"):
        client.post(LIST, {"action": action, "_selected_action": [tick().pk], "index": 0})
    for name in ("stop", "start", "run"):
        assert client.get(page(name)).status_code == 403
        assert client.post(page(name), {"confirm": "yes", "again": "yes"}).status_code == 403
        assert page(name) not in client.get(page("change")).content.decode()
    assert client.post(page("change"), {"name": "mine"}).status_code == 403
    assert tick().enabled
    assert sent == []
    assert not AuditEntry.objects.exists()


def test_nobody_edits_a_schedule_in_the_console() -> None:
    """Whoever could would start any task with any arguments."""
    client = Client()
    client.force_login(StaffUser.objects.create_superuser("boss"))
    assert client.get(f"{LIST}add/").status_code == 403
    assert client.post(page("change"), {"name": "mine", "enabled": ""}).status_code == 403
    assert client.post(page("delete"), {"post": "yes"}).status_code == 403
    for model in ("intervalschedule", "crontabschedule", "clockedschedule", "solarschedule"):
        with pytest.raises(NoReverseMatch):
            reverse(f"admin:django_celery_beat_{model}_changelist")


def test_stopping_asks_twice_is_audited_and_told_to_beat() -> None:
    client, before = operator(), PeriodicTasks.last_change()
    asked = client.get(page("stop"))
    assert "do not trade" in asked.content.decode()
    once = confirm(client, page("stop"))
    assert "cannot be undone" not in once.content.decode() or tick().enabled
    assert tick().enabled, "it asks again"
    assert confirm(client, page("stop"), again="yes").status_code == 302
    assert not tick().enabled
    assert PeriodicTasks.last_change() != before
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.target_id) == ("schedule.stopped", TICK)
    assert entry.actor_id == "view_periodictask-operate_schedules"
    assert entry.data["changed"] == {"enabled": {"from": True, "to": False}}
    assert confirm(client, page("start")).status_code == 302
    assert tick().enabled
    assert AuditEntry.objects.filter(action="schedule.started").count() == 1


def test_only_the_button_that_does_something_is_shown() -> None:
    client = operator()
    shown = client.get(page("change")).content.decode()
    assert (page("stop") in shown, page("start") in shown) == (True, False)
    PeriodicTask.objects.filter(name=TICK).update(enabled=False)
    shown = client.get(page("change")).content.decode()
    assert (page("stop") in shown, page("start") in shown) == (False, True)


def test_it_is_stopped_once() -> None:
    schedules.stop(task=tick(), actor=SYSTEM)
    with pytest.raises(InvalidTransition):
        schedules.stop(task=tick(), actor=SYSTEM)
    assert AuditEntry.objects.count() == 1


def test_run_now_hands_the_task_to_the_workers(sent: list[str]) -> None:
    assert confirm(operator(), page("run")).status_code == 302
    assert sent == ["execution.tick"]
    assert AuditEntry.objects.get().action == "schedule.run"


def test_run_now_says_when_nobody_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OperationalError("no broker")

    monkeypatch.setattr(current_app, "send_task", broken)
    with pytest.raises(Unavailable):
        schedules.run_now(task=tick(), actor=SYSTEM)
    assert confirm(operator(), page("run")).status_code == 503


# -- the first page -------------------------------------------------------------------------------
def test_beat_as_the_code_wants_it_is_no_trouble() -> None:
    assert schedules.troubles(clock.now()) == []
    assert "not running as required" not in operator().get("/admin/").content.decode()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"enabled": False}, "stopped"),
        ({"task": "billing.run_daily"}, "starts billing.run_daily instead of execution.tick"),
        ({"args": '["x"]'}, "is called with other arguments"),
        ({"kwargs": '{"x": 1}'}, "is called with other arguments"),
        ({"queue": "nowhere"}, "goes to the queue nowhere"),
        ({"one_off": True}, "runs once only"),
        ({"start_time": clock.now() + dt.timedelta(days=2)}, "does not begin before a later day"),
        ({"expires": clock.now() - dt.timedelta(days=2)}, "has expired"),
    ],
)
def test_a_deviating_required_schedule_is_red(change: dict[str, Any], what: str) -> None:
    PeriodicTask.objects.filter(name=TICK).update(**change)
    assert [(trouble.name, trouble.what) for trouble in schedules.troubles(clock.now())] == [
        (TICK, what)
    ]
    shown = operator().get("/admin/").content.decode()
    assert "1 not running as required" in shown
    assert "ql-bad" in shown
    assert "not running as required" not in browser().get("/admin/").content.decode()


def test_another_rhythm_and_a_missing_row_are_red_too() -> None:
    hourly, _ = IntervalSchedule.objects.get_or_create(every=1, period="hours")
    PeriodicTask.objects.filter(name=TICK).update(interval=hourly)
    PeriodicTask.objects.filter(name="bill").delete()
    problems = {trouble.name: trouble.what for trouble in schedules.troubles(clock.now())}
    assert set(problems) == {TICK, "bill"}
    assert problems[TICK].startswith("runs ")
    assert problems["bill"] == "not known to beat"


def test_beat_that_never_started_is_red() -> None:
    PeriodicTask.objects.all().delete()
    assert [trouble.what for trouble in schedules.troubles(clock.now())] == [
        "beat has not started yet: no task runs"
    ]


def ran(ago: dt.timedelta, **rows: Any) -> None:
    """Beat has written down that it started these schedules so long ago, by the real clock."""
    PeriodicTask.objects.filter(**rows).update(last_run_at=clock.real_now() - ago)


def silence() -> list[str]:
    """What the first page says of beat itself."""
    troubles = schedules.troubles(clock.real_now())
    return [
        trouble.what.replace("\xa0", " ") for trouble in troubles if trouble.name == "All schedules"
    ]


def test_a_beat_that_stopped_is_red() -> None:
    """Bug: beat was dead, its rows were as they must be, and the first page was green."""
    ran(dt.timedelta(hours=2))
    ran(dt.timedelta(minutes=11), name=TICK)
    assert silence() == ["nothing has run for 11 minutes: start beat"]
    shown = operator().get("/admin/").content.decode()
    assert "1 not running as required" in shown
    assert "Nothing has run for 11\xa0minutes: start beat" in shown


def test_a_beat_that_has_just_not_written_yet_is_no_trouble() -> None:
    """Every three minutes it writes what it has started; one that is late may be slow."""
    ran(dt.timedelta(hours=2))
    ran(dt.timedelta(minutes=9), name=TICK)
    assert silence() == []
    assert dt.timedelta(seconds=3 * Scheduler.sync_every) < schedules.SILENT_AFTER


def test_only_the_newest_run_counts() -> None:
    ran(dt.timedelta(days=3))
    ran(dt.timedelta(0), name="watch-feeds")
    assert schedules.troubles(clock.real_now()) == []


def test_a_beat_that_died_before_it_wrote_anything_is_red() -> None:
    PeriodicTask.objects.update(date_changed=clock.real_now() - dt.timedelta(minutes=11))
    assert silence() == ["nothing has run for 11 minutes: start beat"]


def test_daily_schedules_do_not_tell_whether_beat_lives() -> None:
    """With the others stopped, which is red by itself, hours without a run are in order."""
    ran(dt.timedelta(hours=2))
    PeriodicTask.objects.filter(crontab=None).update(enabled=False)
    assert silence() == []


@pytest.mark.parametrize("moved", [dt.timedelta(days=-100), dt.timedelta(days=100)])
def test_beat_lives_by_the_real_clock_where_ours_is_moved(
    moved: dt.timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = operator()
    monkeypatch.setattr(clock, "_offset", moved.total_seconds())
    ran(dt.timedelta(minutes=1))
    assert today(client.get("/admin/").wsgi_request, clock.now()) == ()
    ran(dt.timedelta(minutes=11))
    assert len(today(client.get("/admin/").wsgi_request, clock.now())) == 2


def test_what_a_stop_means_is_said_of_schedules_that_there_are() -> None:
    assert set(schedules.STOPPED_MEANS) <= set(schedules.required())


def test_a_tick_that_comes_late_is_left_out() -> None:
    """Beat's tables know `expire_seconds`; `expires` was dropped in silence."""
    for name, entry in schedules.required().items():
        given = entry.get("options", {})
        assert "expires" not in given, name
        assert PeriodicTask.objects.get(name=name).expire_seconds == given.get("expire_seconds")
    assert PeriodicTask.objects.get(name="take-over-billing").expire_seconds == 60
