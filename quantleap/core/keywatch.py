"""Alarm when stored values were sealed with a key that is not in the ring (any more)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

import structlog
from django.core.cache import cache
from django.http import HttpRequest

from quantleap.core.console import Panel, Tile
from quantleap.core.reencryption import unknown_keys

log = structlog.get_logger(__name__)

_CACHED: Final = "core:unknown-encryption-keys"
_KEPT: Final = 3 * 3600  # seconds; beat looks every hour


def look() -> dict[str, int]:
    """Count, remember for the console, and log an error if there are any."""
    missing = unknown_keys()
    cache.set(_CACHED, missing, _KEPT)
    for key_id, count in missing.items():
        log.error("encryption_key_missing", key_id=key_id, stored_values=count)
    return missing


def today(request: HttpRequest, now: dt.datetime) -> Sequence[Tile | Panel]:
    """Red on the first page of the console while something cannot be read."""
    del request, now
    missing = cache.get(_CACHED) or {}
    if not missing:
        return ()
    keys = ", ".join(sorted(missing))
    return (
        Tile(
            "Encryption keys",
            f"{sum(missing.values())} values cannot be read",
            note=f"Put the key {keys} back into QUANTLEAP_ENCRYPTION_KEYS, then reencrypt.",
            tone="bad",
        ),
    )
