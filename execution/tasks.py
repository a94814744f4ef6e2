"""Periodic Celery tasks. They may run twice, late or never; the trading day stays correct."""

from __future__ import annotations

from celery import shared_task
from django.db import OperationalError

from execution.arming import arm_due
from execution.services import finish_removals
from execution.timing import from_settings
from quantleap.core import clock


@shared_task(name="execution.tick", ignore_result=True, expires=5)
def tick() -> None:
    """Second trigger beside the executor's own: arm what is due, finish deferred removals."""
    now = clock.now()
    try:
        arm_due(now=now, timing=from_settings())
        finish_removals(now=now)
    except OperationalError:
        return  # the database is away; the next tick comes in a second
