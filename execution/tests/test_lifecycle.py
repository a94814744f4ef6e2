"""The sets of states: what belongs to which, and that none is in two that exclude each other."""

from __future__ import annotations

import pytest

from execution import lifecycle
from execution.engine.database import sql_batch
from execution.models import Execution, OrderIntent, Run


def test_an_execution_is_armed_working_or_over() -> None:
    parts = ((lifecycle.ARMED,), lifecycle.WORKING, lifecycle.TERMINAL)
    assert sorted(status for part in parts for status in part) == sorted(Execution.Status.values)
    assert set(lifecycle.LIVE) == set(Execution.Status.values) - set(lifecycle.TERMINAL)


def test_an_order_is_planned_sent_or_over() -> None:
    parts = ((lifecycle.PLANNED,), lifecycle.SENT, lifecycle.FINAL)
    assert sorted(state for part in parts for state in part) == sorted(OrderIntent.State.values)
    assert set(lifecycle.MAY_REST) < set(lifecycle.SENT) < set(lifecycle.UNREPORTED)


def test_a_run_that_is_over_is_nobodys_work() -> None:
    assert set(Run.Status.values) - set(lifecycle.OVER) == {lifecycle.ARMED, lifecycle.ENTERED}


def test_a_set_of_states_as_text_of_a_statement() -> None:
    assert sql_batch.names(lifecycle.AT_BROKER) == "'ACCEPTED', 'PARTIAL'"


@pytest.mark.parametrize(
    "name",
    ["", "a b", "x'); --", "OPEN'", "É"],
    ids=["empty", "blank", "injection", "quote", "foreign"],
)
def test_no_input_becomes_text_of_a_statement(name: str) -> None:
    with pytest.raises(ValueError, match="not names"):
        sql_batch.names([lifecycle.OPEN, name])
