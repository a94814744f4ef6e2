"""The list of receipts as a file: to compare with a bank's statement."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from marketplace.tests.factories import make_template
from partners.tests.factories import make_partner
from quantleap.core.admin import exports
from quantleap.core.models import AuditEntry, StaffUser
from subscriptions.billing.models import Invoice, Receipt
from subscriptions.billing.tests.factories import START, bill, bounce, follow, receive

LIST = "/admin/billing/receipt/"
FILE = f"{LIST}export/"


@pytest.fixture
def invoices(console: Client) -> list[Invoice]:
    follow(make_template(), make_partner("zebu"), [START] * 3)
    bill(START)
    return list(Invoice.objects.order_by("id"))


def rows(answer: Any) -> list[dict[str, str]]:
    assert answer.status_code == 200
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))


def test_the_file_has_what_the_list_is_filtered_by(
    console: Client, invoices: list[Invoice]
) -> None:
    first, second, third = invoices
    receipt = receive({first: first.total, second: second.total}, amount=first.total * 3)
    bounced = receive({third: third.total}, method="UPI", reference="U 1")
    bounce(bounced, START + dt.timedelta(days=1))
    answer = console.get(FILE)
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    name = answer.headers["Content-Disposition"]
    assert re.fullmatch(r'attachment; filename="receipts-\d{4}-\d\d-\d\d\.csv"', name)
    newest, oldest = rows(answer)
    assert (newest["receipt"], newest["standing"], newest["reversed_on"]) == (
        str(bounced), "Reversed", "2026-02-01",
    )  # fmt: skip
    assert oldest == {
        "receipt": str(receipt),
        "received_on": "2026-01-31",
        "rail": "BANK_TRANSFER",
        "reference": receipt.reference,
        "amount": "3536.46",
        "left_as_credit": "1178.82",
        "currency": "INR",
        "customer": first.customer.public_id,
        "customer_email": first.customer.email,
        "payer_on_statement": "",
        "partner": "zebu",
        "environment": "live",
        "invoices": f"{first.number} 1178.82; {second.number} 1178.82",
        "standing": "",
        "reversed_on": "",
        "recorded_on": "2026-01-31",
        "recorded_by": "system",
        "note": "",
    }
    assert [row["receipt"] for row in rows(console.get(f"{FILE}?method=UPI"))] == [str(bounced)]
    assert [row["receipt"] for row in rows(console.get(f"{FILE}?q={first.number}"))] == [
        str(receipt)
    ]
    assert rows(console.get(f"{FILE}?q=--")) == []


def test_the_button_takes_the_filters_along(console: Client, invoices: list[Invoice]) -> None:
    shown = console.get(f"{LIST}?method=UPI&q=asha&p=1").content.decode()
    assert re.search(rf'href="{FILE}\?[^"]*method=UPI', shown)
    assert re.search(rf'href="{FILE}\?[^"]*q=asha', shown)
    assert f'href="{FILE}?"' in console.get(LIST).content.decode()


def test_a_text_that_a_spreadsheet_would_calculate_is_a_text(
    console: Client, invoices: list[Invoice]
) -> None:
    receive(
        {invoices[0]: invoices[0].total}, reference="=1+1",
        payer_name="@SUM(A1)", note="-2+3", customer_id=None,
    )  # fmt: skip
    (row,) = rows(console.get(FILE))
    assert (row["reference"], row["payer_on_statement"], row["note"]) == (
        "'=1+1", "'@SUM(A1)", "'-2+3",
    )  # fmt: skip
    assert row["amount"] == "1178.82"


def test_too_many_rows_are_no_half_file(
    console: Client, invoices: list[Invoice], monkeypatch: pytest.MonkeyPatch
) -> None:
    for invoice in invoices:
        receive({invoice: invoice.total})
    monkeypatch.setattr(exports, "MOST_EXPORTED", 2)
    answer = console.get(f"{FILE}?method=BANK_TRANSFER", follow=True)
    assert answer.redirect_chain[0][0] == f"{LIST}?method=BANK_TRANSFER"
    assert "One file holds at most 2 rows" in answer.content.decode()
    assert not AuditEntry.objects.filter(action="list.exported").exists()
    monkeypatch.setattr(exports, "MOST_EXPORTED", 3)
    assert len(rows(console.get(FILE))) == 3


def test_a_file_is_in_the_audit_without_what_was_searched_for(
    console: Client, invoices: list[Invoice]
) -> None:
    receive({invoices[0]: invoices[0].total})
    console.get(f"{FILE}?q={invoices[0].customer.email}&method=BANK_TRANSFER")
    entry = AuditEntry.objects.get(action="list.exported")
    assert (entry.actor_id, entry.target_type) == ("staff", "receipt")
    assert entry.data == {"filters": {"method": "BANK_TRANSFER"}, "searched": True, "rows": 1}


def test_whoever_may_only_look_takes_no_file_along(
    console: Client, invoices: list[Invoice]
) -> None:
    look, take = "view_receipt", "export_receipt"
    for rights, status in (([look], 403), ([take], 403), ([look, take], 200)):
        clerk = StaffUser.objects.create_user("-".join(rights), is_staff=True)
        clerk.user_permissions.set(Permission.objects.filter(codename__in=rights))
        console.force_login(clerk)
        assert console.get(FILE).status_code == status, rights
        if look in rights:
            assert (FILE in console.get(LIST).content.decode()) == (status == 200)


def test_an_address_that_no_list_knows_leads_to_the_list(console: Client) -> None:
    answer = console.get(f"{FILE}?method__nonsense=1", follow=True)
    assert "so it shows all rows." in answer.content.decode()


def test_a_file_asks_as_often_however_long_it_is(console: Client, invoices: list[Invoice]) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            assert len(rows(console.get(FILE))) == Receipt.objects.count()
        return len(seen)

    receive({invoices[0]: invoices[0].total})
    queries()  # what is looked up once
    few = queries()
    for invoice in invoices[1:]:
        receive({invoice: invoice.total})
    assert queries() == few
