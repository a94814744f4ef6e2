"""Alarm for stored values whose encryption key is missing from the ring."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

import structlog
from django.http import HttpRequest

from quantleap.core.console import Panel, Tile
from quantleap.core.json_cache import CacheUnavailable, recall, remember
from quantleap.core.reencryption import unknown_keys

log = structlog.get_logger(__name__)

_CACHED: Final = "core:unknown-encryption-keys"
_TITLE: Final = "Encryption keys"
_KEPT: Final = 3 * 3600  # seconds; beat checks every hour


def look() -> dict[str, int]:
    """Count such values, cache the result for the console, and log an error if there are any."""
    missing = unknown_keys()
    remember(_CACHED, missing, _KEPT)
    for key_id, count in missing.items():
        log.error("encryption_key_missing", key_id=key_id, stored_values=count)
    return missing


def today(request: HttpRequest, now: dt.datetime) -> Sequence[Tile | Panel]:
    """A red tile on the console's first page while values cannot be decrypted."""
    del request, now
    try:
        missing = recall(_CACHED) or {}
    except CacheUnavailable:
        return (Tile(_TITLE, "Unknown", note="The cache does not answer.", tone="warn"),)
    if not missing:
        return ()
    keys = ", ".join(sorted(missing))
    return (
        Tile(
            _TITLE,
            f"{sum(missing.values())} values cannot be read",
            note=f"Put the key {keys} back into QUANTLEAP_ENCRYPTION_KEYS, then reencrypt.",
            tone="bad",
        ),
    )
