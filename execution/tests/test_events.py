"""What the trading day tells: completed only when every entry order was filled."""

from __future__ import annotations

import pytest

from execution import events, lifecycle
from execution.steps import StatusChange
from execution.tests.inmemory import ENTRY_AT, committed
from marketplace.tests.factories import strategy_spec


@pytest.mark.parametrize(
    ("state", "cause", "kind"),
    [
        (lifecycle.FILLED, "", "execution.completed"),
        (lifecycle.FILLED, "DUPLICATE", "execution.completed"),  # an alarm changes no fill
        (lifecycle.REJECTED, "MARGIN", "execution.partial"),
    ],
)
def test_an_entry_is_completed_or_partial_by_its_fills(state: str, cause: str, kind: str) -> None:
    execution = committed(strategy_spec())
    for intent in execution.intents:
        intent.state = lifecycle.FILLED
    execution.intents[0].state = state
    change = StatusChange(execution, "OPEN", cause)
    assert next(events.of_status(execution, change, ENTRY_AT)).type == kind
