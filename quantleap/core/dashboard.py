"""Core's part of the console's first page: schedules that do not run as required."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from django.http import HttpRequest
from django.urls import reverse
from django.utils.text import capfirst

from quantleap.core import clock, schedules
from quantleap.core.console import Cell, Panel, Tile

LIST: Final = "admin:django_celery_beat_periodictask_changelist"
ROW: Final = "admin:django_celery_beat_periodictask_change"


def today(request: HttpRequest, now: dt.datetime) -> Sequence[Tile | Panel]:
    """A red tile while a required schedule is stopped, changed or missing, or beat itself is
    silent.

    For everybody who may view schedules; nothing while all is well. One query.
    """
    if not request.user.has_perm("django_celery_beat.view_periodictask"):
        return ()
    troubles = schedules.troubles(clock.real(now))
    if not troubles:
        return ()
    rows = tuple(
        (
            Cell(trouble.name, reverse(ROW, args=[trouble.pk]) if trouble.pk else ""),
            Cell(capfirst(trouble.what)),
            Cell(f"Until it runs, {schedules.STOPPED_MEANS.get(trouble.name, schedules.UNKNOWN)}"),
        )
        for trouble in troubles
    )
    tile = Tile(
        "Schedules",
        f"{len(troubles)} not running as required",
        "Start what is stopped; if nothing runs at all, start beat.",
        reverse(LIST),
        "bad",
    )
    return (tile, Panel("Schedules", ("Schedule", "What is wrong", "Meanwhile"), rows))
