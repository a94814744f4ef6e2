"""GST state codes: dated, one list for the API, the console and billing."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from partners.customers import change_billing_details
from partners.identity import find_or_create_customer
from partners.models import Customer
from partners.services import create_partner
from partners.states import STATES, in_force, name_of, refusal, state_of
from partners.tests.factories import make_customer, make_partner
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
    assert state_of(code, "", TODAY) is None


def test_the_list_is_dated() -> None:
    before, after = dt.date(2020, 1, 25), dt.date(2020, 1, 26)
    assert in_force(before)["25"] == "Daman and Diu"
    assert in_force(before)["26"] == "Dadra and Nagar Haveli"
    assert "25" not in in_force(after)
    assert in_force(after)["26"] == "Dadra and Nagar Haveli and Daman and Diu"
    assert "38" not in in_force(dt.date(2019, 10, 30))
    assert in_force(dt.date(2019, 10, 31))["38"] == "Ladakh"
    for day in (before, after, TODAY):
        codes = [one.code for one in STATES if one.first <= day <= one.last]
        assert len(codes) == len(set(codes))


def test_an_old_invoice_still_finds_its_states_name() -> None:
    assert (name_of("25"), name_of("33"), name_of("28")) == ("Daman and Diu", "Tamil Nadu", "28")


def test_place_of_supply_is_the_customers_else_the_partners() -> None:
    assert state_of("27", "33", TODAY) == "27"
    assert state_of("", "33", TODAY) == "33"
    assert state_of("28", "33", TODAY) is None, "nothing is guessed"


@pytest.mark.django_db
@pytest.mark.parametrize("code", ["00", "28", "99"])
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
def test_a_wrong_state_is_changed_with_a_reason_and_written_down() -> None:
    customer = make_customer(make_partner(), state="27")
    wanted: dict[str, Any] = {"customer_id": customer.pk, "actor": SYSTEM, "now": clock.now()}
    address = " 4, Anna Salai \n\n Chennai 600002 "
    assert change_billing_details(
        **wanted, state="33", billing_address=address, reason="Moved in July"
    )
    customer.refresh_from_db()
    assert (customer.state, customer.billing_address) == ("33", "4, Anna Salai\nChennai 600002")
    assert not change_billing_details(
        **wanted, state="33", billing_address=customer.billing_address, reason="Once more"
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
    wanted = {"state": "33", "billing_address": "", "reason": "Moved", **change}
    with pytest.raises(InvalidRequest) as refused:
        change_billing_details(customer_id=customer.pk, actor=SYSTEM, now=clock.now(), **wanted)
    assert list(refused.value.details) == [field]
    customer.refresh_from_db()
    assert customer.state == "27"
    with pytest.raises(NotFound):
        change_billing_details(
            customer_id=0, state="33", billing_address="", reason="x", actor=SYSTEM, now=clock.now()
        )
