"""Celery beat's schedules: read-only; stopping and starting ask for confirmation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import django_celery_beat.admin  # noqa: F401  # registers what is put right below
from django.contrib import admin
from django.http import HttpRequest
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)

from quantleap.core import clock, schedules
from quantleap.core.admin.base import ReadOnlyAdmin, display
from quantleap.core.admin_columns import plain
from quantleap.core.audit import Actor
from quantleap.core.confirmation import ConfirmForm, confirmed


class ScheduleAdmin(ReadOnlyAdmin):
    """What beat starts, and when. The code defines it; the console can stop and start it.

    Rows cannot be edited: a person who could write one could start any task with any arguments.
    """

    list_display = ("name", "state", "rhythm", plain("last_run_at", "Last run"), "task")
    list_filter = ("enabled",)
    list_select_related = ("interval", "crontab", "solar", "clocked")
    search_fields = ("name", "task")
    search_help_text = "Part of a name or of a task's name"
    ordering = ("name",)
    fields = (
        plain("name"),
        "state_in_words",
        "rhythm",
        plain("last_run_at", "Last run (IST)"),
        plain("task"),
        plain("args", "Arguments"),
        plain("kwargs", "Named arguments"),
        plain("queue"),
        plain("expire_seconds", "Skipped if late by more than (seconds)"),
    )
    readonly_fields = fields
    actions_detail = ("stop", "start", "run")

    @display(
        description="State", label={"runs": "success", "stopped": "danger", "changed": "danger"}
    )
    def state(self, row: PeriodicTask) -> tuple[str, str]:
        """Whether the schedule runs, is stopped, or differs from what the code asks for."""
        entry = schedules.required().get(row.name)
        if entry is None:
            return ("runs", "Runs, not required") if row.enabled else ("off", "Stopped")
        trouble = schedules.difference(row, entry, clock.now())
        if not trouble:
            return "runs", "Runs"
        return ("stopped", "Stopped") if trouble == "stopped" else ("changed", trouble.capitalize())

    @admin.display(description="State")
    def state_in_words(self, row: PeriodicTask) -> str:
        """The state, with the consequence if the schedule does not run."""
        kind, words = self.state(row)
        if kind == "runs":
            return words
        return f"{words}: {schedules.STOPPED_MEANS.get(row.name, schedules.UNKNOWN)}"

    @admin.display(description="When")
    def rhythm(self, row: PeriodicTask) -> str:
        """The schedule's rhythm as text."""
        if row.crontab is not None:
            return str(row.crontab.human_readable)
        return str(row.interval or row.solar or row.clocked or "–")

    # -- permissions -------------------------------------------------------------------------------
    def _operates(self, request: HttpRequest, row: Any, *, enabled: bool | None) -> bool:
        if not request.user.has_perm("core.operate_schedules"):
            return False
        if enabled is None or row is None or isinstance(row, PeriodicTask):
            return True
        # the page asks by id, for its buttons: show only the one that applies
        return bool(PeriodicTask.objects.filter(pk=row, enabled=enabled).exists())

    def has_stop_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user is an operator and the schedule is running."""
        return self._operates(request, obj, enabled=True)

    def has_start_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user is an operator and the schedule is stopped."""
        return self._operates(request, obj, enabled=False)

    def has_run_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user is an operator."""
        return self._operates(request, obj, enabled=None)

    # -- actions -----------------------------------------------------------------------------------
    def what_stopping_means(self, request: HttpRequest, row: PeriodicTask) -> Sequence[str]:
        """The consequences, shown before stopping."""
        means = schedules.STOPPED_MEANS.get(row.name, schedules.UNKNOWN)
        return (
            f"{row.name} starts {row.task}: {self.rhythm(row)}.",
            f"While it is stopped, {means}",
            "It stays stopped until somebody starts it again, even after restarts. Until then the "
            "console's first page is red, and the audit log names you.",
        )

    def stopping_asks_again(self, request: HttpRequest, row: PeriodicTask) -> dict[str, Any]:
        """The second question: stopping can be undone, but what was missed meanwhile cannot."""
        return {"again_words": f"Do you really want to stop {row.name}?"}

    @confirmed(
        description="Stop",
        explain="what_stopping_means",
        context="stopping_asks_again",
        form=ConfirmForm,
        permission="stop",
        icon="pause_circle",
        danger=True,
        twice=True,
    )
    def stop(self, request: HttpRequest, row: PeriodicTask, data: dict[str, Any]) -> str:
        """Stop the schedule: beat no longer starts its task."""
        schedules.stop(task=row, actor=Actor.staff(request.user))
        return f"{row.name} is stopped."

    def what_starting_means(self, request: HttpRequest, row: PeriodicTask) -> Sequence[str]:
        """The consequences, shown before starting again."""
        return (
            f"{row.name} starts {row.task} again: {self.rhythm(row)}.",
            "It does not catch up on what it missed; run it now for that.",
        )

    @confirmed(
        description="Start again",
        explain="what_starting_means",
        permission="start",
        icon="play_circle",
    )
    def start(self, request: HttpRequest, row: PeriodicTask, data: dict[str, Any]) -> str:
        """Start the schedule again: beat starts its task when it is next due."""
        schedules.start(task=row, actor=Actor.staff(request.user))
        return f"{row.name} runs again."

    def what_running_means(self, request: HttpRequest, row: PeriodicTask) -> Sequence[str]:
        """The consequences, shown before running."""
        return (
            f"A worker runs {row.task} once, now, in addition to the schedule.",
            "Tasks may run at any time and more than once: finished work is not repeated.",
        )

    @confirmed(description="Run now", explain="what_running_means", permission="run", icon="bolt")
    def run(self, request: HttpRequest, row: PeriodicTask, data: dict[str, Any]) -> str:
        """Send the task to a worker once."""
        schedules.run_now(task=row, actor=Actor.staff(request.user))
        return f"{row.task} was handed to the workers."


for _model in (PeriodicTask, IntervalSchedule, CrontabSchedule, SolarSchedule, ClockedSchedule):
    admin.site.unregister(_model)
admin.site.register(PeriodicTask, ScheduleAdmin)
