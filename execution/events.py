"""Webhook events of the trading day: ``execution.*``, ``order.rejected``."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from execution import lifecycle
from execution.descriptions import brokers_words, explain
from execution.state import LiveExecution, LiveIntent
from execution.steps import StatusChange
from quantleap.core import outbox
from quantleap.core.models import OutboxEvent
from quantleap.core.money import CURRENCY, json_number

if TYPE_CHECKING:
    from execution.models import Execution

ERROR: Final = "execution_failed"


def emit(events: Sequence[OutboxEvent]) -> None:
    """Write events in the current transaction; skip those of direct customers (no partner)."""
    partner_events = [event for event in events if event.partner_id is not None]
    if partner_events:
        outbox.emit_many(partner_events)


def of_status(
    execution: LiveExecution, change: StatusChange, now: dt.datetime
) -> Iterator[OutboxEvent]:
    """Yield events of a status change (entered, closed, failed, missed) and of rejected orders."""
    if change.status == lifecycle.OPEN:
        whole = all(intent.state == lifecycle.FILLED for intent in execution.of(lifecycle.ENTRY))
        kind = "execution.completed" if whole else "execution.partial"
        yield _event(execution, kind, change, now, phase="ENTRY")
    elif change.status == lifecycle.CLOSED:
        yield _event(execution, "execution.completed", change, now, phase="EXIT")
    elif change.status == lifecycle.FAILED:
        yield _event(execution, "execution.failed", change, now, phase="ENTRY")
    elif change.status == lifecycle.MISSED:
        yield _event(execution, "execution.missed", change, now, phase="ENTRY")
    if change.status in (lifecycle.OPEN, lifecycle.FAILED):
        for intent in execution.intents:
            if intent.state == lifecycle.REJECTED:
                yield _rejected(execution, intent, now)


def of_ending(execution: Execution, now: dt.datetime) -> OutboxEvent:
    """The event of an execution that a person ended after its session; reads its run and
    subscription."""
    return OutboxEvent(
        type="execution.completed",
        object_id=execution.public_id,
        payload={
            "subscription_id": execution.subscription.public_id,
            "user_email": execution.subscription.customer.email,
            "external_user_id": execution.subscription.customer.external_user_id or None,
            "execution_id": execution.public_id,
            "run": execution.run.public_id,
            "template_id": execution.run.template.public_id,
            "trade_date": execution.run.trade_date.isoformat(),
            "phase": "EXIT",
            "status": lifecycle.CLOSED,
            "error": explain(execution.cause),
            "cause": execution.cause,
            "leg": None,
            "broker_response": {
                "code": execution.cause,
                "message": brokers_words(execution.cause, execution.message),
            },
        },
        partner_id=execution.partner_id,
        environment=execution.environment,
        created_at=now,
        dedupe_key=f"execution.completed:{execution.public_id}:EXIT",
    )


def _base(execution: LiveExecution) -> dict[str, Any]:
    return {
        "subscription_id": execution.subscription_public_id,
        "user_email": execution.customer_email,
        "external_user_id": execution.customer_external_id or None,
        "execution_id": execution.public_id,
        "run": execution.run.public_id,
        "template_id": execution.run.template_public_id,
        "trade_date": execution.run.trade_date.isoformat(),
    }


def _event(
    execution: LiveExecution, kind: str, change: StatusChange, now: dt.datetime, *, phase: str
) -> OutboxEvent:
    data = _base(execution) | {"phase": phase, "status": change.status}
    if change.pnl is not None:
        data |= {"pnl": json_number(change.pnl), "currency": CURRENCY}
    if change.cause:
        failed = next((i for i in execution.intents if i.state == lifecycle.REJECTED), None)
        data["error"] = explain(change.cause)
        data["cause"] = change.cause
        data["leg"] = _leg_label(execution, failed) if failed else None
        data["broker_response"] = {
            "code": change.cause,
            "message": brokers_words(change.cause, change.message),
        }
    return OutboxEvent(
        type=kind,
        object_id=execution.public_id,
        payload=data,
        partner_id=execution.partner_id,
        environment=execution.environment,
        created_at=now,
        dedupe_key=f"{kind}:{execution.public_id}:{phase}",
    )


def _rejected(execution: LiveExecution, intent: LiveIntent, now: dt.datetime) -> OutboxEvent:
    data = _base(execution) | {
        "leg": _leg_label(execution, intent),
        "tag": intent.tag,
        "quantity": intent.quantity,
        "side": str(intent.side),
        "error": explain(intent.cause),
        "cause": intent.cause,
        "broker_response": {"code": intent.cause, "message": intent.message},
    }
    return OutboxEvent(
        type="order.rejected",
        object_id=execution.public_id,
        payload=data,
        partner_id=execution.partner_id,
        environment=execution.environment,
        created_at=now,
        dedupe_key=f"order.rejected:{intent.code}",
    )


def _leg_label(execution: LiveExecution, intent: LiveIntent | None) -> str | None:
    if intent is None:
        return None
    resolved = execution.run.resolved.get(intent.leg_key)
    return resolved.label if resolved else intent.instrument.symbol
