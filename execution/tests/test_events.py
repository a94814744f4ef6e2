"""What the trading day tells: completed only when every entry order was filled."""

from __future__ import annotations

import pytest

from execution import events, live
from execution.engine.writing import StatusChange
from execution.tests.inmemory import ENTRY_AT, committed
from marketplace.tests.factories import strategy_spec


@pytest.mark.parametrize(
    ("state", "cause", "kind"),
    [
        (live.FILLED, "", "execution.completed"),
        (live.FILLED, "DUPLICATE", "execution.completed"),  # an alarm changes no fill
        (live.REJECTED, "MARGIN", "execution.partial"),
    ],
)
def test_an_entry_is_completed_or_partial_by_its_fills(state: str, cause: str, kind: str) -> None:
    execution = committed(strategy_spec())
    for intent in execution.intents:
        intent.state = live.FILLED
    execution.intents[0].state = state
    change = StatusChange(execution, "OPEN", cause)
    assert next(events.of_status(execution, change, ENTRY_AT)).type == kind
