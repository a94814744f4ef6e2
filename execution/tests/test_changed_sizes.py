"""A size that changes while its execution is armed: what enters is what the row says.

I7 (no entry outside its window): the row decides, and an entry is never lost by a change of lots.
"""

from __future__ import annotations

import datetime as dt
import threading
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction

from execution import arming
from execution.engine.database import loader
from execution.engine.database.entry_writer import commit_entries
from execution.models import Execution, Run
from execution.services import SIZES_CLOSE
from execution.tests.armedruns import ENTRY, NOW, OWNER, arm, owned, planned
from execution.tests.racing import closing
from quantleap.core.audit import SYSTEM
from subscriptions.models import Subscription
from subscriptions.services import (
    AccountChoice,
    add_allocation,
    change_allocation,
    pause,
    remove_allocation,
    resume,
)

pytestmark = pytest.mark.django_db(transaction=True)


def double(subscription: Subscription, now: dt.datetime = NOW) -> Any:
    """Ask for twice the lots."""
    return change_allocation(
        subscription_id=subscription.pk,
        changes={"lot_multiplier": Decimal(2)},
        actor=SYSTEM,
        now=now,
    )


def test_an_armed_execution_takes_the_new_size(run: Run, subscription: Subscription) -> None:
    arm(run)
    before = Execution.objects.get()
    assert double(subscription).next_entry_affected
    after = Execution.objects.get()
    assert (after.status, after.lot_multiplier) == ("ARMED", 2)
    assert after.armed_at > before.armed_at - dt.timedelta(microseconds=1)


@pytest.mark.parametrize("seconds", [10, 3, 0, -5])
def test_in_the_last_seconds_the_entry_goes_out_as_it_was(
    run: Run, subscription: Subscription, seconds: int
) -> None:
    """After T as well: one that still waits within its grace is being computed."""
    arm(run)
    moment = ENTRY - dt.timedelta(seconds=seconds)
    assert not double(subscription, moment).next_entry_affected
    execution = Execution.objects.get()
    assert (execution.status, execution.lot_multiplier) == ("ARMED", 1)
    subscription.refresh_from_db()
    assert subscription.allocations.get().lot_multiplier == 2  # for the entry after it


def test_sizes_close_before_arming_does() -> None:
    assert SIZES_CLOSE > arming.ARMING_CLOSES


def test_a_committed_entry_keeps_its_size(run: Run, subscription: Subscription) -> None:
    arm(run)
    Execution.objects.update(status="COMMITTED", committed_at=NOW)
    assert not double(subscription).next_entry_affected
    assert Execution.objects.get().lot_multiplier == 1


def test_a_size_changed_during_a_pause_is_armed(run: Run, subscription: Subscription) -> None:
    """Bug: the withdrawn execution came back with the lots from before the pause."""
    arm(run)
    pause(subscription_id=subscription.pk, actor=SYSTEM, reason="USER", now=NOW)
    double(subscription)
    resume(subscription_id=subscription.pk, actor=SYSTEM, reason="USER", now=NOW)
    arm(run)
    execution = Execution.objects.get()
    assert (execution.status, execution.lot_multiplier) == ("ARMED", 2)


def test_the_executor_notices_another_size(run: Run, subscription: Subscription) -> None:
    """It reads ids and times only, and loads what it knows under another time again."""
    arm(run)
    known = loader.load_executions({run.pk: loader.live_run(run)}, range(8), statuses=("ARMED",))
    assert loader.armed_since(run.pk, range(8)) == {known[0].id: known[0].armed_at}
    double(subscription, NOW + dt.timedelta(seconds=1))
    assert loader.armed_since(run.pk, range(8))[known[0].id] != known[0].armed_at


def test_an_entry_that_was_planned_with_the_old_size_is_not_committed(
    run: Run, subscription: Subscription
) -> None:
    """It stays armed, is planned again, and then enters with the new one."""
    arm(run)
    tokens = owned()
    plan, committed = planned(run), []
    late = threading.Thread(target=closing(lambda: committed.append(_commit(plan, tokens))))
    with transaction.atomic():
        double(subscription, NOW + dt.timedelta(seconds=1))
        late.start()
        late.join(0.5)
        assert late.is_alive()  # the commit waits for the change's row
    late.join(20)
    assert committed == [frozenset()]
    assert Execution.objects.get().status == "ARMED"
    assert _commit(planned(run), tokens)
    assert Execution.objects.get().status == "COMMITTED"


def _commit(plan: Any, tokens: dict[int, int]) -> frozenset[int]:
    return commit_entries([plan], owner=OWNER, tokens=tokens, now=NOW)


def test_an_account_that_is_added_joins_the_run(run: Run, subscription: Subscription) -> None:
    arm(run)
    add(subscription, NOW)
    arm(run)
    rows = Execution.objects.order_by("id").values_list("account__client_id", "status")
    assert [status for _, status in rows] == ["ARMED", "ARMED"]
    assert rows[1][0] == "NEW1"


def test_an_account_that_is_added_too_late_waits_for_the_next_run(
    run: Run, subscription: Subscription
) -> None:
    """After T executions are armed that failed to arm in time, and only those."""
    arm(run)
    add(subscription, ENTRY - arming.ARMING_CLOSES)
    with transaction.atomic():
        arming.add_executions(
            run, environment="live", now=ENTRY + dt.timedelta(seconds=1), shards=8
        )
    assert Execution.objects.count() == 1


def test_an_account_that_leaves_does_not_enter(run: Run, subscription: Subscription) -> None:
    add(subscription, NOW)
    arm(run)
    first = subscription.allocations.earliest("id")
    result = remove_allocation(
        subscription_id=subscription.pk,
        allocation_id=first.public_id,
        actor=SYSTEM,
        now=NOW,
    )
    assert result.next_entry_affected
    statuses = dict(Execution.objects.values_list("allocation_id", "status"))
    assert statuses.pop(first.pk) == "WITHDRAWN"
    assert list(statuses.values()) == ["ARMED"]
    arm(run)
    assert Execution.objects.get(allocation=first).status == "WITHDRAWN"


def add(subscription: Subscription, now: dt.datetime) -> None:
    add_allocation(
        subscription_id=subscription.pk,
        choice=AccountChoice(client_id="NEW1", broker="zebu"),
        actor=SYSTEM,
        now=now,
    )
