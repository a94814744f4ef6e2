"""Writes price changes of resting orders: before they are sent, and their outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from psycopg.types.json import Jsonb

from execution import lifecycle
from execution.engine.database import sql_batch
from execution.price_changes import Change, to_json
from execution.state import LiveIntent

#: An order with all its requested changes, including the one to be sent.
RequestedChanges = tuple[LiveIntent, tuple[Change, ...]]
_AT_BROKER: Final = sql_batch.names(lifecycle.AT_BROKER)
_TABLE: Final = "execution_orderintent"
_REQUESTED_COLUMNS: Final[Mapping[str, str]] = {"code": "text", "changes": "jsonb"}
_CHANGED_COLUMNS: Final[Mapping[str, str]] = {
    "code": "text",
    "price": "numeric",
    "changes": "jsonb",
}


def write_requested(cursor: Any, changing: Sequence[RequestedChanges]) -> frozenset[str]:
    """Write changes; return the codes of the orders that may be changed.

    I2 (written before it is sent) holds for a change as for an order.
    """
    return frozenset(
        sql_batch.update(
            cursor,
            _TABLE,
            "code",
            _REQUESTED_COLUMNS,
            [(intent.code, Jsonb(to_json(changes))) for intent, changes in changing],
            # The next number; or the same one, after a commit of ours whose answer was lost: then
            # nothing was sent (leases.hold: no other executor can have written it).
            where=f"t.state IN ({_AT_BROKER}) AND jsonb_array_length(u.changes)"
            " - jsonb_array_length(t.changes) BETWEEN 0 AND 1",
        )
    )


def write_changed(cursor: Any, intents: Sequence[LiveIntent]) -> None:
    """Write outcomes of changes and the orders' prices, also of final orders: the answer may arrive
    last."""
    sql_batch.update(
        cursor,
        _TABLE,
        "code",
        _CHANGED_COLUMNS,
        [(i.code, i.price, Jsonb(to_json(i.changes))) for i in intents if i.changes],
        where="jsonb_array_length(t.changes) <= jsonb_array_length(u.changes)",
    )
