"""Calls of an account before this executor held it: its broker counts them, too.

Read from the orders' rows before an account's first call leaves, so that an executor that takes
over a shard, or has just started, continues the rate count of the one before. If a row does not say
when a call left, it counts at the last moment at which it may have.

Reads and cancels without effect have no row: the broker's refusals show what they have used of a
window, and are obeyed (:meth:`brokers.pace.Pacer.refused`).
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from django.db.models import Q, QuerySet, Sum
from django.db.models.functions import Greatest

from brokers.models import BrokerAccount
from brokers.pace import Call
from brokers.real_account import RealAccount
from execution.models import OrderIntent, Run
from execution.price_changes import KEPT, from_json

#: A broker's longest rate window: orders per day.
LONGEST: Final = dt.timedelta(days=1)
#: The longest window for which the exact moment of a call matters.
RECENT: Final = dt.timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Past:
    """``count`` calls that left ``age`` seconds ago."""

    age: float
    call: Call
    count: int = 1


def past_calls(
    reals: Collection[RealAccount], now: dt.datetime
) -> Mapping[RealAccount, Sequence[Past]]:
    """Past calls by real account, oldest first (2 queries, whatever the number of accounts)."""
    orders = _orders(reals, now)
    calls: dict[RealAccount, list[Past]] = defaultdict(list)
    for order in _recent(orders, now):
        calls[_real(order.account)].extend(_calls(order, now))
    counts = orders.order_by().values_list(
        "account__environment", "account__broker", "account__client_id"
    )
    for *real, sends in counts.annotate(Sum("sends")):
        past = calls[RealAccount(*real)]
        older = sends - sum(p.count for p in past if p.call is Call.PLACE)
        past.append(Past(RECENT.total_seconds(), Call.PLACE, older))
    return {real: sorted(calls[real], key=lambda p: -p.age) for real in reals if real in calls}


def _orders(reals: Collection[RealAccount], now: dt.datetime) -> QuerySet[OrderIntent]:
    """Orders that have or may have left, of runs that were not over a day ago."""
    accounts = BrokerAccount.objects.filter(
        broker__in={real.broker for real in reals},
        client_id__in={real.client_id for real in reals},
    )
    runs = Run.objects.filter(Q(exit_at__gt=now - LONGEST) | ~Q(status__in=Run.OVER))
    provably_here = Q(state__in=OrderIntent.UNSENT, sent_at=None)
    return OrderIntent.objects.filter(
        ~provably_here,
        run__in=runs,
        account__in=accounts,
        sends__gt=0,
    )


def _recent(orders: QuerySet[OrderIntent], now: dt.datetime) -> QuerySet[OrderIntent]:
    """Those with a call that may have left within :data:`RECENT`."""
    may_be_leaving = Q(state__in=OrderIntent.UNCERTAIN)
    is_being_changed = ~Q(state__in=OrderIntent.FINAL) & ~Q(changes=[])
    last = Greatest("due_at", "sent_at", "answered_at", "final_at")
    return (
        orders.annotate(last=last)
        .filter(Q(last__gt=now - RECENT) | may_be_leaving | is_being_changed)
        .select_related("account")
    )


def _calls(order: OrderIntent, now: dt.datetime) -> Iterator[Past]:
    yield Past(_age(_left_by(order, now), now), Call.PLACE, order.sends)
    for change in from_json(order.changes):
        if change.state != KEPT:
            yield Past(_age(change.answered_at or now, now), Call.CHANGE)
    if order.state == OrderIntent.State.CANCELLED and order.final_at is not None:
        yield Past(_age(order.final_at, now), Call.CHANGE)


def _left_by(order: OrderIntent, now: dt.datetime) -> dt.datetime:
    """The latest moment at which the newest send may have left. ``sent_at`` is that of the first
    send, ``due_at`` is when the newest was granted."""
    if order.sends == 1 and order.sent_at is not None:
        return order.sent_at
    heard = order.answered_at or order.final_at
    return heard if heard is not None and heard >= order.due_at else now


def _age(at: dt.datetime, now: dt.datetime) -> float:
    """Age in seconds, never negative although the writer's clock may be ahead of ours."""
    return max(0.0, (now - at).total_seconds())


def _real(account: BrokerAccount) -> RealAccount:
    return RealAccount(account.environment, account.broker, account.client_id)
