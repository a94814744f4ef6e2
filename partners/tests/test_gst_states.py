"""GST state codes: dated, one list for the API, the console and billing."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from partners.customers import change_billing_details
from partners.gst_states import STATES, in_force, name_of, place_of_supply, refusal
from partners.identity import find_or_create_customer
from partners.models import Customer, Partner
from partners.services import create_partner
from partners.tests.factories import make_customer, make_key, make_partner, partner_client
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.errors import InvalidRequest, NotFound
from quantleap.core.models import AuditEntry

TODAY = dt.date(2026, 8, 4)


def test_37_codes_are_in_force_and_no_name_stands_twice() -> None:
    assert len(in_force(TODAY)) == len(set(in_force(TODAY).values())) == 37


@pytest.mark.parametrize("code", ["00", "25", "28", "39", "96", "98", "99", "KA", "2", ""])
def test_what_is_no_recipients_state_is_refused_with_the_list(code: str) -> None:
    words = refusal(code, TODAY)
    assert words.startswith("Not a GST state code in force")
    for known in ("01 Jammu and Kashmir", "37 Andhra Pradesh", "97 Other Territory"):
        assert known in words
    assert place_of_supply(TODAY, state=code) is None


def test_the_list_is_dated() -> None:
    before, after = dt.date(2020, 1, 25), dt.date(2020, 1, 26)
    assert in_force(before)["25"] == "Daman and Diu"
    assert in_force(before)["26"] == "Dadra and Nagar Haveli"
    assert "25" not in in_force(after)
    assert in_force(after)["26"] == "Dadra and Nagar Haveli and Daman and Diu"
    assert "38" not in in_force(dt.date(2019, 10, 30))
    assert in_force(dt.date(2019, 10, 31))["38"] == "Ladakh"
    for day in (before, after, TODAY):
        codes = [state.code for state in STATES if state.first <= day <= state.last]
        assert len(codes) == len(set(codes))


def test_an_old_invoice_still_finds_its_states_name() -> None:
    assert (name_of("25"), name_of("33"), name_of("28")) == ("Daman and Diu", "Tamil Nadu", "28")


def test_place_of_supply_is_the_gstins_or_customers_state() -> None:
    assert place_of_supply(TODAY, state="27") == "27"
    assert place_of_supply(TODAY, state="27", gstin="29AAACQ4821D1ZK") == "29"
    assert place_of_supply(TODAY, state="27", gstin="99AAACQ4821D1ZK") is None
    assert place_of_supply(TODAY, state="") is None, "nothing is guessed"
    assert place_of_supply(dt.date(2020, 1, 25), state="25") == "25"
    assert place_of_supply(TODAY, state="25") is None, "no state any more"


@pytest.mark.django_db
@pytest.mark.parametrize("code", ["00", "28", "99", "TN"])
def test_no_front_door_takes_such_a_state(code: str) -> None:
    with pytest.raises(InvalidRequest, match="Not a GST state code in force"):
        find_or_create_customer(
            partner_id=None, environment="live", email="a@example.com", state=code, now=clock.now()
        )
    assert not Customer.objects.exists()
    with pytest.raises(ValidationError, match="Not a GST state code in force"):
        create_partner(
            slug="zz", name="Z", default_broker="zebu", default_state=code, actor=SYSTEM,
            now=clock.now(),
        )  # fmt: skip


@pytest.mark.django_db
def test_the_default_state_tn_was_taken_by_the_table() -> None:
    """Whatever door somebody finds: a state is two digits, or nothing."""
    partner = make_partner()
    for model, column, name in (
        (Partner, "default_state", "partner_state_digits"),
        (Customer, "state", "customer_state_digits"),
    ):
        make_customer(partner)
        for hostile in ("TN", "3", " 3", "3\n", "\u0663\u0663", "';"):
            with pytest.raises(IntegrityError, match=name), transaction.atomic():
                model.objects.update(**{column: hostile})
        model.objects.update(**{column: "33"})


@pytest.mark.django_db
@pytest.mark.parametrize("code", ["TN", "28", "\u0663\u0663", "3", "333"])
def test_no_route_takes_such_a_state(code: str) -> None:
    client = partner_client(make_key(make_partner()))
    who = {"user_email": "a@example.com", "user_state": code}
    account = {"broker_name": "zebu", "client_id": "Z1", "api_key": "k", "api_secret": "s"}
    for route, body in (
        ("/partner/user-tokens", who),
        ("/partner/broker-accounts", {**who, **account}),
        ("/partner/marketplace/subscribe", {**who, "template_id": "x", "broker_client_id": "Z1"}),
    ):
        answer = client.post(route, body)
        assert (answer.status_code, list(answer.json()["details"])) == (400, ["user_state"]), route
    assert not Customer.objects.exists()


@pytest.mark.django_db
def test_three_routes_fill_a_missing_state() -> None:
    """None of them replaces a state."""
    partner = make_partner()
    client = partner_client(make_key(partner))
    customer = make_customer(partner, "a@example.com", state="28")
    mail = {"user_email": "a@example.com"}
    minted = client.post("/partner/user-tokens", {**mail, "user_state": "37"})
    customer.refresh_from_db()
    assert (minted.status_code, customer.state) == (201, "37"), "28 is nobody's state any more"
    account = {"broker_name": "zebu", "client_id": "Z1", "api_key": "k", "api_secret": "s"}
    client.post("/partner/broker-accounts", {**mail, **account, "user_state": "27"})
    customer.refresh_from_db()
    assert customer.state == "37"
    make_customer(partner, "b@example.com", state="")
    done = client.post(
        "/partner/broker-accounts",
        {**account, "client_id": "Z2", "user_email": "b@example.com", "user_state": "27"},
    )
    assert done.status_code == 201, done.content
    assert Customer.objects.get(email="b@example.com").state == "27"


@pytest.mark.django_db
def test_a_wrong_state_is_changed_with_a_reason_and_written_down() -> None:
    customer = make_customer(make_partner(), state="27")
    arguments: dict[str, Any] = {"customer_id": customer.pk, "actor": SYSTEM, "now": clock.now()}
    address = " 4, Anna Salai \n\n Chennai 600002 "
    assert change_billing_details(
        **arguments, state="33", billing_address=address, reason="Moved in July"
    )
    customer.refresh_from_db()
    assert (customer.state, customer.billing_address) == ("33", "4, Anna Salai\nChennai 600002")
    assert not change_billing_details(
        **arguments, state="33", billing_address=customer.billing_address, reason="Once more"
    )
    entry = AuditEntry.objects.get(action="customer.billing_details_changed")
    assert entry.target_id == customer.public_id
    assert entry.data == {
        "state": ["27", "33"], "address_changed": True, "reason": "Moved in July",
    }  # fmt: skip
    assert "Salai" not in str(entry.data), "an address cannot be erased from history"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"state": "28"}, "state"),
        ({"reason": " "}, "reason"),
        ({"billing_address": "x" * 401}, "billing_address"),
        ({"billing_address": "a\nb\nc\nd\ne\nf\ng"}, "billing_address"),
        ({"billing_address": "a\u202eb"}, "billing_address"),
    ],
)
def test_what_cannot_stand_on_an_invoice_is_refused(change: dict[str, str], field: str) -> None:
    customer = make_customer(make_partner(), state="27")
    details = {"state": "33", "billing_address": "", "reason": "Moved", **change}
    with pytest.raises(InvalidRequest) as refused:
        change_billing_details(customer_id=customer.pk, actor=SYSTEM, now=clock.now(), **details)
    assert list(refused.value.details) == [field]
    customer.refresh_from_db()
    assert customer.state == "27"
    with pytest.raises(NotFound):
        change_billing_details(
            customer_id=0, state="33", billing_address="", reason="x", actor=SYSTEM, now=clock.now()
        )
