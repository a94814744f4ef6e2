"""The second day of a process, stops, and sessions that change under it: the shell around it."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from typing import Any

import pytest

from brokers import sealed_credentials
from brokers.models import BrokerAccount
from brokers.services.accounts import disable_account, remove_account, set_egress
from execution.models import Execution, OrderIntent, Run
from execution.services import finish_removals, request_exit
from execution.tags import parse_tag
from execution.tests.factories import log_in, subscribe_accounts
from execution.tests.installation import (
    Installation,
    assert_filled,
    open_at_brokers,
    runs_closed,
    wait_until,
)
from execution.tests.rows import decide, enter, make_execution, make_run
from marketplace.models import Contract
from marketplace.tests.factories import make_iron_condor, make_short_straddle
from quantleap.core import clock
from quantleap.core.audit import SYSTEM

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]


def until(at: dt.datetime) -> None:
    """Wait for an instant of our clock."""
    wait_until(lambda: clock.now() >= at, (at - clock.now()).total_seconds() + 5)


# -- the second day ------------------------------------------------------------------------------
def yesterday(installation: Installation) -> Execution:
    """A position that was left open on the session before, and nobody holds in memory."""
    template = make_short_straddle(name="Left open")
    (account,) = installation.subscribe(template, 1)
    run = make_run(template, clock.ist_date(installation.now) - dt.timedelta(days=1))
    contracts = list(Contract.objects.filter(underlying__symbol="NIFTY", option_type="CE")[:1])
    contracts += list(Contract.objects.filter(underlying__symbol="NIFTY", option_type="PE")[:1])
    decide(run, contracts)
    execution = make_execution(run, account.allocations.get().subscription, "OPEN")
    enter(execution, contracts)
    return execution


def test_an_execution_of_yesterday_was_adopted_by_nobody(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    """Seen after a restart at 00:10: a position stayed open for ever without an alarm. A person is
    told that its session is over."""
    execution = yesterday(installation)
    executor()
    wait_until(lambda: Execution.objects.get(pk=execution.pk).needs_attention, 20)
    execution.refresh_from_db()
    assert execution.cause == "SESSION_OVER"
    assert installation.control.orders() == [], "nothing of yesterday is sent today"


def test_an_exit_of_yesterdays_run_was_asked_for_in_vain(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    """Seen: 202, attention 0, and today's run traded beside it. Today's enters as ever; of the old
    one nothing can be sent, which its alarm says."""
    old = yesterday(installation)
    today = make_short_straddle(name="Today", strategy=installation.entry_in(9, 600))
    subscribe_accounts(today, [old.account])
    assert request_exit([old.subscription_id], reason="EXIT_REQUESTED", now=clock.now()) == 1
    executor()
    wait_until(lambda: Execution.objects.filter(run__template=today, status="OPEN").exists(), 40)
    old.refresh_from_db()
    assert (old.needs_attention, old.cause) == (True, "SESSION_OVER")
    sent = {tag.code for order in installation.control.orders() if (tag := parse_tag(order["tag"]))}
    assert sent == set(OrderIntent.objects.exclude(execution=old).values_list("code", flat=True))


def test_an_armed_run_of_yesterday_is_missed_and_not_entered(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    execution = yesterday(installation)
    OrderIntent.objects.all().delete()
    Execution.objects.update(status="ARMED", entered_at=None, committed_at=None)
    Run.objects.update(status="ARMED")
    executor()
    wait_until(lambda: Run.objects.get().status == "MISSED", 20)
    execution.refresh_from_db()
    assert (execution.status, execution.cause) == ("MISSED", "GRACE_OVER")
    assert installation.control.orders() == []


# -- sessions ------------------------------------------------------------------------------------
def log_in_again(installation: Installation, accounts: list[BrokerAccount]) -> None:
    """The old sessions are dead at the broker, the new ones are stored."""
    for account in accounts:
        installation.control.ask(
            "DELETE", "/sessions", broker=account.broker, client_id=account.client_id
        )
    log_in(accounts, installation.control.token, clock.now())


def test_who_logged_in_again_failed_with_the_session_of_before(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    """Seen the next morning, with an executor that lived overnight: 20 of 20, attention 0."""
    accounts = installation.subscribe(make_short_straddle(strategy=installation.entry_in(9, 6)), 4)
    executor()
    wait_until(runs_closed, 60)
    log_in_again(installation, accounts)
    second = make_short_straddle(name="The second", strategy=installation.entry_in(9, 6))
    subscribe_accounts(second, accounts)
    wait_until(lambda: Run.objects.filter(status="CLOSED").count() == 2, 60)
    assert_filled(OrderIntent.objects.all())
    assert {e.status for e in Execution.objects.all()} == {"CLOSED"}


def test_a_dead_session_is_told_and_resumes_after_a_login(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    """Seen: 20,823 reads were made with a dead token, and a FAILED execution had an open
    position."""
    accounts = installation.subscribe(make_short_straddle(strategy=installation.entry_in(9, 7)), 2)
    executor()
    wait_until(lambda: Execution.objects.filter(status="OPEN").count() == 2, 40)
    dead = accounts[0]
    installation.control.ask("DELETE", "/sessions", broker=dead.broker, client_id=dead.client_id)
    wait_until(lambda: Execution.objects.get(account=dead).needs_attention, 30)
    assert Execution.objects.get(account=dead).cause == "SESSION_EXPIRED"
    wait_until(lambda: Execution.objects.filter(status="CLOSED").count() == 1, 30)
    log_in([dead], installation.control.token, clock.now())
    wait_until(runs_closed, 40)
    assert open_at_brokers(installation.control) == []


def test_who_logged_in_again_at_noon_left_late_and_with_an_alarm(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    """Seen in a simulated week: the exit met a session that the second login had ended, waited for
    the next look, and a closed execution kept SESSION_EXPIRED as the reason of its failure."""
    accounts = installation.subscribe(make_short_straddle(strategy=installation.entry_in(9, 9)), 2)
    executor()
    wait_until(lambda: Execution.objects.filter(status="OPEN").count() == 2, 40)
    log_in_again(installation, accounts)
    wait_until(runs_closed, 60)
    outcomes = [(e.status, e.cause, e.needs_attention) for e in Execution.objects.all()]
    assert outcomes == [("CLOSED", "", False)] * 2
    assert open_at_brokers(installation.control) == []


def test_the_exits_of_a_disabled_account_were_missed(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    """Seen after a restart: ACCOUNT_DISABLED, and -65/-65 stayed. It enters nothing, and leaves."""
    accounts = installation.subscribe(make_short_straddle(strategy=installation.entry_in(9, 12)), 2)
    first = executor()
    wait_until(lambda: Execution.objects.filter(status="OPEN").count() == 2, 40)
    disable_account(account=accounts[0], actor=SYSTEM, now=clock.now())
    first.stop()
    executor()
    wait_until(runs_closed, 60)
    assert open_at_brokers(installation.control) == []
    assert {e.status for e in Execution.objects.all()} == {"CLOSED"}


def test_the_exits_of_a_removed_account_were_missed(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    """Seen after a restart: an account removed with "exit now" was REMOVED, and -65/-65 stayed. It
    is erased once it is flat."""
    accounts = installation.subscribe(make_short_straddle(strategy=installation.entry_in(9, 60)), 2)
    first = executor()
    wait_until(lambda: Execution.objects.filter(status="OPEN").count() == 2, 40)
    first.stop()  # so that the successor, and not this one, has to leave
    remove_account(account=accounts[0], exit_now=True, actor=SYSTEM, now=clock.now())
    executor()
    wait_until(lambda: Execution.objects.filter(status="CLOSED").exists(), 40)
    leaving, staying = (Execution.objects.get(account=account) for account in accounts)
    assert (leaving.status, staying.status) == ("CLOSED", "OPEN")
    assert {row["client_id"] for row in open_at_brokers(installation.control)} == {
        accounts[1].client_id
    }
    assert finish_removals(now=clock.now()) == 1


def test_account_changes_between_two_entries_were_overlooked(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    """Seen with an executor that had sent for them before: a disabled account traded, and a new
    egress and algo id were not used."""
    accounts = installation.subscribe(make_short_straddle(strategy=installation.entry_in(9, 6)), 3)
    host = executor()
    wait_until(runs_closed, 60)
    off, moved, same = accounts
    disable_account(account=off, actor=SYSTEM, now=clock.now())
    set_egress(account=moved, egress="127.0.0.9", algo_id="ALGO9", actor=SYSTEM, now=clock.now())
    second = make_short_straddle(name="The second", strategy=installation.entry_in(9, 600))
    subscribe_accounts(second, accounts)
    entered = Execution.objects.filter(run__template=second, status="OPEN")
    wait_until(lambda: entered.count() == 2, 40)
    assert set(entered.values_list("account_id", flat=True)) == {moved.pk, same.pk}
    assert not OrderIntent.objects.filter(execution__run__template=second, account=off).exists()
    channels = host.executor.channels.by_account
    ways = {
        key: (channels[key].route.source, channels[key].session.algo_id)
        for key in (moved.pk, same.pk)
    }
    assert ways == {moved.pk: ("127.0.0.9", "ALGO9"), same.pk: ("", "")}


def test_an_unusable_egress_leaves_a_position_open_and_told(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    """After a restart nobody knows another way to the broker. Told was NO_WITNESS, and every few
    seconds an exit was written that could not be sent."""
    accounts = installation.subscribe(make_short_straddle(strategy=installation.entry_in(9, 7)), 2)
    first = executor()
    wait_until(lambda: Execution.objects.filter(status="OPEN").count() == 2, 40)
    lost = accounts[0]
    sealed = sealed_credentials.seal(lost, "egress", "http://10.0.0.9:3128")
    BrokerAccount.objects.filter(pk=lost.pk).update(egress=sealed)
    first.stop()
    executor()
    wait_until(lambda: Execution.objects.filter(status="CLOSED").count() == 1, 40)
    wait_until(lambda: Execution.objects.get(account=lost).needs_attention, 20)
    assert Execution.objects.get(account=lost).cause == "EGRESS"
    assert not OrderIntent.objects.filter(account=lost, purpose="EXIT").exists()
    BrokerAccount.objects.filter(pk=lost.pk).update(egress="")
    wait_until(runs_closed, 40)
    assert open_at_brokers(installation.control) == []


# -- stops ---------------------------------------------------------------------------------------
def test_a_stop_just_before_the_second_fires_first(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    """Seen: after a SIGTERM at T-0.6 s orders left at T+11.9 s and T+20.8 s."""
    template = make_iron_condor(strategy=installation.entry_in(10, 8))
    installation.subscribe(template, 6)
    first = executor()
    executor()
    wait_until(lambda: Run.objects.exists(), 20)
    entry_at = Run.objects.get().entry_at
    until(entry_at - dt.timedelta(seconds=0.6))
    stopping = threading.Thread(target=first.stop)
    stopping.start()
    wait_until(runs_closed, 60)
    stopping.join(30)
    entries = list(OrderIntent.objects.filter(purpose="ENTRY", group=0))
    assert_filled(OrderIntent.objects.all())
    late = [
        i for i in entries if i.sent_at is None or i.sent_at > entry_at + dt.timedelta(seconds=1)
    ]
    assert late == []
    assert open_at_brokers(installation.control) == []
    assert len({o["tag"] for o in installation.control.orders()}) == OrderIntent.objects.count()
