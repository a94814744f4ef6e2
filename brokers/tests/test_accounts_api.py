"""Broker accounts over the API: connect, list, show, remove; tenancy; no secret ever leaves."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import IntegrityError, connection

from brokers import sealed_credentials
from brokers.errors import ClientIdTaken, OpenPositions
from brokers.models import BrokerAccount
from brokers.ports import ACCOUNT_REMOVAL, ACCOUNT_UNLINK, RemovalEffect
from brokers.sealed_credentials import credentials_of
from brokers.services.accounts import (
    connect_account,
    disable_account,
    enable_account,
    ensure_account,
    finish_removal,
)
from brokers.tests.factories import make_account
from partners import permissions
from partners.models import Customer, Partner
from partners.tests.factories import (
    customer_client,
    make_customer,
    make_key,
    make_partner,
    make_tenant,
    partner_client,
    strangers,
)
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.models import AuditEntry

URL = "/partner/broker-accounts"
KEY, SECRET = "api-key-kept-inside", "api-secret-kept-inside"


def body(**changes: Any) -> dict[str, Any]:
    return {
        "user_email": "asha@example.com",
        "user_name": "Asha",
        "broker_name": "Zebu",
        "client_id": "z56004",
        "api_key": KEY,
        "api_secret": SECRET,
    } | changes


# -- connect ---------------------------------------------------------------------------------
@pytest.mark.django_db
def test_connecting_creates_customer_and_account() -> None:
    """The answer never contains the secret."""
    tenant = make_tenant()
    answer = tenant.client.post(URL, body())
    assert answer.status_code == 201, answer.json()
    data = answer.json()
    account = BrokerAccount.objects.select_related("customer").get()
    assert data["success"] is True
    assert data["credentials_checked"] is False
    row = data["broker_account"]
    assert row["user_id"] == account.customer.public_id
    assert (row["client_id"], row["broker_name"]) == ("Z56004", "zebu")
    assert (row["account_status"], row["has_credentials"], row["has_oauth_token"]) == (
        "enabled",
        True,
        False,
    )
    assert (row["ready_for_trading"], row["not_ready_reason"]) == (False, "no_login_today")
    opened = credentials_of(account)
    assert (opened.api_key, opened.api_secret) == (KEY, SECRET)
    stored = str(BrokerAccount.objects.values().get()) + str(list(AuditEntry.objects.values()))
    for secret in (KEY, SECRET):
        assert secret not in stored
        assert secret.encode() not in answer.content


@pytest.mark.django_db
def test_connecting_again_replaces_credentials_and_session() -> None:
    """The old session belongs to the old credentials."""
    tenant = make_tenant()
    tenant.client.post(URL, body())
    account = BrokerAccount.objects.get()
    account.token_expires_at = clock.now()
    account.access_token = sealed = sealed_credentials.seal(account, "access_token", "today")
    account.save()
    assert tenant.client.post(URL, body()).status_code == 200
    account.refresh_from_db()
    assert account.access_token == sealed  # nothing changed, so the session holds
    assert tenant.client.post(URL, body(api_secret="another")).status_code == 200
    account.refresh_from_db()
    assert account.access_token == ""
    assert credentials_of(account).api_secret == "another"
    assert BrokerAccount.objects.count() == 1


@pytest.mark.django_db
def test_a_taken_client_id_leaves_no_customer_behind() -> None:
    tenant = make_tenant()
    tenant.client.post(URL, body())
    answer = tenant.client.post(URL, body(user_email="ravi@example.com", client_id="Z56004 "))
    assert (answer.status_code, answer.json()["code"]) == (409, "client_id_taken")
    assert not Customer.objects.filter(email="ravi@example.com").exists()
    other = make_tenant()
    assert other.client.post(URL, body(user_email="ravi@example.com")).status_code == 201


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"broker_name": "icici"}, "broker_name"),
        ({"broker_name": "paper"}, "broker_name"),
        ({"broker_name": 7}, "broker_name"),
        ({"client_id": "Z 1"}, "client_id"),
        ({"client_id": "Z'--"}, "client_id"),
        ({"client_id": ""}, "client_id"),
        ({"client_id": "Z" * 41}, "client_id"),
        ({"api_key": "a b"}, "api_key"),
        ({"api_key": "a\r\nX-Evil: 1"}, "api_key"),
        ({"api_secret": "é"}, "api_secret"),
        ({"api_secret": None}, "api_secret"),
        ({"user_email": "nobody"}, "user_email"),
        ({"password": "hunter2"}, "password"),
        ({"PIN": "1234"}, "PIN"),
        ({"totp": "123456"}, "totp"),
        ({"surprise": 1}, "surprise"),
    ],
    ids=str,
)
@pytest.mark.django_db
def test_bad_input_is_refused_by_name_and_changes_nothing(
    changes: dict[str, Any], field: str
) -> None:
    answer = make_tenant().client.post(URL, body(**changes))
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert field in answer.json()["details"]
    assert b"hunter2" not in answer.content
    assert not BrokerAccount.objects.exists()
    assert not Customer.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_parallel_connects_make_one_account() -> None:
    partner, threads = make_partner(), 6
    customers = [make_customer(partner) for _ in range(threads)]
    barrier = threading.Barrier(threads)

    def connect(number: int) -> object:
        barrier.wait()
        try:
            return connect_account(
                customer=customers[number],
                broker="zebu",
                client_id="Z1",
                api_key=f"k{number}",
                api_secret="s",
                actor=SYSTEM,
                now=clock.now(),
            )
        except ClientIdTaken as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(threads) as pool:
        results = list(pool.map(connect, range(threads)))
    assert sum(isinstance(result, ClientIdTaken) for result in results) == threads - 1
    assert BrokerAccount.objects.count() == 1


# -- read ------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_list_and_show(django_assert_num_queries: Any) -> None:
    tenant = make_tenant()
    asha = make_customer(tenant.partner, "asha@example.com")
    for number in range(3):
        make_account(asha, client_id=f"A{number}", logged_in=number == 0)
    make_account(make_customer(tenant.partner, "ravi@example.com"), "zerodha", "R1")
    tenant.client.get(URL)  # warm: the verified secret is remembered
    with django_assert_num_queries(3):  # the key with its secrets, count, rows with customers
        answer = tenant.client.get(URL, {"per_page": 2})
    assert answer.json()["pagination"] == {"total": 4, "page": 1, "per_page": 2}
    assert [row["client_id"] for row in answer.json()["broker_accounts"]] == ["R1", "A2"]
    mine = tenant.client.get(URL, {"user_email": "Asha@Example.com"}).json()
    assert [row["client_id"] for row in mine["broker_accounts"]] == ["A2", "A1", "A0"]
    assert tenant.client.get(URL, {"broker_name": "zerodha"}).json()["pagination"]["total"] == 1
    assert tenant.client.get(URL, {"user_email": "x@y.in"}).json()["broker_accounts"] == []
    shown = tenant.client.get(f"{URL}/a0").json()["broker_account"]
    assert (shown["has_oauth_token"], shown["ready_for_trading"]) == (True, True)
    assert shown["token_expires_at"] is not None


@pytest.mark.parametrize("query", [{"surprise": "1"}, {"user_email": "x\0"}, {"broker_name": "x"}])
@pytest.mark.django_db
def test_a_bad_query_is_400(query: dict[str, str]) -> None:
    answer = make_tenant().client.get(URL, query)
    assert answer.status_code == 400
    assert next(iter(query)) in answer.json()["details"]


@pytest.mark.django_db
def test_a_client_id_at_two_brokers_needs_the_brokers_name() -> None:
    tenant = make_tenant()
    customer = make_customer(tenant.partner)
    make_account(customer, "zebu", "AB1")
    make_account(customer, "zerodha", "AB1")
    answer = tenant.client.get(f"{URL}/AB1")
    assert (answer.status_code, answer.json()["code"]) == (409, "ambiguous_client_id")
    named = tenant.client.get(f"{URL}/AB1?broker_name=zebu")
    assert named.json()["broker_account"]["broker_name"] == "zebu"


@pytest.mark.django_db
def test_strangers_see_the_same_404_as_for_an_unknown_account() -> None:
    tenant = make_tenant()
    account = make_account(make_customer(tenant.partner))
    for stranger in strangers(tenant):
        for method, path, payload in (
            ("get", f"{URL}/{{}}", None),
            ("delete", f"{URL}/{{}}", None),
            ("post", f"{URL}/{{}}/oauth/initiate", {"user_email": account.customer.email}),
            (
                "post",
                f"{URL}/{{}}/oauth/callback",
                {"user_email": account.customer.email, "request_token": "x", "state": "y"},
            ),
        ):
            call = getattr(stranger.client, method)
            theirs = call(path.format(account.client_id), payload)
            unknown = call(path.format("NOBODY1"), payload)
            odd = call(path.format("%00'"), payload)
            bodies = []
            for answer in (theirs, unknown, odd):
                assert answer.status_code == 404
                bodies.append({k: v for k, v in answer.json().items() if k != "request_id"})
            assert bodies[0] == bodies[1] == bodies[2]
        assert stranger.client.get(URL).json()["pagination"]["total"] == 0
    account.refresh_from_db()
    assert account.status == "enabled"


@pytest.mark.django_db
def test_permissions_are_per_method() -> None:
    partner = make_partner()
    make_account(make_customer(partner), client_id="A1")
    reader = partner_client(make_key(partner, permissions=[permissions.BROKER_ACCOUNTS_READ]))
    assert reader.get(f"{URL}/A1").status_code == 200
    for answer in (reader.post(URL, body()), reader.delete(f"{URL}/A1")):
        assert answer.status_code == 403
        assert "broker_accounts:write" in answer.json()["message"]


# -- the customer himself --------------------------------------------------------------------
@pytest.mark.django_db
def test_a_customer_manages_his_own_accounts_only() -> None:
    partner = make_partner()
    asha, ravi = make_customer(partner), make_customer(partner)
    make_account(ravi, client_id="R1")
    client = customer_client(asha)
    data = {k: v for k, v in body().items() if not k.startswith("user_")}
    created = client.post("/user/broker-accounts", data)
    assert created.status_code == 201
    assert created.json()["broker_account"]["user_id"] == asha.public_id
    rows = client.get("/user/broker-accounts").json()["broker_accounts"]
    assert [row["client_id"] for row in rows] == ["Z56004"]
    assert client.get("/user/broker-accounts/R1").status_code == 404
    assert client.delete("/user/broker-accounts/R1").status_code == 404
    assert client.post("/user/broker-accounts", data | {"client_id": "R1"}).status_code == 409
    assert client.post("/user/broker-accounts", data | {"mpin": "1"}).status_code == 400
    assert client.delete("/user/broker-accounts/z56004").status_code == 200
    assert client.get(URL).status_code == 401


# -- remove ----------------------------------------------------------------------------------
@pytest.mark.django_db
def test_removing_erases_at_once_and_the_client_id_can_come_back() -> None:
    tenant = make_tenant()
    account = make_account(make_customer(tenant.partner), client_id="A1", logged_in=True)
    answer = tenant.client.delete(f"{URL}/A1")
    assert answer.status_code == 200
    assert answer.json()["credentials_erased"] is True
    account.refresh_from_db()
    assert account.status == "removed"
    assert account.api_key == account.api_secret == account.access_token == ""
    assert tenant.client.get(f"{URL}/A1").status_code == 404
    assert tenant.client.delete(f"{URL}/A1").status_code == 404
    again = tenant.client.post(URL, body(client_id="A1"))
    assert again.status_code == 201
    assert BrokerAccount.objects.count() == 2


class Positions:
    """An execution room with one open position."""

    def __init__(self) -> None:
        self.asked: list[bool] = []
        self.unlinked: list[int] = []

    def __call__(self, account_id: int, *, exit_now: bool, now: Any) -> RemovalEffect:
        self.asked.append(exit_now)
        if not exit_now:
            raise OpenPositions
        return RemovalEffect(next_entry_affected=False, deferred=True)


@pytest.mark.django_db
def test_open_positions_prevent_a_removal_without_exit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = Positions()
    monkeypatch.setattr(ACCOUNT_REMOVAL, "_implementation", room)

    def unlink(account_id: int, *, now: Any) -> None:
        room.unlinked.append(account_id)

    monkeypatch.setattr(ACCOUNT_UNLINK, "_items", [unlink])
    tenant = make_tenant()
    account = make_account(make_customer(tenant.partner), client_id="A1", logged_in=True)
    refused = tenant.client.delete(f"{URL}/A1")
    assert (refused.status_code, refused.json()["code"]) == (409, "open_positions")
    assert tenant.client.delete(f"{URL}/A1?open_positions=LATER").status_code == 400
    begun = tenant.client.delete(f"{URL}/A1?open_positions=EXIT_NOW")
    assert begun.json()["credentials_erased"] is False
    assert begun.json()["next_entry_affected"] is False
    account.refresh_from_db()
    assert account.access_token  # the exit still needs it
    shown = tenant.client.get(f"{URL}/A1").json()["broker_account"]
    assert (shown["ready_for_trading"], shown["not_ready_reason"]) == (False, "removal_requested")
    assert set(room.unlinked) == {account.pk}  # nothing new enters while the last exit runs
    assert finish_removal(account_id=account.pk, actor=SYSTEM, now=clock.now())
    assert not finish_removal(account_id=account.pk, actor=SYSTEM, now=clock.now())
    account.refresh_from_db()
    assert (account.status, account.access_token) == ("removed", "")


# -- services --------------------------------------------------------------------------------
@pytest.mark.django_db
def test_an_account_may_get_its_credentials_later() -> None:
    customer, now = make_customer(make_partner()), clock.now()
    linked = ensure_account(customer=customer, broker="zebu", client_id="z1", actor=SYSTEM, now=now)
    assert linked.status == "needs_credentials"
    again = ensure_account(customer=customer, broker="ZEBU", client_id="Z1", actor=SYSTEM, now=now)
    assert again.pk == linked.pk
    make_account(customer, client_id="Z1")
    linked.refresh_from_db()
    assert linked.status == "enabled"
    direct = make_customer(None)  # another tenant may know the same client id
    ensure_account(customer=direct, broker="zebu", client_id="Z1", actor=SYSTEM, now=now)
    sibling = make_customer(Partner.objects.get())
    with pytest.raises(ClientIdTaken):
        ensure_account(customer=sibling, broker="zebu", client_id="Z1", actor=SYSTEM, now=now)


@pytest.mark.django_db
def test_switching_off_and_on_is_told_once() -> None:
    account, now = make_account(make_customer(make_partner())), clock.now()
    for _ in range(2):
        disable_account(account=account, actor=SYSTEM, now=now)
    assert account.status == "disabled"
    enable_account(account=account, actor=SYSTEM, now=now)
    assert account.status == "enabled"
    actions = AuditEntry.objects.filter(target_type="broker_account").values_list("action")
    assert sorted(name for (name,) in actions) == [
        "broker_account.connected",
        "broker_account.disabled",
        "broker_account.enabled",
    ]


@pytest.mark.django_db
@pytest.mark.parametrize("client_id", ["straße", "ﬁx1", "zſ01", "ıd1", "\u212a1"])
def test_a_client_id_that_only_folds_to_ascii_is_refused(client_id: str) -> None:
    """Bug: straße, ﬁx1, zſ01 and ıd1 became STRASSE, FIX1, ZS01 and ID1, which are others'."""
    answer = make_tenant().client.post(URL, body(client_id=client_id))
    assert answer.status_code == 400
    assert "A to Z" in answer.json()["details"]["client_id"]
    assert not BrokerAccount.objects.exists()


@pytest.mark.django_db
def test_the_database_takes_no_client_id_in_another_spelling() -> None:
    account = make_account(make_customer(make_partner()))
    with pytest.raises(IntegrityError, match="account_client_id_ascii"):
        BrokerAccount.objects.filter(pk=account.pk).update(client_id="zſ01")
