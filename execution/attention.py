"""What needs a person: one matter per execution, run or account, with all its open alarms.

An alarm and its order are one fact, and one look into the broker's app settles all alarms of an
execution, so the list shows them together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Window
from django.db.models.functions import RowNumber

from brokers.models import BrokerAccount
from execution.alarm_lists import AlarmRow, alarm_rows, open_alarms, shown
from execution.models import Alarm, Execution, OrderIntent, Run

#: Most orders shown per execution; the others are only counted.
MOST_ORDERS: Final = 5
#: What an alarm is about: execution, run or account id; the other two are None.
_About = tuple[int | None, int | None, int | None]


@dataclass(frozen=True, slots=True)
class Matter:
    """What is open about an execution, or about a run or account as a whole.

    ``orders`` are those whose outcome is unknown and that none of ``alarms`` names, newest first;
    ``more_orders`` counts those that are not shown.
    """

    execution: Execution | None
    run: Run | None = None
    account: BrokerAccount | None = None
    alarms: tuple[AlarmRow, ...] = ()
    orders: tuple[OrderIntent, ...] = ()
    more_orders: int = 0


def newest_of_each(
    *, run_id: int | None = None, state: str = "", cause: str = ""
) -> QuerySet[Alarm]:
    """The newest open alarm of each matter, newest first: the rows that a list of matters pages.

    Filters as in :func:`execution.alarm_lists.open_alarms`. Two queries: as one, the planner joins
    every alarm that ever was to find the few that are open.
    """
    alarms = open_alarms(run_id=run_id, state=state, cause=cause)
    about = ("execution_id", "run_id", "account_id")
    newest = alarms.order_by(*about, "-id").distinct(*about)
    return shown().filter(pk__in=list(newest.values_list("pk", flat=True))).order_by("-id")


def matters(newest: Sequence[Alarm], *, state: str = "", cause: str = "") -> list[Matter]:
    """The matters of these alarms, with all open alarms that match the filters (2 queries)."""
    execution_ids = [alarm.execution_id for alarm in newest if alarm.execution_id is not None]
    same = (
        Q(execution__in=execution_ids)
        | Q(run__in=[alarm.run_id for alarm in newest if alarm.run_id is not None])
        | Q(account__in=[alarm.account_id for alarm in newest if alarm.account_id is not None])
    )
    by_subject: dict[_About, list[Alarm]] = defaultdict(list)
    for alarm in open_alarms(state=state, cause=cause).filter(same) if newest else ():
        by_subject[_about(alarm)].append(alarm)
    orders = _orders(execution_ids, (OrderIntent.State.UNKNOWN, OrderIntent.State.ESCALATED))
    return [
        _matter(alarm, by_subject[_about(alarm)], orders.get(alarm.execution_id, ()))
        for alarm in newest
    ]


def unanswered(run_id: int | None = None) -> QuerySet[Execution]:
    """Executions with an UNKNOWN order and no open alarm: the engine reads the book, and no person
    has to act."""
    unknown = OrderIntent.objects.filter(state=OrderIntent.State.UNKNOWN)
    if run_id is not None:
        unknown = unknown.filter(run_id=run_id)
    alarmed = Alarm.objects.filter(Alarm.OPEN, execution=OuterRef("pk"))
    executions: QuerySet[Execution] = (
        Execution.objects.filter(~Exists(alarmed), pk__in=unknown.values("execution_id"))
        .select_related("subscription__customer", "account", "run__template")
        .order_by("-id")
    )
    return executions


def asked(executions: Sequence[Execution]) -> list[Matter]:
    """The matters of :func:`unanswered` executions, with their UNKNOWN orders (1 query)."""
    orders = _orders([execution.pk for execution in executions], (OrderIntent.State.UNKNOWN,))
    return [
        Matter(execution, orders=tuple(unknown), more_orders=_hidden(unknown))
        for execution in executions
        if (unknown := orders.get(execution.pk, ()))
    ]


def _matter(newest: Alarm, alarms: Sequence[Alarm], orders: Sequence[OrderIntent]) -> Matter:
    rows = alarm_rows(alarms, orders)
    named = {row.order.pk for row in rows if row.order is not None}
    return Matter(
        newest.execution,
        newest.run,
        newest.account,
        tuple(rows),
        tuple(order for order in orders if order.pk not in named),
        _hidden(orders),
    )


def _about(alarm: Alarm) -> _About:
    return alarm.execution_id, alarm.run_id, alarm.account_id


def _orders(
    execution_ids: Sequence[int], states: Sequence[str]
) -> dict[int | None, list[OrderIntent]]:
    """The newest :data:`MOST_ORDERS` orders in these states, by execution; ``of_all`` on each is
    the execution's total."""
    execution = F("execution_id")
    newest = (
        OrderIntent.objects.filter(execution_id__in=execution_ids, state__in=states)
        .annotate(
            place=Window(RowNumber(), partition_by=execution, order_by="-id"),
            of_all=Window(Count("pk"), partition_by=execution),
        )
        .filter(place__lte=MOST_ORDERS)
        .order_by("execution_id", "-id")
    )
    by_execution: dict[int | None, list[OrderIntent]] = defaultdict(list)
    for order in newest if execution_ids else ():
        by_execution[order.execution_id].append(order)
    return by_execution


def _hidden(orders: Sequence[OrderIntent]) -> int:
    return orders[0].of_all - len(orders) if orders else 0  # type: ignore[attr-defined]
