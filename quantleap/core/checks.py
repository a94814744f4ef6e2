"""System checks: a wrong configuration refuses to start instead of misbehaving at 09:20."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from quantleap.core import clock
from quantleap.core.crypto import KeyRingError, parse_key_ring


@register()
def check_time(**_: Any) -> list[CheckMessage]:
    """UTC at rest (architecture.md, Time)."""
    if settings.TIME_ZONE == "UTC" and settings.USE_TZ:
        return []
    return [Error("TIME_ZONE must be UTC and USE_TZ on.", id="quantleap.E001")]


@register()
def check_encryption_keys(**_: Any) -> list[CheckMessage]:
    """A usable key ring."""
    try:
        parse_key_ring(settings.QUANTLEAP_ENCRYPTION_KEYS)
    except KeyRingError as error:
        return [Error(str(error), id="quantleap.E002")]
    return []


@register()
def check_profile(**_: Any) -> list[CheckMessage]:
    """What production refuses: simulator, clock offset, DEBUG, eager Celery, sabotage."""
    live = bool(settings.QUANTLEAP_LIVE_BROKERS)
    problems: list[CheckMessage] = []
    if clock.offset_seconds() and (settings.QUANTLEAP_PROFILE == "production" or live):
        problems.append(Error("The clock may not be moved here.", id="quantleap.E003"))
    if settings.QUANTLEAP_PROFILE != "production":
        return problems
    refused = {
        "QUANTLEAP_SIMULATOR_URL is set": bool(settings.QUANTLEAP_SIMULATOR_URL),
        "DEBUG is on": settings.DEBUG,
        "Celery is eager": getattr(settings, "CELERY_TASK_ALWAYS_EAGER", False),
        "QUANTLEAP_SABOTAGE is set": bool(settings.QUANTLEAP_SABOTAGE),
    }
    problems += [
        Error(f"{what}: production refuses it.", id="quantleap.E004")
        for what, wrong in refused.items()
        if wrong
    ]
    return problems
