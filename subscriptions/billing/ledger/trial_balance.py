"""The trial balance: debits, credits and balance of every name of the chart."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from django.db import connection

from quantleap.core.money import ZERO

# One statement, so that it reads one snapshot of the ledger while others post. Sums are those of
# the entries; the balance is the projection that the database maintains beside them.
_LINES: Final = """
SELECT split_part(account.code, ':', 1), account.kind, count(*),
       sum(coalesce(moved.debit, 0.00)), sum(coalesce(moved.credit, 0.00)),
       sum(coalesce(held.balance, 0.00)),
       (SELECT count(*) FROM (SELECT FROM billing_ledgerentry
                               GROUP BY transaction_id HAVING sum(amount) <> 0) AS wrong)
  FROM billing_ledgeraccount AS account
  LEFT JOIN billing_accountbalance AS held ON held.account_id = account.id
  LEFT JOIN (SELECT account_id, sum(greatest(amount, 0.00)) AS debit,
                    -sum(least(amount, 0.00)) AS credit
               FROM billing_ledgerentry GROUP BY account_id) AS moved
         ON moved.account_id = account.id
 GROUP BY 1, 2
 ORDER BY array_position(ARRAY['ASSET', 'LIABILITY', 'INCOME', 'EXPENSE'], account.kind::text), 1
"""


@dataclass(frozen=True, slots=True)
class Line:
    """All accounts of one name of the chart, in rupees.

    ``balance``: the projection, debit positive.
    """

    name: str
    kind: str
    accounts: int
    debit: Decimal
    credit: Decimal
    balance: Decimal


@dataclass(frozen=True, slots=True)
class TrialBalance:
    """The whole ledger. ``unbalanced``: transactions whose entries do not add up to 0."""

    lines: tuple[Line, ...]
    unbalanced: int

    @property
    def sum(self) -> Decimal:
        """Sum of all entries in rupees; the ledger is wrong unless it is 0.00."""
        return sum((line.debit - line.credit for line in self.lines), ZERO)


def trial_balance() -> TrialBalance:
    """The current trial balance (1 query, which reads every entry)."""
    with connection.cursor() as cursor:
        cursor.execute(_LINES)
        rows = cursor.fetchall()
    return TrialBalance(tuple(Line(*row[:6]) for row in rows), rows[0][6] if rows else 0)
