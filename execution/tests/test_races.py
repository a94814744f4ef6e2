"""Leaving and entering at the same moment, in real parallel transactions.

The row decides, not the clock: I7 (no entry outside its window).

Each race is held open at its narrowest point: one transaction has done its part and has not
committed when the other arrives. Each has a control that shows what happens without the lock.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import transaction

from brokers.services.accounts import remove_account
from execution import arming, services
from execution.engine.database.entry_writer import commit_entries
from execution.models import Execution, Run
from execution.tests.armedruns import ENTRY, NOW, OWNER, arm, owned, planned
from execution.tests.racing import closing, meanwhile
from quantleap.core.audit import SYSTEM
from subscriptions.models import Subscription
from subscriptions.services import pause, resume

pytestmark = pytest.mark.django_db(transaction=True)


def leave(subscription: Subscription) -> None:
    """Pause as the customer."""
    pause(subscription_id=subscription.pk, actor=SYSTEM, reason="USER", now=NOW)


def test_who_pauses_first_is_not_armed(run: Run, subscription: Subscription) -> None:
    with meanwhile_armed(run) as arm_through, transaction.atomic():
        leave(subscription)
        arm_through.start()
        # The arming statement waits for our pause instead of believing the old row.
        assert not arm_through.finished.wait(0.5)
    assert not Execution.objects.exists()


class _Arming:
    def __init__(self, run: Run) -> None:
        self._run = run
        self._go = threading.Event()
        self.finished = threading.Event()

    def start(self) -> None:
        self._go.set()

    def __call__(self) -> None:
        self._go.wait(20)
        try:
            arm(self._run)
        finally:
            self.finished.set()


@contextmanager
def meanwhile_armed(run: Run) -> Iterator[_Arming]:
    """Arming in another connection, started by hand."""
    arming_thread = _Arming(run)
    with meanwhile(arming_thread):
        yield arming_thread


def test_control_without_the_lock_who_pauses_is_armed(
    run: Run, subscription: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the share lock a subscriber who has paused is armed."""
    monkeypatch.setattr(arming, "_INSERT", arming._INSERT.replace("FOR SHARE OF s, a", ""))
    with meanwhile_armed(run) as arm_through, transaction.atomic():
        leave(subscription)
        arm_through.start()
        # The foreign key asks for a key share only, which a change of other columns lets pass.
        assert arm_through.finished.wait(20)
    assert Execution.objects.get().status == "ARMED"
    subscription.refresh_from_db()
    assert subscription.status == "PAUSED"


def test_who_is_armed_first_is_withdrawn_by_the_pause(run: Run, subscription: Subscription) -> None:
    with transaction.atomic():
        arming.add_executions(run, environment="live", now=NOW, shards=8)
        pausing = threading.Thread(target=closing(lambda: leave(subscription)))
        pausing.start()
        pausing.join(0.5)
        assert pausing.is_alive()  # it waits for our insert, then sees it
    pausing.join(20)
    assert Execution.objects.get().status == "WITHDRAWN"


@pytest.mark.parametrize("pause_first", [True, False])
def test_pause_against_the_commit_before_t_the_row_decides(
    run: Run, subscription: Subscription, pause_first: bool
) -> None:
    arm(run)
    tokens = owned()
    plan = planned(run)
    answers: dict[str, Any] = {}

    def commit() -> None:
        answers["committed"] = commit_entries([plan], owner=OWNER, tokens=tokens, now=NOW)

    def go() -> None:
        answers["pause"] = pause(
            subscription_id=subscription.pk, actor=SYSTEM, reason="USER", now=NOW
        )

    first, second = (go, commit) if pause_first else (commit, go)
    late = threading.Thread(target=closing(second))
    with transaction.atomic():
        first()
        late.start()
        late.join(0.5)
        assert late.is_alive()  # the second one waits for the first one's row
    late.join(20)
    status = Execution.objects.get().status
    assert status == ("WITHDRAWN" if pause_first else "COMMITTED")
    assert bool(answers["committed"]) is not pause_first
    assert answers["pause"].next_entry_affected is pause_first


def test_a_second_beat_and_executor_make_one_execution(
    run: Run, subscription: Subscription
) -> None:
    """They also make one run."""
    barrier = threading.Barrier(6)

    def body() -> None:
        barrier.wait(10)
        arm(run)

    threads = [threading.Thread(target=closing(body)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert Execution.objects.count() == 1


def test_arming_waits_for_no_row_that_is_being_written(
    run: Run, subscription: Subscription
) -> None:
    """The executor writes it while the run is armed in the grace. Seen with 1,500 rows: 10 of 153
    writes ended in "deadlock detected", a second each."""
    arm(run)
    Execution.objects.update(status="COMMITTED", committed_at=ENTRY)
    with meanwhile_armed(run) as arm_through, transaction.atomic():
        Execution.objects.update(message="being written")  # held until the end of this block
        arm_through.start()
        assert arm_through.finished.wait(10), "arming waited for a live row"
    assert Execution.objects.get().status == "COMMITTED"


def test_who_paused_and_came_back_is_armed_again(run: Run, subscription: Subscription) -> None:
    """The control of the one above: rows that may change are still found."""
    arm(run)
    leave(subscription)
    assert Execution.objects.get().status == "WITHDRAWN"
    resume(subscription_id=subscription.pk, actor=SYSTEM, reason="USER", now=NOW)
    arm(run)
    assert Execution.objects.get().status == "ARMED"


def test_the_kill_switch_withdraws_and_blocks_arming(run: Run, subscription: Subscription) -> None:
    arm(run)
    switch = services.engage_kill_switch(
        template_id=run.template_id, reason="test", actor=SYSTEM, now=NOW
    )
    assert (Execution.objects.get().status, Execution.objects.get().cause) == (
        "WITHDRAWN",
        "KILL_SWITCH",
    )
    arm(run)  # arming again while it is engaged, and after its release, changes nothing
    services.release_kill_switch(switch_id=switch.pk, actor=SYSTEM, now=NOW)
    arm(run)
    assert Execution.objects.get().status == "WITHDRAWN"


def test_only_the_owner_of_a_shard_writes(run: Run, subscription: Subscription) -> None:
    arm(run)
    tokens = owned()
    stale = {shard: token - 1 for shard, token in tokens.items()}
    plan = planned(run)
    assert not commit_entries([plan], owner=OWNER, tokens=stale, now=NOW)
    assert not commit_entries([plan], owner="other", tokens=tokens, now=NOW)
    assert commit_entries([plan], owner=OWNER, tokens=tokens, now=NOW)


def test_removing_an_account_against_arming_leaves_nobody_armed(
    run: Run, subscription: Subscription
) -> None:
    account = subscription.allocations.get().account
    with meanwhile_armed(run) as arm_through, transaction.atomic():
        remove_account(account=account, exit_now=False, actor=SYSTEM, now=NOW)
        arm_through.start()
        assert not arm_through.finished.wait(0.5)
    assert not Execution.objects.filter(status="ARMED").exists()


def test_arming_against_removing_an_account_is_withdrawn(
    run: Run, subscription: Subscription
) -> None:
    account = subscription.allocations.get().account

    def remove() -> None:
        remove_account(account=account, exit_now=False, actor=SYSTEM, now=NOW)

    with transaction.atomic():
        arming.add_executions(run, environment="live", now=NOW, shards=8)
        removing = threading.Thread(target=closing(remove))
        removing.start()
        removing.join(0.5)
        assert removing.is_alive()
    removing.join(20)
    assert Execution.objects.get().status == "WITHDRAWN"


@pytest.mark.parametrize(("before", "armed"), [(10, 1), (2, 0), (-1, 0)])
def test_who_comes_in_the_last_seconds_waits_for_the_next_entry(
    run: Run, subscription: Subscription, before: int, armed: int
) -> None:
    """Also when arming happens after T, as after an outage: nobody enters who came too late."""
    changed_at = ENTRY - dt.timedelta(seconds=before)
    Subscription.objects.update(status_changed_at=changed_at)
    with transaction.atomic():
        late = ENTRY + dt.timedelta(seconds=5)
        arming.add_executions(run, environment="live", now=late, shards=8)
    assert Execution.objects.count() == armed
