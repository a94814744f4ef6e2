"""Deliberate faults behind a test-only switch, so that the checks can be shown to catch them.

``QUANTLEAP_SABOTAGE`` names at most one. A system check refuses it in production.
"""

from __future__ import annotations

from typing import Final

from django.conf import settings

SEND_TWICE: Final = "send_twice"
SEND_EARLY: Final = "send_early"
DROP_INTENT: Final = "drop_intent"
SKIP_EXIT: Final = "skip_exit"
SKIP_WEBHOOK: Final = "skip_webhook"
IGNORE_UNKNOWN: Final = "ignore_unknown"
SKIP_COMMIT: Final = "skip_commit"
ALL: Final = (
    SEND_TWICE,
    SEND_EARLY,
    DROP_INTENT,
    SKIP_EXIT,
    SKIP_WEBHOOK,
    IGNORE_UNKNOWN,
    SKIP_COMMIT,
)


def active(name: str) -> bool:
    """Whether this fault is switched on."""
    return bool(name == settings.QUANTLEAP_SABOTAGE)
