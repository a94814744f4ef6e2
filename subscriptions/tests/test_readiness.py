"""Who could trade the next entry, and who not and why (``GET /partner/readiness``)."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from brokers import sealed_credentials
from brokers.models import BrokerAccount
from brokers.readiness import REASONS, not_ready_reason, readiness
from brokers.services.accounts import mark_held, remove_account
from brokers.tests.factories import give_session, make_account
from marketplace.models import Template
from marketplace.tests.factories import TEST_NOW, load_reference_data, make_template
from partners.tests.factories import Tenant, make_customer, make_tenant
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from subscriptions import services
from subscriptions.models import Subscription
from subscriptions.tests.factories import make_subscription

ROUTE = "/api/v1/partner/readiness"


@pytest.fixture
def tenant(db: None) -> Iterator[Tenant]:
    load_reference_data()
    with time_machine.travel(TEST_NOW, tick=False):
        yield make_tenant()


@pytest.fixture
def template(tenant: Tenant) -> Template:
    return make_template()


def follow(
    tenant: Tenant, template: Template, *, logged_in: bool = True, email: str = ""
) -> tuple[Subscription, BrokerAccount]:
    """A subscriber with a connected account."""
    customer = make_customer(tenant.partner)
    account = make_account(customer, logged_in=logged_in)
    subscription = make_subscription(
        template,
        tenant.partner,
        email=customer.email,
        client_id=account.client_id,
        broker=account.broker,
    )
    return subscription, account


def told(tenant: Tenant, query: str = "") -> dict[str, Any]:
    answer = tenant.client.get(f"{ROUTE}{query}")
    assert answer.status_code == 200, answer.json()
    body: dict[str, Any] = answer.json()
    return body


def rows(body: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["subscription_id"]: row for row in body["subscriptions"]}


def test_each_row_says_why(tenant: Tenant, template: Template) -> None:
    ready, _ = follow(tenant, template)
    no_login, _ = follow(tenant, template, logged_in=False)
    paused, _ = follow(tenant, template)
    held, account = follow(tenant, template)
    services.pause(subscription_id=paused.pk, actor=SYSTEM, reason="USER", now=clock.now())
    mark_held(account_id=account.pk, held=True, now=clock.now())
    body = told(tenant)
    by_id = rows(body)
    shown = {
        key: (row["ready"], row["reason"], [a["reason"] for a in row["accounts"]])
        for key, row in by_id.items()
    }
    assert shown == {
        ready.public_id: (True, None, [None]),
        no_login.public_id: (False, "account_not_ready", ["no_login_today"]),
        paused.public_id: (False, "paused", [None]),
        held.public_id: (False, "account_not_ready", ["held"]),
    }
    assert by_id[paused.public_id]["status_reason"] == "USER"
    assert (body["ready"], body["not_ready"]) == (1, 3)
    assert body["not_ready_by_reason"] == {
        "paused": 1,
        "no_account": 0,
        "account_not_ready": 2,
    }


def test_the_next_entry_is_that_of_the_calendar(tenant: Tenant, template: Template) -> None:
    subscription, _ = follow(tenant, template)
    entry = rows(told(tenant))[subscription.public_id]["next_entry_at"]
    assert dt.datetime.fromisoformat(entry) > TEST_NOW
    Template.objects.update(state=Template.State.WITHDRAWN)
    assert rows(told(tenant))[subscription.public_id]["next_entry_at"] is None


def test_one_account_of_two_that_is_not_ready_counts(tenant: Tenant, template: Template) -> None:
    subscription, _ = follow(tenant, template)
    services.add_allocation(
        subscription_id=subscription.pk,
        choice=services.AccountChoice(client_id="OTHER1", broker="zebu"),
        actor=SYSTEM,
        now=clock.now(),
    )
    row = rows(told(tenant))[subscription.public_id]
    assert (row["ready"], row["reason"]) == (False, "account_not_ready")
    assert [account["ready"] for account in row["accounts"]] == [True, False]
    assert row["accounts"][1]["reason"] == "needs_credentials"


def test_a_subscription_without_an_account_is_listed(tenant: Tenant, template: Template) -> None:
    subscription, account = follow(tenant, template)
    remove_account(account=account, exit_now=False, actor=SYSTEM, now=clock.now())
    row = rows(told(tenant))[subscription.public_id]
    assert (row["ready"], row["reason"], row["accounts"]) == (False, "paused", [])


def test_the_list_filters_and_counts_all(tenant: Tenant, template: Template) -> None:
    other = make_template()
    for _ in range(3):
        follow(tenant, template)
    missing = [follow(tenant, template, logged_in=False)[0] for _ in range(2)]
    follow(tenant, other, logged_in=False)
    body = told(tenant, f"?template_id={template.public_id}&ready=false")
    assert rows(body).keys() == {row.public_id for row in missing}
    assert (body["ready"], body["not_ready"]) == (3, 2)
    first = told(tenant, "?per_page=4")
    second = told(tenant, f"?per_page=4&cursor={first['next_cursor']}")
    assert second["next_cursor"] is None
    assert len(rows(first) | rows(second)) == 6


def test_nobody_elses_and_no_cancelled_ones(tenant: Tenant, template: Template) -> None:
    mine, _ = follow(tenant, template)
    over, _ = follow(tenant, template)
    services.cancel(subscription_id=over.pk, actor=SYSTEM, reason="USER", now=clock.now())
    follow(make_tenant(), template)
    assert rows(told(tenant)).keys() == {mine.public_id}


@pytest.mark.parametrize("query", ["?ready=yes", "?ready=", "?page=1", "?colour=red"])
def test_a_wrong_query_is_refused(tenant: Tenant, query: str) -> None:
    assert tenant.client.get(f"{ROUTE}{query}").status_code == 400


def test_the_number_of_queries_is_that_of_one_row(tenant: Tenant, template: Template) -> None:
    follow(tenant, template)

    def count() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            told(tenant, "?per_page=100")
        return len(captured)

    told(tenant)  # writes when the key was used
    alone = count()
    for _ in range(5):
        follow(tenant, template, logged_in=False)
        follow(tenant, make_template())
    assert count() == alone <= 9


@pytest.mark.django_db
def test_row_and_column_agree_on_every_account() -> None:
    """Every combination of what readiness looks at; the column is one query for all."""
    now = TEST_NOW
    customer = make_customer(None)
    accounts = []
    for status, removal, held, key, token in itertools.product(
        ["enabled", "disabled", "needs_credentials"],
        [None, now],
        [False, True],
        ["known", "unknown"],
        ["none", "live", "over", "ends now"],
    ):
        account = make_account(customer, now=now)
        if token != "none":
            ends = {"live": 1, "over": -1, "ends now": 0}[token]
            give_session(account, now, expires=now + dt.timedelta(hours=ends))
        account.status, account.removal_requested_at, account.held = status, removal, held
        if key == "unknown":
            sealed = sealed_credentials.seal(account, "api_secret", "secret")
            version, _, *rest = sealed.split(":")
            account.api_secret = ":".join((version, "gone", *rest))
        account.save()
        accounts.append(account)
    columns = dict(
        BrokerAccount.objects.annotate(reason=not_ready_reason(now)).values_list("pk", "reason")
    )
    alone = {account.pk: readiness(account, now).reason for account in accounts}
    assert columns == alone
    assert set(alone.values()) == {*REASONS, ""} - {"removed"}
