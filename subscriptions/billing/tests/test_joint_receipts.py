"""One transfer for several customers' invoices, in the console: chosen, summed, asked about."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from marketplace.models import Template
from marketplace.tests.factories import make_template
from partners.models import Partner
from partners.tests.factories import make_customer, make_partner
from quantleap.core.models import AuditEntry, StaffUser
from quantleap.core.tests.confirming import confirm, seal_of
from subscriptions.billing.admin import joint_receipts
from subscriptions.billing.ledger import checks
from subscriptions.billing.models import Invoice, Receipt
from subscriptions.billing.settlement import customer_credit
from subscriptions.billing.tests.factories import START, bill, bounce, follow, noon, pay, receive
from subscriptions.periods import add_months

TOTAL = Decimal("1178.82")
PAGE = "/admin/billing/receipt/record-joint/"
MONEY = {"method": "BANK_TRANSFER", "reference": "UTR 6123", "received_on": START.isoformat()}


def text(answer: Any) -> str:
    return str(answer.content.decode())


def page_for(*invoices: Invoice) -> str:
    return f"{PAGE}?invoices={','.join(invoice.number for invoice in invoices)}"


def parts(**amounts: str) -> dict[str, str]:
    """What is typed beside the invoices; the names of arguments are ``i`` and their keys."""
    return {f"invoice_{name[1:]}": amount for name, amount in amounts.items()}


def whole(*invoices: Invoice) -> dict[str, str]:
    return {f"invoice_{invoice.pk}": str(TOTAL) for invoice in invoices}


@pytest.fixture
def partner(console: Client) -> Partner:
    return make_partner("zebu")


@pytest.fixture
def template(console: Client) -> Template:
    return make_template()


@pytest.fixture
def three(template: Template, partner: Partner) -> list[Invoice]:
    """An invoice for each of three customers of one partner."""
    follow(template, partner, [START] * 3)
    bill(START)
    return list(Invoice.objects.order_by("id"))


def errors_of(answer: Any) -> dict[str, str]:
    return {name: str(words[0]) for name, words in answer.context["form"].errors.items()}


def test_one_utr_for_three_customers_is_one_act(console: Client, three: list[Invoice]) -> None:
    """There was a service for it and no page: staff recorded one of the three, or three UTRs."""
    listed = text(console.get(reverse("admin:billing_receipt_changelist")))
    assert PAGE in listed
    typed = "\n".join(invoice.number.lower() for invoice in reversed(three))
    chosen = console.post(PAGE, {"confirm": "yes", "invoices": typed})
    assert chosen.status_code == 302
    asked = text(console.get(chosen["Location"]))
    assert "3 invoices of 3 customers of zebu (live): ₹3,536.46 are owed." in asked
    for invoice in three:
        assert f"For {invoice.number}, {invoice.customer}" in asked
        assert f'name="invoice_{invoice.pk}" value="1178.82"' in asked
    payer = three[0].customer
    body = {**MONEY, **whole(*three), "amount": "4000.00", "payer": payer.email.upper()}
    once = confirm(console, chosen["Location"], body)
    figures = dict(once.context["figures"])
    assert figures["Received"] == "₹4,000.00 on 31 Jan 2026"
    assert figures["By"] == "Bank transfer UTR 6123"
    assert figures["Customer who paid"] == payer.email
    assert figures[f"{three[1].number}, {three[1].customer}"] == "₹1,178.82"
    assert figures["3 invoices together"] == "₹3,536.46"
    assert figures[f"Credit of {payer}"] == "₹463.54"
    assert not Receipt.objects.exists()
    done = confirm(console, chosen["Location"], {**body, "again": "yes"}, follow=True)
    receipt = Receipt.objects.get()
    said = (
        f"₹4,000.00 are recorded as {receipt}, for 3 invoices. ₹463.54 are the credit of {payer}."
    )
    assert said in text(done)
    assert [invoice.status for invoice in Invoice.objects.all()] == ["PAID"] * 3
    assert customer_credit.available(payer) == Decimal("463.54")
    assert receipt.customer == payer
    entry = AuditEntry.objects.get(action="receipt.recorded")
    assert (entry.actor_id, len(entry.data["invoices"])) == ("staff", 3)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    assert checks.check_ledger(now=noon(START)).findings == []


def test_somebody_who_is_no_customer_pays_by_name(console: Client, three: list[Invoice]) -> None:
    first, second, third = three
    body = {
        **MONEY, **whole(first), **parts(**{f"i{second.pk}": "500.00", f"i{third.pk}": ""}),
        "amount": "1678.82", "payer_name": "Zebu Securities Ltd", "note": "advice of 31 Jan",
    }  # fmt: skip
    once = confirm(console, page_for(*three), body)
    figures = dict(once.context["figures"])
    assert figures[f"{second.number}, {second.customer}"] == "₹500.00 of ₹1,178.82"
    assert figures["2 invoices together"] == figures["Received"].split(" on ")[0] == "₹1,678.82"
    assert figures["Left"] == "₹0.00"
    assert f"{third.number}, {third.customer}" not in figures
    confirm(console, page_for(*three), {**body, "again": "yes"})
    receipt = Receipt.objects.get()
    assert (receipt.customer, receipt.payer_name, receipt.note) == (
        None, "Zebu Securities Ltd", "advice of 31 Jan",
    )  # fmt: skip
    paid = list(Invoice.objects.order_by("id").values_list("status", "paid"))
    assert paid == [("PAID", TOTAL), ("PARTLY_PAID", Decimal(500)), ("DUE", Decimal(0))]
    assert "Zebu Securities Ltd" in text(console.get(f"{PAGE.rsplit('/', 2)[0]}/"))


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"amount": "3536.45"}, "amount", "The invoices get ₹3,536.46; only ₹3,536.45 came."),
        ({"amount": "4000.00"}, "payer", "₹463.54 are left: name the customer whose credit"),
        ({"payer_name": ""}, "payer_name", "Name the customer who paid"),
        ({"payer": "nobody@example.com"}, "payer", "No customer of zebu (live)"),
        ({"payer": "usr_nobody"}, "payer", "No customer of zebu (live)"),
        ({"payer": "nobody"}, "payer", "Write it as name@example.com."),
        ({"first": "1178.83"}, "first", "owes ₹1,178.82; ₹1,178.83 is more."),
        ({"first": "", "second": "", "third": ""}, "amount", "Say beside the invoices what each"),
        ({"reference": "--"}, "reference", "no letter and no digit"),
        ({"received_on": "2099-01-01"}, "received_on", "Not after today"),
    ],
    ids=[
        "too little", "left of nobody's", "nobody paid", "no such customer", "no such id",
        "no address", "more than owed", "nobody gets", "no reference", "tomorrow",
    ],
)  # fmt: skip
def test_what_cannot_be_stands_beside_its_field(
    console: Client, three: list[Invoice], change: dict[str, str], field: str, words: str
) -> None:
    names = dict(zip(("first", "second", "third"), whole(*three), strict=True))
    body = {
        **MONEY, **whole(*three), "amount": "3536.46", "payer_name": "A father",
        "note": "by phone", **{names.get(name, name): value for name, value in change.items()},
    }  # fmt: skip
    answer = confirm(console, page_for(*three), {**body, "again": "yes"})
    assert answer.status_code == 400
    assert words in errors_of(answer)[names.get(field, field)]
    assert 'value="by phone"' in text(answer), "nothing typed is lost"
    assert not Receipt.objects.exists()


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", "This field is required."),
        (", ;", "Name at least one invoice."),
        ("INV-none, {first}", "Nothing is known by this: INV-NONE."),
        ("{first} nobody@example.com usr_none", "by this: nobody@example.com, usr_none."),
        ("{paid}", "Nothing is owed on {paid}."),
        ("{email}", "Nothing is owed by {email}."),
        ("{first} {other}", "They are of kotak (live) and zebu (live)."),
    ],
    ids=["empty", "no number", "unknown", "nobody", "paid", "who owes nothing", "of two partners"],
)
def test_what_is_no_choice_is_said(
    console: Client, template: Template, three: list[Invoice], typed: str, words: str
) -> None:
    follow(template, make_partner("kotak"), [START])
    bill(START)
    other = Invoice.objects.latest("id")
    pay(three[2], TOTAL)
    named = {"first": three[0].number, "paid": three[2].number, "other": other.number}
    named["email"] = three[2].customer.email
    for answer in (
        console.post(PAGE, {"confirm": "yes", "invoices": typed.format(**named)}),
        console.get(PAGE, {"invoices": typed.format(**named)}),
    ):
        assert answer.status_code == 400
        assert words.format(**named) in errors_of(answer)["invoices"]


def test_a_customer_stands_for_all_that_they_owe(
    console: Client, three: list[Invoice], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = three
    bill(add_months(START, 1))
    pay(second, TOTAL)
    typed = f"{first.customer.email.upper()}\n{second.customer.public_id}, {third.number}"
    chosen = console.post(PAGE, {"confirm": "yes", "invoices": typed})
    owing = Invoice.objects.filter(customer__in=[first.customer, second.customer], status="DUE")
    names = {*owing.values_list("number", flat=True), third.number}
    assert len(names) == 4
    assert set(chosen["Location"].partition("invoices=")[2].split("%2C")) == names
    monkeypatch.setattr(joint_receipts, "MOST", 3)
    refused = console.post(PAGE, {"confirm": "yes", "invoices": typed})
    assert "At most 3 invoices; these are more." in errors_of(refused)["invoices"]


def test_the_same_utr_once_more_is_refused_by_its_receipt(
    console: Client, three: list[Invoice]
) -> None:
    first, second, third = three
    receipt = receive({first: TOTAL}, reference="UTR-6123")
    body = {**MONEY, **whole(second, third), "amount": "2357.64", "payer_name": "A father"}
    answer = confirm(console, page_for(second, third), {**body, "again": "yes"})
    assert f"is receipt {receipt}: ₹1,178.82 received" in errors_of(answer)["reference"]
    assert Receipt.objects.count() == 1


def test_other_figures_than_those_asked_about_are_asked_again(
    console: Client, three: list[Invoice]
) -> None:
    url = page_for(*three)
    body = {"confirm": "yes", **MONEY, **whole(*three), "amount": "3536.46", "payer_name": "A."}
    asked = console.post(url, body)
    other = {**body, **parts(**{f"i{three[0].pk}": "1178.00"}), "payer": three[0].customer.email}
    answer = console.post(url, {**other, "again": "yes", "seal": seal_of(asked)})
    assert answer.status_code == 409
    assert answer.context["ask_again"]
    assert not Receipt.objects.exists()
    changed = console.post(url, {**other, "change": "yes"})
    assert changed.status_code == 200
    assert 'value="1178.00"' in text(changed)
    done = console.post(url, {**other, "again": "yes", "seal": seal_of(answer)})
    assert done.status_code == 302
    assert Receipt.objects.get().credit == Decimal("0.82")


def test_an_invoice_that_was_paid_meanwhile_loses_nobodys_typing(
    console: Client, three: list[Invoice]
) -> None:
    url = page_for(*three)
    body = {"confirm": "yes", **MONEY, **whole(*three), "amount": "3536.46", "payer_name": "A."}
    asked = console.post(url, body)
    pay(three[1], TOTAL)
    answer = console.post(url, {**body, "again": "yes", "seal": seal_of(asked)})
    assert answer.status_code == 400
    assert "owes ₹0.00; ₹1,178.82 is more" in errors_of(answer)[f"invoice_{three[1].pk}"]
    assert 'value="3536.46"' in text(answer)
    assert Receipt.objects.count() == 1


def test_the_payer_is_a_customer_of_the_same_partner(console: Client, three: list[Invoice]) -> None:
    stranger = make_customer(make_partner("kotak"), "father@example.com")
    body = {**MONEY, **whole(*three), "amount": "3536.46", "payer": stranger.public_id}
    answer = confirm(console, page_for(*three), {**body, "again": "yes"})
    assert "No customer of zebu (live)" in errors_of(answer)["payer"]
    assert not Receipt.objects.exists()


def test_a_joint_receipt_is_reversed_as_a_whole(console: Client, three: list[Invoice]) -> None:
    body = {**MONEY, **whole(*three), "amount": "3536.46", "payer_name": "A father", "again": "yes"}
    confirm(console, page_for(*three), body)
    receipt = Receipt.objects.get()
    page = reverse("admin:billing_receipt_reverse", args=[receipt.pk])
    asked = text(console.get(page))
    for invoice in three:
        assert f"{invoice.number} is owed again by ₹1,178.82." in asked
    bounce(receipt, START)
    assert [invoice.status for invoice in Invoice.objects.all()] == ["DUE"] * 3


def test_who_may_not_record_payments_finds_no_page(console: Client, three: list[Invoice]) -> None:
    listed = reverse("admin:billing_receipt_changelist")
    for rights, status in (
        (("view_receipt",), 403),
        (("add_payment",), 403),
        (("view_receipt", "add_payment"), 200),
    ):
        clerk = StaffUser.objects.create_user("-".join(rights), is_staff=True)
        clerk.user_permissions.set(Permission.objects.filter(codename__in=rights))
        console.force_login(clerk)
        assert console.get(page_for(*three)).status_code == status, rights
        chosen = console.post(PAGE, {"invoices": three[0].number})
        assert chosen.status_code == (302 if status == 200 else status), rights
        if "view_receipt" in rights:
            assert (PAGE in text(console.get(listed))) == (status == 200)


def test_many_invoices_are_asked_about_in_as_many_queries(
    console: Client, template: Template, partner: Partner, three: list[Invoice]
) -> None:
    follow(template, partner, [START] * 10)
    bill(START)
    many = list(Invoice.objects.order_by("id"))

    def queries(invoices: list[Invoice]) -> int:
        body = {**MONEY, **whole(*invoices), "amount": "99999.00", "confirm": "yes"}
        body["payer"] = invoices[0].customer.email
        with CaptureQueriesContext(connection) as seen:
            assert console.post(page_for(*invoices), body).context["ask_again"]
        return len(seen)

    queries(three)  # what is looked up once
    assert queries(three) == queries(many)
