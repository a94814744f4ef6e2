"""One person, another address: seen was that nothing of theirs was found any more.

Same person, new e-mail: subscribe and connect both answered 409 client_id_taken, and the old
subscription could not be found.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from brokers.models import BrokerAccount
from marketplace.tests.factories import load_reference_data, make_template
from partners.models import Customer, Partner, WebhookDelivery
from partners.tests.factories import Tenant, customer_client, make_tenant
from partners.webhooks.fanout import fan_out
from partners.webhooks.services import create_endpoint
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.models import AuditEntry, OutboxEvent
from subscriptions.models import Subscription

SUBSCRIBE, CONNECT = "/partner/marketplace/subscribe", "/partner/broker-accounts"
OLD, NEW = "asha@example.com", "asha.rao@example.net"
ASHA = "user-4711"


@pytest.fixture
def tenant(db: None) -> Tenant:
    load_reference_data()
    return make_tenant("zebu")


def subscribe(tenant: Tenant, **names: Any) -> Any:
    body = {
        "template_id": make_template().public_id,
        "user_state": "33",
        "broker_client_id": "Z56004",
        **names,
    }
    return tenant.client.post(SUBSCRIBE, body)


def connect(tenant: Tenant, **names: Any) -> Any:
    credentials = {"api_key": "key", "api_secret": "secret"}
    body = {"broker_name": "zebu", "client_id": "Z56004", **credentials, **names}
    return tenant.client.post(CONNECT, body)


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "")


# -- what was seen ---------------------------------------------------------------------------------
def test_the_same_person_subscribes_with_a_new_e_mail(tenant: Tenant) -> None:
    assert subscribe(tenant, user_email=OLD, external_user_id=ASHA).status_code == 201
    again = subscribe(tenant, user_email=NEW, external_user_id=ASHA)
    assert again.status_code == 201, again.json()
    assert again.json()["user_email"] == OLD  # a typo redirects no invoice
    assert again.json()["email_differs"] is True
    assert Customer.objects.count() == 1


def test_the_same_person_connects_with_a_new_e_mail(tenant: Tenant) -> None:
    first = connect(tenant, user_email=OLD, external_user_id=ASHA)
    assert (first.status_code, first.json()["email_differs"]) == (201, False)
    again = connect(tenant, user_email=NEW, external_user_id=ASHA)
    assert (again.status_code, again.json()["email_differs"]) == (200, True)
    assert again.json()["broker_account"]["external_user_id"] == ASHA
    assert (Customer.objects.count(), BrokerAccount.objects.count()) == (1, 1)


def test_control_by_address_alone_a_new_one_is_still_a_stranger(tenant: Tenant) -> None:
    """What was seen, and goes on for partners that send no id: nobody can know that it is them."""
    assert subscribe(tenant, user_email=OLD).status_code == 201
    assert code(subscribe(tenant, user_email=NEW)) == (409, "client_id_taken")
    assert code(connect(tenant, user_email=NEW)) == (409, "client_id_taken")


@pytest.mark.parametrize("route", ["subscriptions", "broker-accounts", "customers"])
def test_what_they_had_before_is_found(tenant: Tenant, route: str) -> None:
    subscribe(tenant, user_email=OLD, external_user_id=ASHA)
    subscribe(tenant, user_email="ravi@example.com", broker_client_id="Z56005")
    for query in (
        f"external_user_id={ASHA}",
        f"external_user_id={ASHA}&user_email={NEW}",
        f"user_email={OLD}",
    ):
        listing = tenant.client.get(f"/partner/{route}?{query}").json()
        assert listing["pagination"]["total"] == 1, query
        (row,) = next(value for value in listing.values() if isinstance(value, list))
        assert (row["user_email"], row["external_user_id"]) == (OLD, ASHA)
    for query in ("external_user_id=USER-4711", "external_user_id=nobody", f"user_email={NEW}"):
        listing = tenant.client.get(f"/partner/{route}?{query}").json()
        assert listing["pagination"]["total"] == 0, query


def test_who_came_before_ids_gets_one_with_the_next_call(tenant: Tenant) -> None:
    """A customer who subscribed by address alone gets the id of the next call."""
    subscribe(tenant, user_email=OLD)
    assert subscribe(tenant, user_email=OLD, external_user_id=ASHA).status_code == 201
    assert subscribe(tenant, user_email=NEW, external_user_id=ASHA).status_code == 201
    assert Customer.objects.get().external_user_id == ASHA
    entry = AuditEntry.objects.get(action="customer.external_id_given")
    assert (entry.actor_kind, entry.target_id) == ("PARTNER", Customer.objects.get().public_id)
    assert ASHA not in str(entry.data)


def test_the_address_changes_only_by_the_act_for_it(tenant: Tenant) -> None:
    user_id = subscribe(tenant, user_email=OLD, external_user_id=ASHA).json()["user_id"]
    change = tenant.client.post(f"/partner/customers/{user_id}/email", {"user_email": NEW.title()})
    assert (change.status_code, change.json()["changed"]) == (200, True)
    assert change.json()["customer"]["user_email"] == NEW
    assert change.json()["customer"]["email_confirmed"] is False
    answer = subscribe(tenant, user_email=NEW)  # by the new address alone it is them, too
    assert (answer.status_code, answer.json()["user_id"]) == (201, user_id)
    assert answer.json()["email_differs"] is False


def test_the_login_of_every_morning_takes_the_id(tenant: Tenant, settings: Any) -> None:
    settings.QUANTLEAP_LIVE_BROKERS = ["zebu"]
    connect(tenant, user_email=OLD, external_user_id=ASHA)
    login = f"{CONNECT}/Z56004/oauth/initiate"
    tenant.partner.oauth_redirect_urls = ["https://partner.example/back"]
    tenant.partner.save()
    for names in ({"external_user_id": ASHA}, {"external_user_id": ASHA, "user_email": NEW}):
        assert tenant.client.post(login, names).status_code == 200, names
    for names in ({"external_user_id": "nobody"}, {"user_email": NEW}):
        assert tenant.client.post(login, names).status_code == 404, names


def test_a_token_is_minted_by_the_id_and_says_whose_it_is(tenant: Tenant) -> None:
    subscribe(tenant, user_email=OLD, external_user_id=ASHA)
    body = {"external_user_id": ASHA, "user_email": NEW}
    minted = tenant.client.post("/partner/user-tokens", body).json()
    assert (minted["user_email"], minted["external_user_id"]) == (OLD, ASHA)
    assert minted["email_differs"] is True


def test_a_suspended_partners_customer_gets_in_by_the_id(
    tenant: Tenant,
) -> None:
    """The customer's known id gets a user token; an unknown id is refused."""
    user_id = subscribe(tenant, user_email=OLD, external_user_id=ASHA).json()["user_id"]
    Partner.objects.filter(pk=tenant.partner.pk).update(status="SUSPENDED")
    url, tokens = f"/partner/customers/{user_id}/email", "/partner/user-tokens"
    minted = tenant.client.post(tokens, {"external_user_id": ASHA, "user_email": NEW})
    assert (minted.status_code, minted.json().get("user_id")) == (201, user_id)
    for answer in (
        tenant.client.post(tokens, {"external_user_id": "new", "user_email": NEW}),
        tenant.client.post(url, {"user_email": NEW}),
        tenant.client.get("/partner/customers"),
    ):
        assert code(answer) == (403, "partner_suspended")
    assert Customer.objects.get().email == OLD


def test_a_customers_token_outlasts_a_changed_address(
    tenant: Tenant,
) -> None:
    """A token names a person; seen in the code: it looked them up by their address again."""
    subscribe(tenant, user_email=OLD)
    customer = Customer.objects.get()
    client = customer_client(customer)
    tenant.client.post(f"/partner/customers/{customer.public_id}/email", {"user_email": NEW})
    subscribed = client.post(
        f"/marketplace/subscribe/{make_template().public_id}", {"broker_client_id": "Z56004"}
    )
    assert subscribed.status_code == 201, subscribed.json()
    assert subscribed.json()["user_email"] == NEW
    assert Customer.objects.count() == 1


# -- refused in words, and nothing told of the other person ----------------------------------------
def test_an_id_with_the_address_of_somebody_else_is_refused(tenant: Tenant) -> None:
    subscribe(tenant, user_email=OLD, external_user_id=ASHA)
    ravi = subscribe(
        tenant, user_email="ravi@example.com", external_user_id="R1", broker_client_id="Z56005"
    ).json()
    for answer in (
        subscribe(tenant, user_email="ravi@example.com", external_user_id=ASHA),
        connect(tenant, user_email="ravi@example.com", external_user_id=ASHA),
        tenant.client.get(
            f"/partner/subscriptions?user_email=ravi@example.com&external_user_id={ASHA}"
        ),
    ):
        assert code(answer) == (409, "email_differs")
        assert "POST /partner/customers/{user_id}/email" in answer.json()["message"]
        assert list(answer.json()["details"]) == ["user_email"]
        for secret in (ravi["user_id"], "R1", "Z56005"):
            assert secret not in answer.content.decode()
    assert Subscription.objects.count() == 2


def test_another_id_with_a_known_address_is_refused(
    tenant: Tenant,
) -> None:
    """The address belongs to a customer with an id, which the refusal does not reveal."""
    subscribe(tenant, user_email=OLD, external_user_id=ASHA)
    for answer in (
        subscribe(tenant, user_email=OLD, external_user_id="user-9"),
        connect(tenant, user_email=OLD, external_user_id=ASHA.upper()),  # case matters
    ):
        assert code(answer) == (409, "external_user_id_differs")
        assert ASHA not in answer.content.decode()
    assert Customer.objects.count() == 1


def test_an_unknown_id_alone_asks_for_an_address(tenant: Tenant) -> None:
    answer = subscribe(tenant, external_user_id=ASHA)
    assert code(answer) == (400, "invalid_request")
    assert list(answer.json()["details"]) == ["user_email"]
    assert not Customer.objects.exists()


def test_nobody_named_is_said_beside_the_address(tenant: Tenant) -> None:
    answer = subscribe(tenant)
    assert list(answer.json()["details"]) == ["user_email"]
    assert "external_user_id" in answer.json()["message"]


HOSTILE = {
    "devanagari": "ज़ेबु",
    "kelvin": "\u212a1",
    "ten kilobytes": "x" * 10_000,
    "space before": " user-1",
    "space after": "user-1 ",
    "line feed": "user\n1",
    "nul": "a\x00b",
    "right to left": "a\u202eb",
    "number": 4711,
    "list": ["user-1"],
    "null": None,
    "empty": "",
}


@pytest.mark.parametrize("value", HOSTILE.values(), ids=list(HOSTILE))
def test_a_hostile_id_is_refused_beside_its_field(tenant: Tenant, value: Any) -> None:
    for answer in (
        subscribe(tenant, user_email=OLD, external_user_id=value),
        connect(tenant, user_email=OLD, external_user_id=value),
        tenant.client.post("/partner/user-tokens", {"external_user_id": value}),
    ):
        assert code(answer) == (400, "invalid_request")
        assert "external_user_id" in answer.json()["details"]
    assert not Customer.objects.exists()


@pytest.mark.parametrize(
    "value",
    ["' OR '1'='1", '"; DROP TABLE partners_customer; --', "%", "_", "\\", "../x", "${jndi:x}"],
    ids=["or", "drop", "percent", "underscore", "backslash", "dots", "jndi"],
)
def test_what_looks_like_sql_is_an_id_like_any_other(tenant: Tenant, value: str) -> None:
    subscribe(tenant, user_email="ravi@example.com", broker_client_id="Z56005")
    assert subscribe(tenant, user_email=OLD, external_user_id=value).status_code == 201
    listing = tenant.client.get("/partner/customers", {"external_user_id": value}).json()
    assert [row["user_email"] for row in listing["customers"]] == [OLD]


def test_an_id_is_a_partners_own_in_one_environment(tenant: Tenant) -> None:
    other = make_tenant("second")
    first = subscribe(tenant, user_email=OLD, external_user_id=ASHA).json()
    second = subscribe(other, user_email="ravi@example.com", external_user_id=ASHA).json()
    assert first["user_id"] != second["user_id"]
    customers = other.client.get(f"/partner/customers?external_user_id={ASHA}").json()["customers"]
    assert [row["user_id"] for row in customers] == [second["user_id"]]
    assert other.client.get(f"/partner/customers/{first['user_id']}").status_code == 404
    body = {"user_email": "x@example.com"}
    url = f"/partner/customers/{first['user_id']}/email"
    assert other.client.post(url, body).status_code == 404


# -- what events carry -----------------------------------------------------------------------------
def test_events_carry_the_id_and_a_change_is_an_event(tenant: Tenant) -> None:
    """The event of a changed address shows the customer as the API does."""
    create_endpoint(
        partner_id=tenant.partner.pk,
        environment="live",
        url="https://hooks.partner.example/x",
        actor=SYSTEM,
        now=clock.now(),
    )
    user_id = subscribe(tenant, user_email=OLD, external_user_id=ASHA).json()["user_id"]
    tenant.client.post(f"/partner/customers/{user_id}/email", {"user_email": NEW})
    fan_out(list(OutboxEvent.objects.order_by("id")), clock.now())
    bodies = delivered()
    created, changed = bodies["subscription.created"], bodies["customer.email_changed"]
    assert created["data"]["external_user_id"] == changed["data"]["external_user_id"] == ASHA
    assert changed["object_id"] == user_id
    shown = tenant.client.get(f"/partner/customers/{user_id}").json()["customer"]
    assert changed["data"] == shown


def delivered() -> dict[str, Any]:
    """Bodies of the deliveries by type."""
    return {delivery.type: json.loads(delivery.body) for delivery in WebhookDelivery.objects.all()}
