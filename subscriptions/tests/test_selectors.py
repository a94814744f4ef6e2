"""Discovery and lists: the same number of queries for ten as for two thousand."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from brokers.models import BrokerAccount
from marketplace.tests.factories import TEST_NOW, load_reference_data, make_template
from partners.tests.factories import make_partner, make_tenant
from quantleap.core.audit import SYSTEM
from quantleap.core.tenancy import Environment
from subscriptions import services
from subscriptions.models import Allocation
from subscriptions.selectors import ActiveAllocation, active_allocations, subscriptions
from subscriptions.tests.factories import make_subscription, subscribe_many


@pytest.fixture(autouse=True)
def _reference(db: None) -> None:
    load_reference_data()


@pytest.mark.parametrize("count", [10, 2_000])
def test_discovery_is_two_queries(count: int, django_assert_num_queries: Any) -> None:
    template = make_template()
    followers = subscribe_many(template, count, make_partner(), lot_multiplier=2)
    with django_assert_num_queries(2):
        allocations = active_allocations(template.pk, Environment.LIVE)
    assert [row.allocation_id for row in allocations] == [
        follower.allocation.pk for follower in followers
    ]


def test_what_discovery_tells() -> None:
    template, partner = make_template(), make_partner()
    [follower] = subscribe_many(
        template, 1, partner, lot_multiplier="1.50", max_lots_per_order=4, now=TEST_NOW
    )
    assert active_allocations(template.pk, Environment.LIVE) == [
        ActiveAllocation(
            allocation_id=follower.allocation.pk,
            subscription_id=follower.subscription.pk,
            account_id=follower.account.pk,
            environment="live",
            broker="zebu",
            client_id=follower.account.client_id,
        )
    ]


def test_discovery_leaves_out_who_shall_not_trade() -> None:
    template, partner = make_template(), make_partner()
    stays, paused, cancelled, unlinked, leaving = subscribe_many(template, 5, partner)
    subscribe_many(make_template(), 1, partner)
    sandbox = make_template(environment=Environment.TEST)
    subscribe_many(sandbox, 1, partner)
    call: dict[str, Any] = {"actor": SYSTEM, "reason": "USER", "now": TEST_NOW}
    services.pause(subscription_id=paused.subscription.pk, **call)
    services.cancel(subscription_id=cancelled.subscription.pk, **call)
    Allocation.objects.filter(pk=unlinked.allocation.pk).update(status="REMOVED")
    BrokerAccount.objects.filter(pk=leaving.account.pk).update(removal_requested_at=TEST_NOW)
    allocations = active_allocations(template.pk, Environment.LIVE)
    assert [row.allocation_id for row in allocations] == [stays.allocation.pk]
    assert active_allocations(template.pk, Environment.TEST) == []


def test_an_account_that_is_not_ready_is_not_left_out() -> None:
    """Discovery returns the account although its credentials are missing."""
    template = make_template()
    account = make_subscription(template, make_partner()).allocations.get().account
    assert account.status == "needs_credentials"
    [allocation] = active_allocations(template.pk, Environment.LIVE)
    assert allocation.account_id == account.pk


@pytest.mark.parametrize("count", [1, 40])
def test_a_page_of_subscriptions_is_two_queries(count: int, django_assert_num_queries: Any) -> None:
    partner = make_partner()
    subscribe_many(make_template(), count, partner)
    with django_assert_num_queries(2):
        rows = list(subscriptions(partner.pk, Environment.LIVE)[:100])
        for row in rows:
            assert row.customer.email
            assert row.template.name
            assert [allocation.account.client_id for allocation in row.allocations.all()]
    assert len(rows) == count


@pytest.mark.parametrize("count", [1, 40])
def test_the_routes_take_as_many_queries_for_many_as_for_one(
    count: int, django_assert_num_queries: Any
) -> None:
    """List: key, count, rows, allocations. One: key, row, allocations, what is owed, what was
    traded and what it earned, and the shares of what was paid (two)."""
    tenant = make_tenant()
    template = make_template()
    last = subscribe_many(template, count, tenant.partner)[-1]
    url = "/partner/subscriptions"
    assert tenant.client.get(url).status_code == 200  # the key's last use is written once a minute
    with django_assert_num_queries(4):
        answer = tenant.client.get(f"{url}?per_page=100&status=ACTIVE")
    assert len(answer.json()["subscriptions"]) == count
    with django_assert_num_queries(8):
        answer = tenant.client.get(f"{url}/{last.subscription.public_id}")
    assert answer.status_code == 200


def test_the_list_is_newest_first_with_a_total_order() -> None:
    tenant = make_tenant()
    same_instant = subscribe_many(make_template(), 7, tenant.partner, now=TEST_NOW)
    newer = subscribe_many(
        make_template(), 2, tenant.partner, now=TEST_NOW + dt.timedelta(seconds=1)
    )
    expected = [follower.subscription.public_id for follower in [*same_instant, *newer]][::-1]
    seen: list[str] = []
    for page in (1, 2, 3):
        listing = tenant.client.get(f"/partner/subscriptions?page={page}&per_page=4").json()
        assert listing["pagination"] == {"total": 9, "page": page, "per_page": 4}
        seen += [row["subscription_id"] for row in listing["subscriptions"]]
    assert seen == expected
