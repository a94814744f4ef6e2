"""The controls' faults are there where they are wanted, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from django.db import connection
from django.test import override_settings

from marketplace.tests.factories import load_reference_data, make_template
from partners.tests.factories import make_partner
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from subscriptions import services
from subscriptions.billing import proof, runsql, sabotage
from subscriptions.billing.models import AccountBalance, BillingSegment, Invoice, LedgerEntry
from subscriptions.billing.tests.factories import (
    START,
    bill,
    credit,
    follow,
    follow_again,
    load_billing,
    noon,
)
from subscriptions.billing.trialbalance import trial_balance

JUDGES = """
SELECT string_agg(pg_get_functiondef(name::regproc) || ';', chr(10) ORDER BY name)
  FROM unnest(array['billing_judge_entries', 'billing_days_once']) AS name
"""
UNBALANCED = override_settings(QUANTLEAP_SABOTAGE="unbalanced_entry")
BEGIN_AGAIN = override_settings(QUANTLEAP_SABOTAGE="begin_again")


def judge() -> str:
    with connection.cursor() as cursor:
        cursor.execute(JUDGES)
        return str(cursor.fetchone()[0])


@pytest.fixture
def judge_comes_back(transactional_db: None) -> Iterator[None]:
    """Whatever became of the guard: afterwards it is what the migrations made."""
    before, target = judge(), connection.settings_dict
    yield
    role = django_settings.QUANTLEAP_OWNER_DATABASE
    with psycopg.connect(
        host=target["HOST"],
        port=target["PORT"] or None,
        dbname=target["NAME"],
        user=role["USER"],
        password=role["PASSWORD"],
    ) as owner:
        owner.execute(before.encode())
    assert judge() == before


def test_a_migrated_control_takes_a_posting_that_the_proof_then_finds(
    judge_comes_back: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_billing()
    load_reference_data()
    follow(make_template(), make_partner(), [START, START])
    with UNBALANCED:
        monkeypatch.setattr(clock, "offset_seconds", lambda: -3600.0)
        call_command("migrate", "billing", verbosity=0)
        assert bill(START).invoices == 2
    books = trial_balance()
    assert (books.sum, books.unbalanced) == (Decimal("-0.01"), 1)
    assert {line.name: line.balance for line in books.lines}["receivable"] == Decimal("2357.64")
    found = {one["what"]: one["count"] for one in proof.prove(now=noon(START)).findings}
    assert found == {
        "entries of a transaction do not add up to 0": 1,
        "deferred revenue differs from what the invoices have not earned": 1,
    }
    # Everything else is as ever: the balances follow the entries.
    held = AccountBalance.objects.values_list("balance", flat=True)
    assert sum(held) == sum(LedgerEntry.objects.values_list("amount", flat=True)) != 0


def test_a_restart_that_begins_again_is_found_by_the_proof(
    judge_comes_back: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The days of one customer and template in two subscriptions, past the database's own guard."""
    load_billing()
    load_reference_data()
    (one, _) = follow(make_template(), make_partner(), [START, START])
    leave: dict[str, Any] = {"actor": SYSTEM, "reason": "USER", "now": noon(START)}
    services.cancel(subscription_id=one.pk, **leave)
    with BEGIN_AGAIN:
        monkeypatch.setattr(clock, "offset_seconds", lambda: -3600.0)
        call_command("migrate", "billing", verbosity=0)
        follow_again(one, START)
    assert bill(START).invoices == 3
    (finding,) = proof.prove(now=noon(START)).findings
    assert finding["what"] == (
        "two subscriptions of one customer and template are invoiced for the same day"
    )
    assert (finding["count"], "2026-01-31" in finding["examples"][0]) == (1, True)
    credit(one.invoices.get(), Decimal("1178.82"))
    assert proof.prove(now=noon(START)).findings == [], "what was credited may be begun again"


@pytest.mark.parametrize(
    ("name", "moved"),
    [("", -3600.0), ("bill_twice", -3600.0), ("unbalanced_entry", 0.0), ("begin_again", 0.0)],
)
def test_the_judge_stays_everywhere_else(
    judge_comes_back: None, monkeypatch: pytest.MonkeyPatch, name: str, moved: float
) -> None:
    before = judge()
    with override_settings(QUANTLEAP_SABOTAGE=name):
        monkeypatch.setattr(clock, "offset_seconds", lambda: moved)
        call_command("migrate", "billing", verbosity=0)
    assert judge() == before


@pytest.mark.parametrize(
    "name", [sabotage.BILL_TWICE, sabotage.UNBALANCED_ENTRY, sabotage.BEGIN_AGAIN]
)
@pytest.mark.parametrize("profile", ["production", "staging"])
@pytest.mark.django_db
def test_production_does_nothing_of_it(
    settings: Any, monkeypatch: pytest.MonkeyPatch, name: str, profile: str
) -> None:
    load_billing()
    load_reference_data()
    follow(make_template(), make_partner(), [START])
    assert bill(START).invoices == 1
    settings.QUANTLEAP_SABOTAGE = name
    assert sabotage.active(name)
    settings.QUANTLEAP_PROFILE = profile
    monkeypatch.setattr(clock, "offset_seconds", lambda: -3600.0)
    assert not sabotage.active(name)
    assert not sabotage.bill_again()
    assert sabotage.entries() == runsql.ENTRIES
    sabotage.leave_out_the_judgement()  # the application's role could not, and would say so
    assert BillingSegment.objects.count() == Invoice.objects.count() == 1
