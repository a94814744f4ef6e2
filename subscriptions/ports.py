"""What this room asks of the trading day above it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from decimal import Decimal
from typing import Any, Protocol

from quantleap.core.registry import Port


class EntryGate(Protocol):
    """Who is leaving tells it here; the row of the execution decides (execution.md I7)."""

    def withdraw_armed(
        self, subscription_ids: Collection[int], *, reason: str, now: dt.datetime
    ) -> bool:
        """Withdraw what is armed, in the caller's transaction; ``next_entry_affected``."""
        ...

    def request_exit(
        self, subscription_ids: Collection[int], *, reason: str, now: dt.datetime
    ) -> int:
        """Ask for the exit of open positions; how many executions it reaches."""
        ...


class Activity(Protocol):
    """What a subscription has traded."""

    def last_executions(self, subscription_id: int, limit: int) -> list[dict[str, Any]]:
        """Newest executions, as the API shows them."""
        ...

    def performance(self, subscription_id: int) -> dict[str, Decimal | None]:
        """``total_pnl`` and ``roi_percentage``; None until earned."""
        ...


class _Nothing:
    """Without an execution room nothing is armed, held or earned."""

    def withdraw_armed(
        self, subscription_ids: Collection[int], *, reason: str, now: dt.datetime
    ) -> bool:
        return True

    def request_exit(
        self, subscription_ids: Collection[int], *, reason: str, now: dt.datetime
    ) -> int:
        return 0

    def last_executions(self, subscription_id: int, limit: int) -> list[dict[str, Any]]:
        return []

    def performance(self, subscription_id: int) -> dict[str, Decimal | None]:
        return {"total_pnl": None, "roi_percentage": None}


ENTRY_GATE: Port[EntryGate] = Port("subscriptions.entry_gate", _Nothing())
ACTIVITY: Port[Activity] = Port("subscriptions.activity", _Nothing())
