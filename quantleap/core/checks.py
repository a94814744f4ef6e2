"""System checks: `manage.py check` says what a start would be refused for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning
from django.db import DatabaseError

from quantleap.core.reencryption import unknown_keys
from quantleap.core.refusals import refusals


@register()
def check_start(**_: Any) -> list[CheckMessage]:
    """Every sentence of the guard before each process (`quantleap.core.startup`)."""
    return [Error(problem, id="quantleap.E001") for problem in refusals(settings, os.environ)]


@register(Tags.database)
def check_keys(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Keys that sealed stored values and are not in the ring (`check --database default`).

    A warning: one account that cannot be read is that account's problem, and no reason to stop a
    release for everybody.
    """
    if "default" not in (databases or ()):
        return []
    try:
        missing = unknown_keys()
    except DatabaseError:
        return []  # before the first migration there is nothing to read
    return [
        CheckWarning(
            f"QUANTLEAP_ENCRYPTION_KEYS lacks the key {key!r}, which sealed {count} stored values.",
            hint="Put it back, run `manage.py reencrypt`, then remove it.",
            id="quantleap.W002",
        )
        for key, count in sorted(missing.items())
    ]
