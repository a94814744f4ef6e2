"""The only way to post single transactions to the ledger (docs/billing.md#the-books).

Billing runs post with SQL of their own (invoicing/run_sql.py); the database applies the same checks
to both.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from django.db import connection, transaction
from django.db.models import Sum

from quantleap.core.inserts import insert_missing
from quantleap.core.money import ZERO
from quantleap.core.outbox import NotInTransaction
from quantleap.core.tenancy import Environment
from subscriptions.billing.errors import IdemKeyReused, OutOfBalance
from subscriptions.billing.ledger.chart_of_accounts import account_kind
from subscriptions.billing.models import (
    AccountBalance,
    LedgerAccount,
    LedgerEntry,
    LedgerTransaction,
)


@dataclass(frozen=True, slots=True)
class Posting:
    """One side in rupees, debit positive, on an account of chart_of_accounts.py."""

    account: str
    amount: Decimal


def debit(account: str, amount: Decimal) -> Posting:
    """``amount`` rupees on the debit side."""
    return Posting(account, amount)


def credit(account: str, amount: Decimal) -> Posting:
    """``amount`` rupees on the credit side."""
    return Posting(account, -amount)


@dataclass(frozen=True, slots=True)
class Posted:
    """``created`` False: the ledger contained it already."""

    transaction_id: int
    created: bool


def post(
    *,
    idem_key: str,
    kind: str,
    effective_on: dt.date,
    postings: Sequence[Posting],
    now: dt.datetime,
    partner_id: int | None = None,
    environment: str = Environment.LIVE,
    corrects: int | None = None,
) -> Posted:
    """Post once, in the caller's transaction; posting again under the same key changes nothing.

    ``effective_on`` is the business date (IST), ``corrects`` the id of the transaction that this
    one corrects. Sides of 0 rupees are left out. Raises OutOfBalance; UnknownAccount; IdemKeyReused
    if the key was used for other postings.

    Lock your own rows (invoice, payment) before the first posting: from then on until the commit
    all other writers of the ledger wait.
    """
    if not transaction.get_connection().in_atomic_block:
        raise NotInTransaction
    sides = [side for side in postings if side.amount]
    excess = sum((side.amount for side in sides), ZERO)
    if excess or not sides:
        raise OutOfBalance(f"{idem_key}: {excess} rupees over {len(sides)} entries")
    accounts = account_ids({side.account for side in sides})
    transaction_id = _insert(idem_key, kind, effective_on, now, partner_id, environment, corrects)
    if transaction_id is None:
        return Posted(_same(idem_key, sides), created=False)
    LedgerEntry.objects.bulk_create(
        LedgerEntry(
            transaction_id=transaction_id, account_id=accounts[side.account], amount=side.amount
        )
        for side in sides
    )
    return Posted(transaction_id, created=True)


_INSERT: Final = """
INSERT INTO billing_ledgertransaction
       (idem_key, kind, effective_on, created_at, partner_id, environment, corrects_id)
VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (idem_key) DO NOTHING RETURNING id
"""


def _insert(*values: str | int | dt.date | None) -> int | None:
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, values)
        row = cursor.fetchone()
    return None if row is None else int(row[0])


def _same(idem_key: str, sides: Sequence[Posting]) -> int:
    """Id of the transaction with this key, if it has these sides."""
    posted = LedgerTransaction.objects.get(idem_key=idem_key)
    entries = posted.entries.values_list("account__code", "amount")
    if sorted(entries) != sorted((side.account, side.amount) for side in sides):
        raise IdemKeyReused(f"{idem_key} was posted with other entries")
    return posted.pk


def account_ids(codes: Collection[str]) -> dict[str, int]:
    """Ids of accounts by code; missing accounts are created. Raises UnknownAccount."""
    known = dict(LedgerAccount.objects.filter(code__in=codes).values_list("code", "id"))
    missing = sorted(set(codes) - known.keys())
    if missing:
        insert_missing(
            [LedgerAccount(code=code, kind=account_kind(code)) for code in missing],
            unique=("code",),
        )
        known |= dict(LedgerAccount.objects.filter(code__in=missing).values_list("code", "id"))
    return known


def balance(code: str) -> Decimal:
    """Balance of one account in rupees from the projection, debit positive; 0 if never used."""
    balances = AccountBalance.objects.filter(account__code=code).values_list("balance", flat=True)
    return balances.first() or ZERO


def balance_of(name: str) -> Decimal:
    """Sum over all accounts of a name of the chart, e.g. ``receivable`` over all customers."""
    balances = AccountBalance.objects.filter(account__code__startswith=f"{name}:")
    return balances.aggregate(sum=Sum("balance"))["sum"] or ZERO
