"""All rows of one real account have one shard, whoever writes them and when (docs/adr/0038).

Two shards are two executors with a book, a pace and exits each. Seen: one person at two partners.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections import defaultdict
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

import psycopg
import pytest
from django.db import connection, transaction

from brokers.models import BrokerAccount
from brokers.real_account import RealAccount
from execution import arming
from execution.engine.database import leases, loader
from execution.models import Execution, OrderIntent, ShardLease
from execution.selectors import database_now
from execution.tests.factories import make_accounts, make_partner, subscribe_accounts
from execution.tests.rows import decide, enter, make_execution, make_run
from marketplace.models import Contract, Template
from marketplace.tests.factories import TEST_DAY, load_test_contracts, make_short_straddle
from quantleap.core import clock
from quantleap.core.tests.row_reads import rows_read
from subscriptions.models import Subscription

pytestmark = pytest.mark.django_db(transaction=True)
MIGRATION = import_module("execution.migrations.0006_shards_of_real_accounts")
NOW = clock.at_ist(TEST_DAY, dt.time(9, 19))
PERSONS = 12


def at_two_partners(count: int = 1) -> list[tuple[BrokerAccount, BrokerAccount]]:
    """Persons with the same accounts at two partners."""
    here, there = (
        make_accounts(count, partner=make_partner(slug), brokers=("zerodha", "zebu"), now=NOW)
        for slug in ("zebu", "other")
    )
    return list(zip(here, there, strict=True))


def subscribed(template: Template, *accounts: BrokerAccount) -> list[Subscription]:
    return subscribe_accounts(template, accounts, now=NOW - dt.timedelta(hours=1))


def two_rows() -> tuple[Any, Subscription, Subscription]:
    """A run, and one person's subscriptions at two partners."""
    load_test_contracts(TEST_DAY)
    template = make_short_straddle()
    [(here, there)] = at_two_partners()
    mine, theirs = subscribed(template, here, there)
    return make_run(template, status="ARMED"), mine, theirs


def shards() -> list[int]:
    return list(Execution.objects.order_by("id").values_list("shard", flat=True))


def test_one_person_at_two_partners_was_two_accounts() -> None:
    """Seen: two executors each took one person for an account of their own."""
    load_test_contracts(TEST_DAY)
    template = make_short_straddle()
    for pair in at_two_partners(PERSONS):
        subscribed(template, *pair)
    run = make_run(template, status="ARMED")
    assert arming.add_executions(run, environment="live", now=NOW, shards=8) == 2 * PERSONS
    shards_by_account: dict[tuple[str, str], set[int]] = defaultdict(set)
    for execution in Execution.objects.select_related("account"):
        shards_by_account[execution.account.broker, execution.account.client_id].add(
            execution.shard
        )
    assert shards_by_account == {
        key: {RealAccount("live", *key).shard(8)} for key in shards_by_account
    }, "the hash of broker and client id"
    assert len(shards_by_account) == PERSONS
    assert len(set.union(*shards_by_account.values())) > 1, "and yet they are spread"


def test_the_oldest_living_row_decides() -> None:
    """A row that is over does not decide. The rows differ because an older version armed by another
    hash, or because the number of shards was changed."""
    run, mine, theirs = two_rows()
    old = make_execution(run, mine, "OPEN", shard=6)
    make_execution(run, theirs, "ARMED", shard=3)
    assert shards() == [6, 6]
    Execution.objects.exclude(pk=old.pk).delete()
    Execution.objects.update(status="CLOSED")
    make_execution(run, theirs, "ARMED", shard=3)
    assert shards() == [6, 3]


def test_who_is_withdrawn_and_armed_again_follows() -> None:
    """Paused, armed at the other partner meanwhile, resumed."""
    run, mine, theirs = two_rows()
    make_execution(run, mine, "WITHDRAWN", shard=6)
    make_execution(run, theirs, "OPEN", shard=3)
    assert shards() == [6, 3]
    Execution.objects.filter(status="WITHDRAWN").update(status="ARMED")
    assert shards() == [3, 3]
    Execution.objects.filter(subscription=mine).update(shard=5)
    assert shards() == [3, 3], "nor is it moved by hand while the other lives"


def test_the_same_client_id_elsewhere_is_another_account() -> None:
    """At another broker, or in the test environment."""
    load_test_contracts(TEST_DAY)
    template = make_short_straddle()
    partner = make_partner()
    here = make_accounts(1, partner=partner, brokers=("zebu",), now=NOW)
    broker = make_accounts(1, partner=make_partner("first"), brokers=("zerodha",), now=NOW)
    paper = make_accounts(1, partner=make_partner("second"), environment="test", now=NOW)
    run = make_run(template)
    for shard, account in enumerate([*here, *broker, *paper]):
        [subscription] = subscribed(template, account)
        make_execution(run, subscription, "OPEN", shard=shard)
    assert shards() == [0, 1, 2]


@pytest.mark.parametrize("first", [2, 7])
def test_rows_that_are_written_in_parallel_agree(first: int) -> None:
    """Held open at its narrowest point: the first has written and not committed."""
    run, mine, theirs = two_rows()
    second = 9 - first
    written = threading.Event()

    def write() -> None:
        try:
            make_execution(run, theirs, "ARMED", shard=second)
        finally:
            connection.close()
            written.set()

    with transaction.atomic():
        make_execution(run, mine, "ARMED", shard=first)
        other = threading.Thread(target=write)
        other.start()
        assert not written.wait(0.5), "it waits for the first"
    other.join(20)
    assert shards() == [first, first]


def test_many_armings_at_once_agree_and_none_waits_for_ever() -> None:
    """Two strategies of twelve persons at two partners each, armed by two processes that believe in
    different numbers of shards."""
    load_test_contracts(TEST_DAY)
    pairs = at_two_partners(PERSONS)
    runs = []
    for number in range(2):
        template = make_short_straddle()
        for pair in pairs:
            subscribed(template, *(pair if number else reversed(pair)))
        runs.append(make_run(template, status="ARMED"))
    start = threading.Barrier(4)

    def arm(run: Any, number_of_shards: int) -> Callable[[], None]:
        def body() -> None:
            try:
                start.wait(20)
                with transaction.atomic():
                    arming.add_executions(run, environment="live", now=NOW, shards=number_of_shards)
            finally:
                connection.close()

        return body

    threads = [threading.Thread(target=arm(run, n)) for run in runs for n in (5, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert Execution.objects.count() == 4 * PERSONS
    shards_by_account: dict[tuple[str, str], set[int]] = defaultdict(set)
    for execution in Execution.objects.select_related("account"):
        shards_by_account[execution.account.broker, execution.account.client_id].add(
            execution.shard
        )
    assert {len(account_shards) for account_shards in shards_by_account.values()} == {1}


# -- what it costs --------------------------------------------------------------------------------
#: What an arming would read again and again.
COUNTED: Final = ("brokers_brokeraccount", "execution_execution")
ROWS = 200
JOINED = """
  SELECT e.shard INTO home
    FROM brokers_brokeraccount mine
    JOIN brokers_brokeraccount other
      ON other.client_id = mine.client_id AND other.broker = mine.broker
     AND other.environment = mine.environment
    JOIN execution_execution e ON e.account_id = other.id
   WHERE mine.id = NEW.account_id AND e.id <> NEW.id
     AND NOT (e.status IN ('WITHDRAWN', 'CLOSED', 'FAILED', 'MISSED'))
   ORDER BY e.id + 0
   LIMIT 1;
"""


def rows_read_while_arming(owner: psycopg.Connection) -> int:
    """Arm ``ROWS`` accounts where the planner believes that every table is all but empty: rows were
    written, taken back, and only then were the tables looked at (autovacuum does both)."""
    load_test_contracts(TEST_DAY)
    template = make_short_straddle()
    taken_back = transaction.atomic()
    with taken_back:
        subscribed(template, *make_accounts(50, partner=make_partner(), now=NOW))
        transaction.set_rollback(True)
    tables = (
        "brokers_brokeraccount, subscriptions_subscription, subscriptions_allocation, "
        "execution_execution"
    )
    owner.execute(f"ANALYZE {tables}")
    owner.commit()
    subscribed(template, *make_accounts(ROWS, partner=make_partner(), now=NOW))
    run = make_run(template, status="ARMED")
    counted: list[int] = []

    def count(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if "INSERT INTO execution_execution" not in sql:
            return execute(sql, *rest)
        before = rows_read(*COUNTED)
        result = execute(sql, *rest)
        counted.append(rows_read(*COUNTED) - before)
        return result

    with transaction.atomic(), connection.execute_wrapper(count):
        assert arming.add_executions(run, environment="live", now=NOW, shards=8) == ROWS
    [reads] = counted
    return reads


def test_arming_read_every_account_for_every_account(owner: psycopg.Connection) -> None:
    """Seen: ten thousand rows took hours, because a table had been looked at while it was empty."""
    assert rows_read_while_arming(owner) <= 5 * ROWS


def test_control_the_join_reads_every_account_for_every_account(owner: psycopg.Connection) -> None:
    """The same rule as one join, as it was."""
    body = MIGRATION.FORWARDS[: MIGRATION.FORWARDS.index("CREATE TRIGGER")]
    start, end = body.index("  SELECT a.environment"), body.index("  IF FOUND")
    owner.execute(body[:start].replace("CREATE", "CREATE OR REPLACE") + JOINED + body[end:])
    owner.commit()
    try:
        assert rows_read_while_arming(owner) > ROWS * ROWS
    finally:
        owner.execute(body.replace("CREATE", "CREATE OR REPLACE", 1))
        owner.commit()


# -- what was live before -------------------------------------------------------------------------
def test_what_was_live_in_two_shards_is_brought_together(owner: psycopg.Connection) -> None:
    """Both owners lose the shard. Their leases run out as if they had died, so neither sends any
    more."""
    run, mine, theirs = two_rows()
    owner.execute("ALTER TABLE execution_execution DISABLE TRIGGER USER")
    owner.commit()
    try:
        contracts = [
            Contract.objects.filter(underlying__symbol="NIFTY", option_type=kind)[0]
            for kind in ("CE", "PE")
        ]
        decide(run, contracts)
        make_execution(run, mine, "OPEN", shard=6)
        astray = make_execution(run, theirs, "OPEN", shard=3)
        enter(astray, contracts)
        assert shards() == [6, 3]
    finally:
        owner.execute("ALTER TABLE execution_execution ENABLE TRIGGER USER")
        owner.commit()
    leases.ensure_rows(8)
    held = {c.shard: c.token for c in leases.claim(owner="old", wanted=8, ttl=10)}

    owner.execute(MIGRATION.BRING_TOGETHER)
    owner.commit()

    assert shards() == [6, 6]
    assert set(OrderIntent.objects.values_list("shard", flat=True)) == {6}
    still_held = leases.heartbeat(owner="old", tokens=held, ttl=10)
    assert still_held == set(held) - {3, 6}
    assert leases.claim(owner="new", wanted=8, ttl=10) == []
    late = database_now() - dt.timedelta(seconds=0.1)
    ShardLease.objects.update(expires_at=late)
    claimed = {c.shard for c in leases.claim(owner="new", wanted=8, ttl=10)}
    assert {3, 6} <= claimed
    assert ShardLease.objects.get(shard=6).token > held[6]
    runs = {run.pk: loader.live_run(run)}
    loaded = loader.load_executions(runs, [6], statuses=("OPEN",))
    assert {(execution.real, execution.shard) for execution in loaded} == {(loaded[0].real, 6)}
