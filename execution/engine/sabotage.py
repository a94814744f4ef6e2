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
SPLIT_ACCOUNT: Final = "split_account"
ALL: Final = (
    SEND_TWICE,
    SEND_EARLY,
    DROP_INTENT,
    SKIP_EXIT,
    SKIP_WEBHOOK,
    IGNORE_UNKNOWN,
    SKIP_COMMIT,
    SPLIT_ACCOUNT,
)


def active(name: str) -> bool:
    """Whether this fault is switched on."""
    return bool(name == settings.QUANTLEAP_SABOTAGE)


def divided(client_id: str, account_id: int) -> str:
    """By whom a broker account's book, exits and pace are kept: by its client id; sabotaged, by our
    row, so that one person at two partners is two accounts again (docs/adr/0038)."""
    return f"{client_id}#{account_id}" if active(SPLIT_ACCOUNT) else client_id
