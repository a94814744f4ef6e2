"""A trading day end to end: real Postgres, real sockets, the broker simulator as the oracle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from execution.models import Execution, LegWatch, OrderIntent, Run
from execution.tests.installation import (
    Installation,
    assert_filled,
    open_at_brokers,
    runs_closed,
    wait_until,
)
from marketplace.tests.factories import make_iron_condor, make_short_straddle
from quantleap.core.models import OutboxEvent

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]


def test_an_iron_condor_is_entered_and_left(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    template = make_iron_condor(strategy=installation.entry_in(9, 8))
    installation.subscribe(template, 6)
    executor()
    wait_until(runs_closed, 60)
    intents = list(OrderIntent.objects.all())
    entries = [i for i in intents if i.purpose == "ENTRY"]
    assert len(entries) == 24
    assert_filled(intents)
    assert {e.status for e in Execution.objects.all()} == {"CLOSED"}
    run = Run.objects.get()
    first = [i for i in entries if i.group == 0]
    assert all(i.sent_at is not None and i.sent_at >= run.entry_at for i in entries)
    assert {i.side for i in first} == {"BUY"}
    # the oracle: our intents and the broker's book are the same set, and everybody is flat
    assert {o["tag"] for o in installation.control.orders()} == {i.tag for i in intents}
    assert open_at_brokers(installation.control) == []
    events = OutboxEvent.objects.filter(type="execution.completed").count()
    assert events == 12  # entry and exit of six


def test_a_stop_moves_the_other_leg_to_cost(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    template = make_short_straddle(strategy=installation.entry_in(9, 14))
    installation.subscribe(template, 4)
    executor()
    wait_until(lambda: Execution.objects.filter(status="OPEN").count() == 4, 40)
    # Slower than a second: the feed may be asked once in one, and exits are priced by it.
    installation.control.ask("POST", "/market", underlying="NIFTY", shift=120, ramp_seconds=4)
    wait_until(lambda: LegWatch.objects.filter(trigger="STOP").exists(), 15)
    stopped = LegWatch.objects.get(trigger="STOP")
    other = LegWatch.objects.exclude(pk=stopped.pk).get()
    assert other.moved_to_cost_at is not None
    assert other.stop_price == other.reference_price
    wait_until(runs_closed, 40)
    assert_filled(OrderIntent.objects.all())
    reasons = set(OrderIntent.objects.filter(purpose="EXIT").values_list("reason", flat=True))
    assert "STOP" in reasons
    assert open_at_brokers(installation.control) == []


FAULTS: tuple[tuple[dict[str, Any], int, str], ...] = (
    ({"kind": "drop_after_accept"}, 1, "FILLED"),
    ({"kind": "status_after_accept", "status": 504}, 1, "FILLED"),
    ({"kind": "hide", "seconds": 1, "answer": "drop"}, 1, "FILLED"),
    ({"kind": "rate_limit"}, 2, "FILLED"),
    ({"kind": "reject", "cause": "MARGIN"}, 1, "REJECTED"),
    ({"kind": "html_502"}, 2, "FILLED"),
)


def test_five_faults_at_the_entry_strike_only_whom_they_strike(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    template = make_iron_condor(strategy=installation.entry_in(9, 22))
    accounts = installation.subscribe(template, len(FAULTS) + 2)
    for account, (fault, _, _) in zip(accounts, FAULTS, strict=False):
        installation.control.ask(
            "POST", "/faults", **fault, match={"client_id": account.client_id}, count=1
        )
    executor()
    wait_until(runs_closed, 60)
    for account, (fault, sends, state) in zip(accounts, FAULTS, strict=False):
        entries = OrderIntent.objects.filter(execution__account=account, purpose="ENTRY")
        struck = {(i.state, i.sends) for i in entries.filter(group=0)}
        assert (state, sends) in struck, (fault, struck)
    orders = installation.control.orders()
    assert len({o["tag"] for o in orders}) == len(orders)
    assert open_at_brokers(installation.control) == []
    refused = Execution.objects.get(account=accounts[4])
    assert (refused.status, refused.cause) == ("FAILED", "MARGIN")
    assert OutboxEvent.objects.filter(type="execution.failed").count() == 1
    others = Execution.objects.exclude(account=accounts[4])
    assert {e.status for e in others} == {"CLOSED"}
