"""Implementations of the ports of lower rooms."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from decimal import Decimal
from typing import Any, Final

from django.db.models import Sum

from execution import selectors, services
from execution.models import Execution, Run


class Gate:
    """subscriptions.ports.EntryGate."""

    def withdraw_armed(
        self, subscription_ids: Collection[int], *, reason: str, now: dt.datetime
    ) -> bool:
        """See :func:`execution.services.withdraw_armed`."""
        return services.withdraw_armed(subscription_ids, reason=reason, now=now)

    def withdraw_allocations(
        self, allocation_ids: Collection[int], *, reason: str, now: dt.datetime
    ) -> bool:
        """See :func:`execution.services.withdraw_allocations`."""
        return services.withdraw_allocations(allocation_ids, reason=reason, now=now)

    def resize_armed(self, allocation_ids: Collection[int], *, now: dt.datetime) -> bool:
        """See :func:`execution.services.resize_armed`."""
        return services.resize_armed(allocation_ids, now=now)

    def request_exit(
        self,
        subscription_ids: Collection[int],
        *,
        reason: str,
        now: dt.datetime,
        account_id: int | None = None,
    ) -> int:
        """See :func:`execution.services.request_exit`."""
        return services.request_exit(
            subscription_ids, reason=reason, now=now, account_id=account_id
        )


class ActivityView:
    """subscriptions.ports.Activity."""

    def last_executions(self, subscription_id: int, limit: int) -> list[dict[str, Any]]:
        """The newest executions of a subscription, in the shape of the API."""
        rows = selectors.executions_of(subscription_id)[:limit]
        return [selectors.execution_summary(row) for row in rows]

    def performance(self, subscription_id: int) -> dict[str, Decimal | None]:
        """Realised P&L in rupees; None until an execution has one."""
        total = Execution.objects.filter(
            subscription_id=subscription_id, realised_pnl__isnull=False
        ).aggregate(total=Sum("realised_pnl"))["total"]
        return {"total_pnl": total, "roi_percentage": None}


class RunView:
    """marketplace.ports.DayRuns."""

    def made(self, day: dt.date) -> Collection[str]:
        """Keys of strategies with an entry run on ``day``: the row decides, not the clock."""
        rows = Run.objects.filter(trade_date=day, phase=Run.Phase.ENTRY)
        return {str(key) for key in rows.values_list("strategy_key", flat=True)}


#: How long before and after an entry only its executor reads prices from the feeds.
ENTRY_READS: Final = dt.timedelta(seconds=10)


def quotes_reserved(now: dt.datetime) -> bool:
    """brokers.ports.QuotesReserved: whether an entry reads its prices around ``now``."""
    return Run.objects.filter(
        entry_at__gte=now - ENTRY_READS,
        entry_at__lte=now + ENTRY_READS,
        status=Run.Status.ARMED,
    ).exists()


GATE: Final = Gate()
ACTIVITY: Final = ActivityView()
RUNS: Final = RunView()
