"""Days on which exits rest: another price where the broker takes one, cancel and anew elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from execution.models import Execution, OrderIntent
from execution.tests.installation import Installation, open_at_brokers, runs_closed, wait_until
from marketplace.tests.factories import make_short_straddle

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]
CUSTOMERS = 2
NOT_NOW = "Order cannot be cancelled or modified as it is being processed"


def let_exits_rest(installation: Installation, **fault: Any) -> None:
    """Exits (all of them, or ``count``) are accepted and do not fill until they are changed."""
    match = {"side": "BUY"}
    installation.control.ask(
        "POST", "/faults", kind="partial_fill", fraction=0, match=match, **fault
    )


def refuse(installation: Installation, operation: str) -> None:
    installation.control.ask("POST", "/faults", kind="say", op=operation, message=NOT_NOW)


def day(installation: Installation, executor: Callable[[], Any]) -> list[OrderIntent]:
    """Both dialects, two sold legs each; the exits of the day when everybody is out."""
    installation.subscribe(make_short_straddle(strategy=installation.entry_in(9, 6)), CUSTOMERS)
    executor()
    wait_until(lambda: Execution.objects.filter(status="OPEN").count() == CUSTOMERS, 40)
    wait_until(runs_closed, 90)
    assert open_at_brokers(installation.control) == []
    return list(OrderIntent.objects.filter(purpose="EXIT").order_by("id"))


def test_exits_never_left_where_only_changes_were_taken(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    """Seen where cancels were refused: exits rested for ever at a broker that would have changed
    their price."""
    let_exits_rest(installation)
    refuse(installation, "cancel")
    exits = day(installation, executor)
    assert [i.attempt_group for i in exits] == [0] * len(exits) == [0] * 2 * CUSTOMERS
    orders = {row["tag"]: row for row in installation.control.orders()}
    for intent in exits:
        assert (intent.state, intent.sends) == ("FILLED", 1)
        last = intent.changes[-1]
        assert last["state"] in ("DONE", "TAKEN"), last
        assert Decimal(last["before"]) < Decimal(last["price"]), "a buy crosses farther"
        assert last["source"] == "FEED"
        assert Decimal(orders[intent.tag]["price"]) == Decimal(last["price"])
        assert int(orders[intent.tag]["quantity"]) == intent.quantity


def test_exits_are_quoted_anew_where_changes_are_refused(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    """An exit whose change is refused is cancelled, and a new one is sent."""
    let_exits_rest(installation, count=2 * CUSTOMERS)
    refuse(installation, "modify")
    exits = day(installation, executor)
    first = [i for i in exits if i.attempt_group == 0]
    assert {(i.state, i.cause) for i in first} == {("CANCELLED", "NOT_FILLED")}
    # Kite says it with an error that proves nothing: its change is unknown, and never seen.
    outcomes = {(c["state"], c["message"]) for i in first for c in i.changes}
    assert outcomes == {("REFUSED", NOT_NOW), ("UNKNOWN", NOT_NOW)}
    assert {i.state for i in exits if i.attempt_group == 1} == {"FILLED"}
