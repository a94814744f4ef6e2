"""Arming asks the database as often for two thousand subscribers as for ten."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from execution.arming import add_executions, arm, strategies_today
from execution.models import Execution
from execution.timing import from_settings
from marketplace.tests.factories import TEST_NOW, load_reference_data, make_template
from partners.tests.factories import make_partner
from quantleap.core.tenancy import Environment
from subscriptions.tests.factories import subscribe_many

DISCOVERY = 2  # whatever the number of subscribers: docs/performance.md
KILL_SWITCHES = 2
INSERT = 1


@pytest.mark.django_db
@pytest.mark.parametrize("count", [10, 2_000])
def test_queries_do_not_grow_with_subscribers(count: int, django_assert_num_queries: Any) -> None:
    load_reference_data()
    template = make_template()
    now = TEST_NOW + dt.timedelta(minutes=19)
    [due] = strategies_today(now)
    run = arm(due, now=now, timing=from_settings())
    subscribe_many(template, count, make_partner(), now=TEST_NOW)
    with django_assert_num_queries(DISCOVERY + KILL_SWITCHES + INSERT):
        added = add_executions(run, environment=Environment.LIVE, now=now, shards=8)
    assert added == count
    assert Execution.objects.filter(run=run, status="ARMED").count() == count
