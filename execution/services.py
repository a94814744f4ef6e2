"""Services of the trading day: all state changes that people and other rooms request."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import Final, NoReturn

from django.db import connection, transaction
from django.db.models import Q, QuerySet

from brokers.errors import OpenPositions
from brokers.models import BrokerAccount
from brokers.ports import RemovalEffect
from brokers.services.accounts import finish_removal
from execution.alarm_lists import about
from execution.causes import EXIT_REQUESTED, KILL_SWITCH
from execution.errors import AlreadyEngaged, NotEngaged
from execution.models import Alarm, Execution, KillSwitch
from quantleap.core import audit
from quantleap.core.audit import Actor
from quantleap.core.errors import InvalidTransition, NotFound
from quantleap.core.inserts import insert_missing


# -- leaving before the entry: I7 (no entry outside its window) ---------------------------------
def withdraw_armed(subscription_ids: Collection[int], *, reason: str, now: dt.datetime) -> bool:
    """Withdraw the ARMED executions of these subscriptions, in the caller's transaction.

    The row decides, not the clock. Returns ``next_entry_affected``: False only if one of their
    entries is already committed and still under way.
    """
    return _withdraw(
        Execution.objects.filter(subscription_id__in=list(subscription_ids)), reason, now
    )


def withdraw_allocations(allocation_ids: Collection[int], *, reason: str, now: dt.datetime) -> bool:
    """:func:`withdraw_armed` for single allocations."""
    return _withdraw(Execution.objects.filter(allocation_id__in=list(allocation_ids)), reason, now)


def _withdraw(executions: QuerySet[Execution], reason: str, now: dt.datetime) -> bool:
    executions.filter(status=Execution.Status.ARMED).update(
        status=Execution.Status.WITHDRAWN, cause=reason[:30], closed_at=now
    )
    return not executions.filter(status=Execution.Status.COMMITTED).exists()


#: In the last seconds before an entry, and after it, an armed execution keeps its size: it is being
#: computed. Longer than :data:`execution.arming.ARMING_CLOSES`, so that a change that takes seconds
#: to commit is still noticed before the entry is computed.
SIZES_CLOSE: Final = dt.timedelta(seconds=10)
_RESIZE: Final = """
UPDATE execution_execution AS execution
   SET lot_multiplier = allocation.lot_multiplier, priority = allocation.priority,
       max_lots_per_order = allocation.max_lots_per_order, armed_at = %s
  FROM subscriptions_allocation AS allocation, execution_run AS run
 WHERE allocation.id = ANY(%s) AND execution.allocation_id = allocation.id
   AND run.id = execution.run_id AND execution.status = 'ARMED' AND run.entry_at > %s
"""


def resize_armed(allocation_ids: Collection[int], *, now: dt.datetime) -> bool:
    """Give ARMED executions the sizes that their allocations have now.

    Call it in the transaction of the change, with the allocations locked. A new ``armed_at`` tells
    the executor to read them again. Returns ``next_entry_affected``: False if an entry goes out
    with the earlier size, because it is being computed or was committed.
    """
    closes = now + SIZES_CLOSE
    with connection.cursor() as cursor:
        cursor.execute(_RESIZE, [now, list(allocation_ids), closes])
    unchanged = Q(status=Execution.Status.COMMITTED) | Q(
        status=Execution.Status.ARMED, run__entry_at__lte=closes
    )
    return not Execution.objects.filter(unchanged, allocation_id__in=list(allocation_ids)).exists()


def request_exit(
    subscription_ids: Collection[int],
    *,
    reason: str,
    now: dt.datetime,
    account_id: int | None = None,
) -> int:
    """Request the exit of everything these subscriptions hold; the executor acts on it at once.

    With ``account_id``, only of what they hold in that account. Idempotent: the first request
    counts. Returns the number of executions it reaches.
    """
    held = Execution.objects.filter(
        subscription_id__in=list(subscription_ids),
        status__in=Execution.WORKING,
        exit_requested_at__isnull=True,
    )
    if account_id is not None:
        held = held.filter(account_id=account_id)
    asked: int = held.update(exit_requested_at=now, exit_reason=reason[:20] or EXIT_REQUESTED)
    return asked


def remove_account(account_id: int, *, exit_now: bool, now: dt.datetime) -> RemovalEffect:
    """Prepare the removal of a broker account: withdraw its ARMED executions, exit what it holds.

    Raises OpenPositions (409) if it has working executions and ``exit_now`` is false; with
    ``exit_now`` the exits come first and the erasure is deferred.
    """
    Execution.objects.filter(account_id=account_id, status=Execution.Status.ARMED).update(
        status=Execution.Status.WITHDRAWN, cause="REMOVED", closed_at=now
    )
    working = Execution.objects.filter(account_id=account_id, status__in=Execution.WORKING)
    if not working.exists():
        return RemovalEffect()
    if not exit_now:
        raise OpenPositions
    working.filter(exit_requested_at__isnull=True).update(
        exit_requested_at=now, exit_reason="REMOVED"
    )
    committed = working.filter(status=Execution.Status.COMMITTED).exists()
    return RemovalEffect(next_entry_affected=not committed, deferred=True)


def finish_removals(*, now: dt.datetime) -> int:
    """Erase accounts whose removal waited for a last exit; return how many."""
    waiting = BrokerAccount.objects.filter(removal_requested_at__isnull=False).exclude(
        status=BrokerAccount.Status.REMOVED
    )
    busy = Execution.objects.filter(status__in=Execution.WORKING).values("account_id")
    idle = list(waiting.exclude(pk__in=busy).values_list("pk", flat=True)[:100])
    return sum(
        finish_removal(account_id=account_id, actor=audit.SYSTEM, now=now) for account_id in idle
    )


# -- kill switch -----------------------------------------------------------------------------------
def engage_kill_switch(
    *, template_id: int | None, reason: str, actor: Actor, now: dt.datetime
) -> KillSwitch:
    """Block new entries of the platform (``template_id`` None) or of one template.

    Withdraws ARMED executions in the same transaction and wakes every sender (NOTIFY). Open
    positions are managed as before. Raises AlreadyEngaged (409) if it is on.
    """
    scope = KillSwitch.Scope.PLATFORM if template_id is None else KillSwitch.Scope.TEMPLATE
    with transaction.atomic():
        inserted = insert_missing(
            [
                KillSwitch(
                    scope=scope,
                    target_id=template_id,
                    reason=reason[:200],
                    engaged_by=actor.id,
                    engaged_at=now,
                )
            ],
            unique=("scope", "target_id", "mode"),
            where="released_at IS NULL",
        )
        if not inserted:
            raise AlreadyEngaged
        switch = KillSwitch.objects.get(
            scope=scope, target_id=template_id, released_at__isnull=True
        )
        armed = Execution.objects.filter(status=Execution.Status.ARMED)
        if template_id is not None:
            armed = armed.filter(run__template_id=template_id)
        withdrawn = armed.update(
            status=Execution.Status.WITHDRAWN, cause=KILL_SWITCH, closed_at=now
        )
        audit.record(
            actor=actor,
            action="kill_switch.engaged",
            target_type="kill_switch",
            target_id=str(switch.pk),
            data={"scope": scope, "template": template_id, "withdrawn": withdrawn},
        )
        _notify()
    return switch


def release_kill_switch(*, switch_id: int, actor: Actor, now: dt.datetime) -> None:
    """Allow entries again from the next arming on. Raises NotEngaged (409) if it is off."""
    with transaction.atomic():
        changed = KillSwitch.objects.filter(pk=switch_id, released_at__isnull=True).update(
            released_at=now, released_by=actor.id
        )
        if not changed:
            raise NotEngaged
        audit.record(
            actor=actor,
            action="kill_switch.released",
            target_type="kill_switch",
            target_id=str(switch_id),
        )
        _notify()


def _notify() -> None:
    """Notify all senders at commit: they read the switches again within milliseconds."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, '')", [KillSwitch.CHANNEL])


# -- alarms ----------------------------------------------------------------------------------------
def acknowledge(*, alarm_id: int, actor: Actor, now: dt.datetime) -> None:
    """Record that a person works on an open alarm; it stays open.

    Raises NotFound, or InvalidTransition if it is not open or is already acknowledged.
    """
    with transaction.atomic():
        changed = Alarm.objects.filter(
            Alarm.OPEN, pk=alarm_id, acknowledged_at__isnull=True
        ).update(acknowledged_at=now, acknowledged_by=actor.id)
        if not changed:
            _refuse_alarm(alarm_id, "This alarm is not open, or somebody has acknowledged it")
        _record("alarm.acknowledged", alarm_id, actor, {})


def settle(*, alarm_id: int, note: str, actor: Actor, now: dt.datetime) -> None:
    """Close an open alarm that a person has dealt with; ``note`` says how. Sends no order.

    If the cause goes away and comes back it raises a new alarm. Raises NotFound, or
    InvalidTransition if the alarm is not open.
    """
    with transaction.atomic():
        changed = Alarm.objects.filter(Alarm.OPEN, pk=alarm_id).update(
            settled_at=now, settled_by=actor.id, note=note[:500]
        )
        if not changed:
            _refuse_alarm(alarm_id, "This alarm is not open")
        _record("alarm.settled", alarm_id, actor, {"note": note})


def settle_all(*, execution_id: int, note: str, actor: Actor, now: dt.datetime) -> int:
    """Settle all open alarms of one execution; return how many.

    Raises NotFound if there is no such execution, InvalidTransition if no alarm is open.
    """
    with transaction.atomic():
        alarm_ids = list(
            Alarm.objects.select_for_update()
            .filter(Alarm.OPEN, execution_id=execution_id)
            .order_by("pk")
            .values_list("pk", flat=True)
        )
        if not alarm_ids:
            if not Execution.objects.filter(pk=execution_id).exists():
                raise NotFound
            raise InvalidTransition("This execution needs no attention")
        for alarm_id in alarm_ids:
            settle(alarm_id=alarm_id, note=note, actor=actor, now=now)
    return len(alarm_ids)


def _refuse_alarm(alarm_id: int, why: str) -> NoReturn:
    if not Alarm.objects.filter(pk=alarm_id).exists():
        raise NotFound
    raise InvalidTransition(why)


def _record(action: str, alarm_id: int, actor: Actor, data: dict[str, str]) -> None:
    alarm = Alarm.objects.get(pk=alarm_id)
    audit.record(
        actor=actor,
        action=action,
        target_type="alarm",
        target_id=str(alarm_id),
        data={"cause": alarm.cause, "about": about(alarm)} | data,
    )
