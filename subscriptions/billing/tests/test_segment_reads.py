"""New segments read their customer's rows and nobody else's, whatever the statistics say.

Seen: a plan made while the tables were empty read all of them for each of 2,000 segments, for
minutes (docs/adr/0054). So the planner is made to believe here that every table is all but empty,
as after rows that were written, taken back and then looked at by autovacuum; and the rows that the
statement reads, its triggers' included, are counted by PostgreSQL, not timed. The same for shards
is in execution/tests/test_one_shard.py.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
import pytest
from django.db import connection, transaction

from marketplace.tests.factories import TEST_DAY, load_reference_data, make_template
from partners.tests.factories import make_partner
from quantleap.core import clock
from quantleap.core.tests.row_reads import rows_read
from subscriptions.billing.tests.factories import load_billing
from subscriptions.tests.factories import subscribe_many

pytestmark = pytest.mark.django_db
NOW: Final = clock.at_ist(TEST_DAY, dt.time(8))
ROWS: Final = 300

#: One index for each step, and the same by the index of whoever follows the template.
BY_THE_CUSTOMER: Final = "customer_id = mine.customer_id AND template_id + 0 = mine.template_id"
BY_THE_TEMPLATE: Final = "customer_id + 0 = mine.customer_id AND template_id = mine.template_id"


def forget(owner: psycopg.Connection) -> None:
    """The planner believes that the tables are all but empty: what this test has written is not
    committed, and is not counted by whoever looks at them now."""
    owner.execute("ANALYZE subscriptions_subscription, billing_billingsegment, billing_invoice")
    owner.commit()


def reads_of_new_segments(owner: psycopg.Connection) -> int:
    """``ROWS`` new customers of one template; the rows that their first segments read."""
    load_billing()
    load_reference_data()
    template, partner = make_template(), make_partner("zebu")
    with transaction.atomic():
        subscribe_many(template, 50, partner, now=NOW)
        forget(owner)
        transaction.set_rollback(True)
    counted: list[int] = []

    def count(execute: Any, query: str, *rest: Any) -> Any:
        if not query.startswith('INSERT INTO "billing_billingsegment"'):
            return execute(query, *rest)
        before = rows_read()
        result = execute(query, *rest)
        counted.append(rows_read() - before)
        return result

    with connection.execute_wrapper(count):
        subscribe_many(template, ROWS, partner, now=NOW)
    [reads] = counted
    return reads


def test_new_segments_read_every_follower_of_the_template(owner: psycopg.Connection) -> None:
    """Seen: 27,090,000 rows for 300 segments, with scans and hash joins switched off."""
    assert reads_of_new_segments(owner) <= 5 * ROWS


@contextmanager
def planted(owner: psycopg.Connection, right: str, wrong: str) -> Iterator[None]:
    """The trigger's function with one condition changed, for everybody until the end."""
    row = owner.execute("SELECT pg_get_functiondef('billing_days_once'::regproc)").fetchone()
    assert row is not None
    assert right in row[0]
    owner.execute(row[0].replace(right, wrong))
    owner.commit()
    try:
        yield
    finally:
        owner.execute(row[0])
        owner.commit()


def test_control_begun_days_by_the_template_read_them_all(owner: psycopg.Connection) -> None:
    with planted(owner, BY_THE_CUSTOMER, BY_THE_TEMPLATE):
        assert reads_of_new_segments(owner) > ROWS * ROWS // 2
