"""System checks: `manage.py check` reports why a process would refuse to start."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning
from django.db import DatabaseError

from quantleap.core.production_checks import refusals
from quantleap.core.reencryption import unknown_keys


@register()
def check_start(**_: Any) -> list[CheckMessage]:
    """Every problem that `quantleap.core.startup` would report before a process starts."""
    return [Error(problem, id="quantleap.E001") for problem in refusals(settings, os.environ)]


@register(Tags.database)
def check_keys(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Keys that encrypted stored values but are not in the ring (`check --database default`).

    A warning only: an account that cannot be decrypted affects itself, and is no reason to stop a
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
            f"QUANTLEAP_ENCRYPTION_KEYS lacks the key {key!r} of {count} stored values.",
            hint="Put it back, run `manage.py reencrypt`, then remove it.",
            id="quantleap.W002",
        )
        for key, count in sorted(missing.items())
    ]
