"""What core shows on the console's first page: schedules that are not as they must be."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from django.http import HttpRequest
from django.urls import reverse

from quantleap.core import schedules
from quantleap.core.console import Cell, Panel, Tile

LIST = "admin:django_celery_beat_periodictask_changelist"
ROW = "admin:django_celery_beat_periodictask_change"


def today(request: HttpRequest, now: dt.datetime) -> Sequence[Tile | Panel]:
    """Red while a required schedule is stopped, changed or missing, for everybody who may look.

    Silent while all is well. One query.
    """
    if not request.user.has_perm("django_celery_beat.view_periodictask"):
        return ()
    found = schedules.troubles(now)
    if not found:
        return ()
    rows = tuple(
        (
            Cell(one.name, reverse(ROW, args=[one.pk]) if one.pk else ""),
            Cell(one.what.capitalize()),
            Cell(f"Until it runs, {schedules.STOPPED_MEANS.get(one.name, schedules.UNKNOWN)}"),
        )
        for one in found
    )
    tile = Tile(
        "Schedules",
        f"{len(found)} not running as required",
        "Open the list, and start what is stopped.",
        reverse(LIST),
        "bad",
    )
    return (tile, Panel("Schedules", ("Schedule", "What is wrong", "Meanwhile"), rows))
