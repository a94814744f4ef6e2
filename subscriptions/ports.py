"""What subscriptions asks of the room above it: the trading day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any, Final, Protocol

from quantleap.core.registry import Port


class EntryGate(Protocol):
    """Withdraws the next entry of a subscription that leaves: I7 (no entry outside its window)."""

    def withdraw_armed(
        self, subscription_ids: Collection[int], *, reason: str, now: dt.datetime
    ) -> bool:
        """Withdraw what is armed, in the caller's transaction.

        Returns ``next_entry_affected``: False when an entry was already committed, which then
        goes out.
        """
        ...

    def request_exit(
        self,
        subscription_ids: Collection[int],
        *,
        reason: str,
        now: dt.datetime,
        account_id: int | None = None,
    ) -> int:
        """Ask for the exit of all open positions, or of those in one broker account; idempotent.

        How many executions it reaches.
        """
        ...


class Activity(Protocol):
    """What was traded for a subscription, as the API shows it."""

    def last_executions(self, subscription_id: int, limit: int) -> list[dict[str, Any]]:
        """At most ``limit`` executions, newest first."""
        ...

    def performance(self, subscription_id: int) -> Mapping[str, Decimal | None]:
        """``total_pnl`` in rupees and ``roi_percentage``; None where nothing is known yet."""
        ...


class _NothingTrades:
    """Without an execution room nothing was committed: whoever leaves misses the next entry."""

    def withdraw_armed(
        self, subscription_ids: Collection[int], *, reason: str, now: dt.datetime
    ) -> bool:
        del subscription_ids, reason, now
        return True

    def request_exit(
        self,
        subscription_ids: Collection[int],
        *,
        reason: str,
        now: dt.datetime,
        account_id: int | None = None,
    ) -> int:
        del subscription_ids, reason, now, account_id
        return 0


class _NothingTraded:
    """Without an execution room there is no history."""

    def last_executions(self, subscription_id: int, limit: int) -> list[dict[str, Any]]:
        del subscription_id, limit
        return []

    def performance(self, subscription_id: int) -> Mapping[str, Decimal | None]:
        del subscription_id
        return {"total_pnl": None, "roi_percentage": None}


ENTRY_GATE: Final[Port[EntryGate]] = Port("subscriptions.entry_gate", _NothingTrades())
ACTIVITY: Final[Port[Activity]] = Port("subscriptions.activity", _NothingTraded())
