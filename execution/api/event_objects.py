"""Executions in the shape of the partner's GET, for events (partners.ports.ShownObjects)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from execution.api.serializers import ExecutionRow
from execution.models import Execution
from execution.selectors import execution_summary, with_what_is_shown
from quantleap.core.api.plain import plain
from quantleap.core.models import OutboxEvent


def shown(events: Sequence[OutboxEvent], now: dt.datetime) -> Mapping[str, Mapping[str, Any]]:
    """The execution of each ``execution.*`` and ``order.*`` event, by event id (2 queries).

    Read by the relay and not when the executor writes the event, because the executor has no time
    for it while the orders of an entry leave.
    """
    del now
    relevant = [event for event in events if event.type.startswith(("execution.", "order."))]
    if not relevant:
        return {}
    rows = with_what_is_shown(
        Execution.objects.filter(public_id__in={e.object_id for e in relevant})
    )
    summaries = {
        (row.partner_id, row.environment, row.public_id): plain(
            ExecutionRow(execution_summary(row)).data
        )
        for row in rows
    }
    keys = {e.event_id: (e.partner_id, e.environment, e.object_id) for e in relevant}
    return {event_id: summaries[key] for event_id, key in keys.items() if key in summaries}
