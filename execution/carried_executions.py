"""Ending an execution that was carried past its session: a person records it, nothing is sent.

A position that is open after the close was squared off by the broker, or is carried and closed by
hand. The price is unknown here, so the execution ends without a P&L. Until a person ends it, it
stays open with its alarm, for days if need be.
"""

from __future__ import annotations

import datetime as dt

from django.db import transaction

from execution import events, lifecycle
from execution.alarms import SESSION_OVER
from execution.models import Alarm, Execution, OrderIntent
from execution.services import settle_all
from marketplace.selectors import load_calendar
from quantleap.core import audit, clock
from quantleap.core.audit import Actor
from quantleap.core.errors import InvalidTransition, NotFound


def is_carried(execution: Execution, now: dt.datetime) -> bool:
    """Whether an execution is still working although the session of its day is over."""
    if execution.status not in Execution.WORKING:
        return False
    day = execution.run.trade_date
    session = load_calendar().session(day, special_ok=True)
    return day < clock.ist_date(now) if session is None else now >= session.closes


def end_carried(*, execution_id: int, note: str, actor: Actor, now: dt.datetime) -> None:
    """End an execution whose session is over; ``note`` says what the broker's book shows.

    Settles its alarms with the note and emits the partner's event; sends no order. Raises NotFound,
    or InvalidTransition if the execution is over or its session is not.
    """
    execution = (
        Execution.objects.select_related("run__template", "subscription__customer")
        .filter(pk=execution_id)
        .first()
    )
    if execution is None:
        raise NotFound
    if execution.status in Execution.WORKING and not is_carried(execution, now):
        raise InvalidTransition("Its session is not over: ask for its exit instead")
    with transaction.atomic():
        # The row count is the lock: of two callers, only one changes the row.
        changed = Execution.objects.filter(pk=execution_id, status__in=Execution.WORKING).update(
            status=Execution.Status.CLOSED,
            cause=execution.cause or SESSION_OVER,
            realised_pnl=None,
            closed_at=now,
        )
        if not changed:
            raise InvalidTransition("This execution is over")
        intents = OrderIntent.objects.filter(execution_id=execution_id)
        intents.filter(state__in=OrderIntent.SENT).update(
            state=lifecycle.ESCALATED, cause="UNRESOLVED", final_at=now
        )
        intents.filter(state=lifecycle.PLANNED).update(
            state=lifecycle.MISSED, cause=SESSION_OVER, final_at=now
        )
        if Alarm.objects.filter(Alarm.OPEN, execution_id=execution_id).exists():
            settle_all(execution_id=execution_id, note=note, actor=actor, now=now)
        execution.cause = execution.cause or SESSION_OVER
        events.emit([events.of_ending(execution, now)])
        audit.record(
            actor=actor,
            action="execution.ended",
            target_type="execution",
            target_id=execution.public_id,
            data={"note": note[:500], "cause": execution.cause, "status": execution.status},
        )
