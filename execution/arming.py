"""Arming: create a run and its executions once, with the template version pinned.

I7 (no entry outside its window) begins here: an execution that is not armed does not enter.

Set-based and idempotent: any executor and any beat may arm at any time. The insert waits for a
pause that is being committed (FOR SHARE on the subscription), so a subscription that has left
cannot be armed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Min

from brokers.real_account import RealAccount
from execution import lifecycle
from execution.causes import KILL_SWITCH
from execution.models import KillSwitch, Run
from execution.models.runs import new_execution_id
from execution.timing import Timing
from marketplace import selectors as marketplace
from marketplace.definition import StrategySpec
from marketplace.entries import entry_on
from quantleap.core import clock
from quantleap.core.tenancy import Environment
from subscriptions import selectors as subscriptions
from subscriptions.models import Subscription

# No subscription joins a run from here on: quotes and quantities are being computed.
ARMING_CLOSES: Final = dt.timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class DueStrategy:
    """A strategy that enters today, with the version now in force. Instants in UTC."""

    template_id: int
    version_id: int
    environment: str
    strategy: StrategySpec
    trade_date: dt.date
    entry_at: dt.datetime
    exit_at: dt.datetime
    inside_session: bool


def strategies_today(now: dt.datetime) -> Iterator[DueStrategy]:
    """Yield strategies whose weekday and session allow an entry on the IST date of ``now``."""
    day = clock.ist_date(now)
    calendar = marketplace.load_calendar()
    for environment in (Environment.LIVE, Environment.TEST):
        for template_id, _, version_id, definition in marketplace.strategies_for_day(environment):
            for strategy in definition.strategies:
                entry = entry_on(calendar, strategy, day)
                if entry is None:
                    continue
                yield DueStrategy(
                    template_id=template_id,
                    version_id=version_id,
                    environment=environment,
                    strategy=strategy,
                    trade_date=day,
                    entry_at=entry.entry_at,
                    exit_at=entry.exit_at,
                    inside_session=entry.inside_session,
                )


def never_armed(*, now: dt.datetime, timing: Timing) -> list[DueStrategy]:
    """Strategies with subscribers whose entry of today is over and that were never armed.

    Constant number of queries. A subscriber counts if arming would have included them. A strategy
    counts if any version of it was published by then with this entry time; a version published
    after the entry does not hide an earlier one. The reason is not known here: no executor may have
    been alive, or the calendar may not have had the day yet.
    """
    over = [due for due in strategies_today(now) if due.entry_at + timing.grace_delta < now]
    if not over:
        return []
    armed = set(
        Run.objects.filter(trade_date=clock.ist_date(now)).values_list("strategy_key", flat=True)
    )
    missing = [due for due in over if UUID(due.strategy.key) not in armed]
    published = _first_published({due.template_id for due in missing})
    since = dict(
        Subscription.objects.filter(
            template_id__in={due.template_id for due in missing}, status=Subscription.Status.ACTIVE
        )
        .values_list("template_id")
        .annotate(first=Min("status_changed_at"))
        .order_by()
    )
    return [
        due
        for due in missing
        if (first := since.get(due.template_id)) is not None
        and max(first, published[due.strategy.key, due.strategy.entry_time])
        < due.entry_at - ARMING_CLOSES
    ]


_FIRST_PUBLISHED: Final = """
SELECT strategy->>'key', (strategy->>'entry_time')::time, min(version.published_at)
  FROM marketplace_templateversion version
 CROSS JOIN LATERAL jsonb_array_elements(version.definition->'strategies') AS strategy
 WHERE version.template_id = ANY(%s)
 GROUP BY 1, 2
"""


def _first_published(template_ids: Collection[int]) -> dict[tuple[str, dt.time], dt.datetime]:
    """When each strategy (by key) was first published with each of its entry times (IST)."""
    with connection.cursor() as cursor:
        cursor.execute(_FIRST_PUBLISHED, [list(template_ids)])
        return {(key, entry_time): at for key, entry_time, at in cursor.fetchall()}


def _never(_due: DueStrategy) -> bool:
    return False


def arm_due(
    *, now: dt.datetime, timing: Timing, skip: Callable[[DueStrategy], bool] = _never
) -> list[Run]:
    """Arm every strategy from the arm lead before its entry until its grace ends; return the runs.

    ``skip`` returns True for strategies that the caller checked a moment ago.
    """
    lead = dt.timedelta(seconds=timing.arm_lead)
    runs = []
    for due in strategies_today(now):
        if due.entry_at - lead <= now <= due.entry_at + timing.grace_delta and not skip(due):
            runs.append(arm(due, now=now, timing=timing))
    return runs


def arm(due: DueStrategy, *, now: dt.datetime, timing: Timing) -> Run:
    """Create the run row (the first caller pins the version) and add executions it lacks."""
    with transaction.atomic():
        run, _ = Run.objects.get_or_create(
            strategy_key=due.strategy.key,
            trade_date=due.trade_date,
            phase=Run.Phase.ENTRY,
            defaults={
                "template_id": due.template_id,
                "version_id": due.version_id,
                "status": Run.Status.ARMED if due.inside_session else Run.Status.MISSED,
                "cause": "" if due.inside_session else "OUTSIDE_SESSION",
                "entry_at": due.entry_at,
                "exit_at": due.exit_at,
                "grace_until": due.entry_at + timing.grace_delta,
                "armed_at": now,
            },
        )
        if run.status == Run.Status.ARMED and not _arming_closed(run, now):
            add_executions(run, environment=due.environment, now=now, shards=timing.shards)
    return run


def _arming_closed(run: Run, now: dt.datetime) -> bool:
    """Whether the run is being computed right now. After T a recovery may still arm executions
    that we failed to arm in time; the statement itself excludes later subscriptions."""
    return run.entry_at - ARMING_CLOSES < now < run.entry_at


def entries_blocked(template_id: int) -> bool:
    """Whether an engaged kill switch covers a template."""
    return KillSwitch.objects.filter(released_at__isnull=True, target_id__isnull=True).exists() or (
        KillSwitch.objects.filter(released_at__isnull=True, target_id=template_id).exists()
    )


def add_executions(run: Run, *, environment: str, now: dt.datetime, shards: int) -> int:
    """Insert ARMED executions of all active allocations; return how many. 2 reads, 1 write."""
    allocations: Sequence[subscriptions.ActiveAllocation] = subscriptions.active_allocations(
        run.template_id, environment
    )
    if not allocations:
        return 0
    blocked = entries_blocked(run.template_id)
    with connection.cursor() as cursor:
        cursor.execute(
            _INSERT,
            [
                [new_execution_id() for _ in allocations],
                [a.allocation_id for a in allocations],
                [a.subscription_id for a in allocations],
                [a.account_id for a in allocations],
                # A proposal: a live execution of the same real account decides (adr 0038).
                [
                    RealAccount(a.environment, a.broker, a.client_id).shard(shards)
                    for a in allocations
                ],
                run.entry_at - ARMING_CLOSES,
                run.trade_date,
                run.entry_at - ARMING_CLOSES,
                run.id,
                run.trade_date,
                run.id,
                lifecycle.WITHDRAWN if blocked else lifecycle.ARMED,
                KILL_SWITCH if blocked else "",
                now,
            ],
        )
        return int(cursor.rowcount)


# End dates apply even if beat has not run yet: that of a subscription that is not renewed, and that
# of a suspended partner whose subscriptions run until a day (adr 0051).
# Executions that are in the run already are filtered out first: a conflict locks the row even if
# the update then does nothing, and after the entry second the executor is writing those rows.
_INSERT: Final = """
WITH joining AS (
    SELECT u.public_id, a.partner_id, a.environment, u.allocation_id, u.subscription_id,
           u.account_id, u.shard, a.lot_multiplier, a.priority, a.max_lots_per_order
      FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::int[])
           AS u(public_id, allocation_id, subscription_id, account_id, shard)
      JOIN subscriptions_subscription s
        ON s.id = u.subscription_id AND s.status = 'ACTIVE' AND s.status_changed_at < %s
       AND (s.ends_on IS NULL OR s.ends_on > %s)
      JOIN subscriptions_allocation a
        ON a.id = u.allocation_id AND a.status = 'ACTIVE' AND a.created_at < %s
     WHERE NOT EXISTS (
           SELECT FROM execution_execution e
            WHERE e.run_id = %s AND e.allocation_id = a.id
              AND e.partner_id = a.partner_id AND e.environment = a.environment
              AND (e.status <> 'WITHDRAWN' OR e.cause = 'KILL_SWITCH'))
       AND NOT EXISTS (
           SELECT FROM partners_partner p WHERE p.id = s.partner_id AND p.run_until < %s)
     ORDER BY s.id, a.id
       FOR SHARE OF s, a
)
INSERT INTO execution_execution AS e
       (public_id, partner_id, environment, run_id, subscription_id, allocation_id, account_id,
        shard, status, cause, lot_multiplier, priority, max_lots_per_order, message, exit_reason,
        closed_outside, armed_at)
SELECT public_id, partner_id, environment, %s, subscription_id, allocation_id, account_id,
       shard, %s, %s, lot_multiplier, priority, max_lots_per_order, '', '', '{}', %s
  FROM joining
    ON CONFLICT (partner_id, environment, run_id, allocation_id) DO UPDATE
   SET status = EXCLUDED.status, cause = EXCLUDED.cause, armed_at = EXCLUDED.armed_at,
       lot_multiplier = EXCLUDED.lot_multiplier, priority = EXCLUDED.priority,
       max_lots_per_order = EXCLUDED.max_lots_per_order
 WHERE e.status = 'WITHDRAWN' AND EXCLUDED.status = 'ARMED' AND e.cause <> 'KILL_SWITCH'
"""
