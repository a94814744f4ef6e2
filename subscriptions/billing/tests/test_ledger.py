"""The front door of the books, and what the nightly proof sees."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import pytest
from django.db import connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from marketplace.tests.factories import load_reference_data, make_template
from partners.tests.factories import make_partner
from quantleap.core.outbox import NotInTransaction
from subscriptions.billing.errors import IdemKeyReused, OutOfBalance
from subscriptions.billing.ledger import checks, posting
from subscriptions.billing.ledger.chart_of_accounts import UnknownAccount, account_kind
from subscriptions.billing.models import (
    AccountBalance,
    BillingSegment,
    Invoice,
    LedgerCheck,
    LedgerEntry,
    LedgerTransaction,
)
from subscriptions.billing.tasks import check_ledger_daily
from subscriptions.billing.tests.factories import START, bill, follow, load_billing, noon

HUNDRED = Decimal("100.00")


def post(
    key: str = "one", *postings: posting.Posting, corrects: int | None = None
) -> posting.Posted:
    sides = postings or (posting.debit("bank", HUNDRED), posting.credit("suspense", HUNDRED))
    return posting.post(
        idem_key=key,
        kind="test",
        effective_on=START,
        postings=sides,
        now=noon(START),
        corrects=corrects,
    )


@pytest.mark.django_db
def test_a_posting_moves_balances_once() -> None:
    first, second = post(), post()
    assert (first.created, second.created) == (True, False)
    assert first.transaction_id == second.transaction_id
    assert (posting.balance("bank"), posting.balance("suspense")) == (HUNDRED, -HUNDRED)
    assert LedgerTransaction.objects.count() == 1
    assert posting.balance("revenue") == 0


@pytest.mark.django_db
def test_a_used_key_with_other_entries_is_refused() -> None:
    post()
    with pytest.raises(IdemKeyReused):
        post("one", posting.debit("bank", Decimal(1)), posting.credit("suspense", Decimal(1)))
    assert posting.balance("bank") == HUNDRED


@pytest.mark.django_db
def test_a_correction_names_what_it_corrects() -> None:
    wrong = post()
    right = post(
        "two",
        posting.debit("suspense", HUNDRED),
        posting.credit("bank", HUNDRED),
        corrects=wrong.transaction_id,
    )
    assert LedgerTransaction.objects.get(pk=right.transaction_id).corrects_id == (
        wrong.transaction_id
    )
    assert posting.balance("bank") == 0


@pytest.mark.django_db
def test_sides_of_nothing_are_left_out_and_nothing_else_is() -> None:
    post("one", posting.debit("bank", HUNDRED), posting.credit("suspense", HUNDRED),
         posting.credit("gst_output:igst", Decimal(0)))  # fmt: skip
    assert LedgerEntry.objects.count() == 2
    for sides in (
        (posting.debit("bank", HUNDRED), posting.credit("suspense", Decimal("99.99"))),
        (posting.debit("bank", Decimal(0)),),
    ):
        with pytest.raises(OutOfBalance):
            post("two", *sides)


@pytest.mark.django_db
def test_an_account_outside_the_chart_is_refused() -> None:
    with pytest.raises(UnknownAccount):
        post("one", posting.debit("petty_cash", HUNDRED), posting.credit("bank", HUNDRED))


@pytest.mark.django_db(transaction=True)
def test_outside_a_transaction_nothing_is_posted() -> None:
    with pytest.raises(NotInTransaction):
        post()


@given(
    code=st.text(max_size=12) | st.sampled_from(["bank:", "bank:x", "receivable", "receivable:"])
)
def test_the_chart_knows_its_accounts_and_no_others(code: str) -> None:
    known = {"bank": "ASSET", "revenue": "INCOME", "suspense": "LIABILITY"}
    if code in known:
        assert account_kind(code) == known[code]
    elif ":" not in code or code in ("bank:", "bank:x", "receivable:"):
        with pytest.raises(UnknownAccount):
            account_kind(code)


# -- the proof -----------------------------------------------------------------------------------
@pytest.fixture
def billed(db: None) -> None:
    load_billing()
    load_reference_data()
    follow(make_template(), make_partner(), [START, START, START])
    bill(START)


def proof_findings() -> set[str]:
    report = checks.check_ledger(now=noon(START))
    assert report.ok == (not report.findings)
    return {finding["what"] for finding in report.findings}


@contextmanager
def _undone() -> Iterator[None]:
    """Nothing of what happens inside stays."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def test_the_books_hold_after_a_run(billed: None) -> None:
    assert check_ledger_daily() is True
    report = LedgerCheck.objects.get()
    assert (report.transactions, report.invoices, report.entries) == (3, 3, 12)


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        ("UPDATE billing_accountbalance SET balance = balance + 1", "balance differs"),
        ("DELETE FROM billing_accountbalance", "balance differs"),
        ("UPDATE billing_invoice SET paid = 1 WHERE seq = 2", "receivable differs"),
        ("UPDATE billing_invoice SET recognised = 1 WHERE seq = 2", "deferred revenue differs"),
        ("UPDATE billing_numberseries SET last = 4", "numbers of a financial year"),
        (
            "INSERT INTO billing_ledgertransaction (idem_key, kind, effective_on, created_at, "
            "environment) VALUES ('x', 'x', '2026-01-01', '2026-01-01Z', 'live')",
            "transaction without entries",
        ),
    ],
)
def test_harm_is_found(billed: None, harm: str, what: str) -> None:
    with _undone():
        connection.cursor().execute(harm)
        findings = proof_findings()
    assert [finding for finding in findings if finding.startswith(what)]
    assert proof_findings() == set()


def test_a_posting_without_its_invoice_is_found(billed: None) -> None:
    with _undone():
        invoice = Invoice.objects.latest("id")
        code = f"receivable:{invoice.customer.public_id}"
        post("x", posting.debit(code, HUNDRED), posting.credit("deferred_revenue", HUNDRED))
        findings = proof_findings()
    assert len(findings) == 2


def test_a_paid_subscription_that_nobody_bills_is_found(billed: None) -> None:
    subscriptions = follow(make_template(), make_partner(), [START])
    BillingSegment.objects.filter(subscription__in=subscriptions).delete()
    assert [
        finding
        for finding in proof_findings()
        if finding.startswith("paid live subscription without a segment")
    ]


@pytest.mark.django_db
def test_balances_are_the_sum_of_entries_whatever_is_posted() -> None:
    codes = ["bank", "suspense", "revenue", "gst_output:cgst"]
    for number in range(20):
        amount = Decimal(number * 7 % 13 + 1)
        post(
            f"key {number}",
            posting.debit(codes[number % 4], amount),
            posting.credit(codes[(number + 1) % 4], amount),
        )
    for held in AccountBalance.objects.select_related("account"):
        entries = LedgerEntry.objects.filter(account=held.account)
        assert held.balance == sum(entries.values_list("amount", flat=True))
    assert checks.check_ledger(now=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)).ok
