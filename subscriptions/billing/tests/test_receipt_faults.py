"""Faults planted in receipts and reversals (sabotage.py): each is found by its question."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from django.db import IntegrityError, connection
from django.test import override_settings

from marketplace.tests.factories import load_reference_data, make_template
from partners.tests.factories import make_partner
from quantleap.core import clock
from subscriptions.billing import proof, sabotage
from subscriptions.billing.errors import ReceiptExists
from subscriptions.billing.models import Invoice, Receipt
from subscriptions.billing.tests.factories import (
    START,
    bill,
    bounce,
    follow,
    load_billing,
    noon,
    receive,
)

pytestmark = pytest.mark.django_db(transaction=True)
TOTAL = Decimal("1178.82")
LATER = START + dt.timedelta(days=9)
JUDGES = ("billing_reference_is_free", "billing_receipt_adds_up")


def twice() -> None:
    """One transfer, for two customers."""
    for one in Invoice.objects.order_by("id"):
        receive({one: TOTAL}, reference="UTR6123")


def short() -> None:
    """100.00 of the money are nowhere."""
    receive({Invoice.objects.earliest("id"): TOTAL}, amount=TOTAL + 100)


def taken_back() -> None:
    bounce(receive({Invoice.objects.earliest("id"): TOTAL}), LATER)


#: The fault, what shows it, the question that finds it, and whether the database refuses it first.
FAULTS: list[tuple[str, Callable[[], None], str, str]] = [
    (
        sabotage.RECEIPT_TWICE, twice, "reference of a rail that names more than one receipt",
        "is being recorded by somebody else",
    ),
    (
        sabotage.RECEIPT_SHORT, short, "receipt differs from its payments and its credit",
        "is not its credit",
    ),
    (
        sabotage.REVERSAL_EARNS, taken_back,
        "reversed money that still pays an invoice, or earns a commission", "",
    ),
    (
        sabotage.REVERSAL_BESIDE, taken_back,
        "reversal that does not mirror the posting that it takes back", "",
    ),
]  # fmt: skip


@pytest.fixture(autouse=True)
def two_invoices(transactional_db: None) -> None:
    load_billing()
    load_reference_data()
    follow(make_template(), make_partner(), [START, START])
    bill(START)


@pytest.fixture
def judges_come_back(transactional_db: None) -> Iterator[None]:
    """Whatever became of the guards: afterwards they are what the migrations made."""

    def read() -> list[str]:
        with connection.cursor() as cursor:
            found = []
            for name in JUDGES:
                cursor.execute("SELECT pg_get_functiondef(%s::regproc)", [name])
                found.append(str(cursor.fetchone()[0]))
            return found

    before, target = read(), connection.settings_dict
    yield
    role = django_settings.QUANTLEAP_OWNER_DATABASE
    with psycopg.connect(
        host=target["HOST"],
        port=target["PORT"] or None,
        dbname=target["NAME"],
        user=role["USER"],
        password=role["PASSWORD"],
    ) as owner:
        for one in before:
            owner.execute(one.encode())
    assert read() == before


@pytest.mark.parametrize(
    ("fault", "act", "question", "refused"), FAULTS, ids=[one[0] for one in FAULTS]
)
def test_a_planted_fault_is_found_by_its_question(
    judges_come_back: None,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    act: Callable[[], None],
    question: str,
    refused: str,
) -> None:
    with override_settings(QUANTLEAP_SABOTAGE=fault):
        if refused:
            monkeypatch.setattr(clock, "offset_seconds", lambda: -3600.0)
            call_command("migrate", "billing", verbosity=0)
        act()
    found = [one["what"] for one in proof.prove(now=noon(LATER)).findings]
    assert question in found


@pytest.mark.parametrize("act", [short, taken_back], ids=["short", "taken back"])
def test_the_control_without_the_fault_nothing_is_found(act: Callable[[], None]) -> None:
    act()
    assert proof.prove(now=noon(LATER)).findings == []


@pytest.mark.parametrize(
    ("fault", "act", "refused"),
    [(one[0], one[1], one[3]) for one in FAULTS if one[3]],
    ids=[one[0] for one in FAULTS if one[3]],
)
def test_the_database_itself_refuses_what_it_can(
    fault: str, act: Callable[[], None], refused: str
) -> None:
    with (
        override_settings(QUANTLEAP_SABOTAGE=fault),
        pytest.raises((IntegrityError, ReceiptExists), match=refused),
    ):
        act()
    assert Receipt.objects.count() <= 1


@pytest.mark.parametrize("fault", [one[0] for one in FAULTS])
def test_production_does_nothing_of_it(settings: Any, fault: str) -> None:
    settings.QUANTLEAP_SABOTAGE = fault
    assert sabotage.active(fault)
    settings.QUANTLEAP_PROFILE = "production"
    assert not sabotage.active(fault)
    taken_back()
    assert proof.prove(now=noon(LATER)).ok
