"""Judges a database after kills, by SQL of its own: as billed once, or what is wrong in words."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

#: Asks the database under test.
Ask = Callable[[str], Sequence[tuple[Any, ...]]]
#: Subscription, segment, period.
Key = tuple[str, int, int]

# All of an invoice that may not depend on how many runs it took, or on their days.
_INVOICES: Final = """
SELECT sub.public_id, invoice.segment_no, invoice.period_no,
       period_start, period_end, invoice.partner_id, invoice.environment, invoice.customer_id,
       taxable, rate_pct, cgst, sgst, igst, total, invoice.currency, sac, place_of_supply,
       snapshot - 'number' - 'issued_on' - 'due_on'
  FROM billing_invoice AS invoice
  JOIN subscriptions_subscription AS sub ON sub.id = invoice.subscription_id
"""

# What must not be, by what it is called; each column of a row becomes part of the example.
_WRONG: Final = {
    "period invoiced twice": """
        SELECT subscription_id, segment_no, period_no FROM billing_invoice
         GROUP BY 1, 2, 3 HAVING count(*) > 1""",
    "day of a customer and template invoiced twice": """
        SELECT number, period_start, before FROM (
            SELECT invoice.number, period_start, max(period_end) OVER (
                       PARTITION BY invoice.customer_id, sub.template_id
                       ORDER BY period_start, invoice.id
                       ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
              FROM billing_invoice AS invoice
              JOIN subscriptions_subscription AS sub ON sub.id = invoice.subscription_id) AS one
         WHERE period_start < before""",
    "numbers are not 1 to n": """
        SELECT held.series, held.fy, held.last, used.many, used.lowest, used.highest
          FROM billing_numberseries AS held
          LEFT JOIN LATERAL (
            SELECT count(DISTINCT seq) AS many, min(seq) AS lowest, max(seq) AS highest
              FROM billing_invoice WHERE fy = held.fy) AS used ON true
         WHERE held.series = 'invoice' AND held.last > 0
           AND (used.many <> held.last OR used.lowest <> 1 OR used.highest <> held.last)""",
    "number given twice": """
        SELECT number FROM billing_invoice GROUP BY 1 HAVING count(*) > 1""",
    "number does not say its year and place": """
        SELECT number, fy, seq FROM billing_invoice
         WHERE number <> 'QL' || substr(fy, 3, 2) || '-' || lpad(seq::text, 8, '0')""",
    "date falls": """
        SELECT number FROM (
            SELECT number, issued_on, lag(issued_on) OVER (PARTITION BY fy ORDER BY seq) AS before
              FROM billing_invoice) AS one
         WHERE issued_on < before""",
    "transaction does not add up to 0": """
        SELECT transaction_id, sum(amount) FROM billing_ledgerentry
         GROUP BY 1 HAVING sum(amount) <> 0""",
    "the books do not add up to 0": """
        SELECT sum(amount) FROM billing_ledgerentry HAVING sum(amount) <> 0""",
    "invoice without exactly one posting": """
        SELECT invoice.number, count(posting.id)
          FROM billing_invoice AS invoice
          JOIN subscriptions_subscription AS sub ON sub.id = invoice.subscription_id
          LEFT JOIN billing_ledgertransaction AS posting ON posting.idem_key
               = concat_ws(':', 'invoice', sub.public_id, invoice.segment_no, invoice.period_no)
         GROUP BY 1 HAVING count(posting.id) <> 1""",
    "posting without an invoice": """
        SELECT count(*) FROM billing_ledgertransaction WHERE kind = 'invoice'
        HAVING count(*) <> (SELECT count(*) FROM billing_invoice)""",
    "receivable is not what was invoiced": """
        SELECT coalesce(sum(entry.amount), 0) FROM billing_ledgerentry AS entry
          JOIN billing_ledgeraccount AS account ON account.id = entry.account_id
          JOIN billing_ledgertransaction AS posting ON posting.id = entry.transaction_id
         WHERE account.code LIKE 'receivable:%' AND posting.kind = 'invoice'
        HAVING coalesce(sum(entry.amount), 0)
               <> (SELECT coalesce(sum(total), 0) FROM billing_invoice)""",
    "balance is not the sum of its entries": """
        SELECT coalesce(held.account_id, summed.account_id), held.balance, summed.amount
          FROM billing_accountbalance AS held
          FULL JOIN (SELECT account_id, sum(amount) AS amount
                       FROM billing_ledgerentry GROUP BY 1) AS summed USING (account_id)
         WHERE coalesce(held.balance, 0) <> coalesce(summed.amount, 0)""",
    "invoice without exactly one event": """
        SELECT invoice.number, count(told.event_id)
          FROM billing_invoice AS invoice
          LEFT JOIN core_outboxevent AS told
            ON told.type = 'invoice.issued' AND told.payload ->> 'invoice_id' = invoice.public_id
         GROUP BY 1 HAVING count(told.event_id) <> 1""",
    "event without an invoice": """
        SELECT count(*) FROM core_outboxevent WHERE type = 'invoice.issued'
        HAVING count(*) <> (SELECT count(*) FROM billing_invoice)""",
    "run that neither ended nor was taken over": """
        SELECT id, started_at, heartbeat FROM billing_billingrun WHERE finished_at IS NULL""",
    "runs did not count what they committed": """
        SELECT coalesce(sum(invoices), 0) FROM billing_billingrun
        HAVING coalesce(sum(invoices), 0) <> (SELECT count(*) FROM billing_invoice)""",
}


def invoices(ask: Ask) -> dict[Key, tuple[Any, ...]]:
    """Every invoice but for its number and dates of issue."""
    return {(row[0], row[1], row[2]): row[3:] for row in ask(_INVOICES)}


def judge(ask: Ask, reference: Mapping[Key, tuple[Any, ...]]) -> list[str]:
    """What is wrong; empty if the database is as one undisturbed run would have left it."""
    problems = _differences(invoices(ask), reference)
    for what, question in _WRONG.items():
        rows = ask(question)
        if rows:
            problems.append(f"{what}: {len(rows)}, for example {tuple(map(str, rows[0]))}")
    return problems


def _differences(
    actual: Mapping[Key, tuple[Any, ...]], reference: Mapping[Key, tuple[Any, ...]]
) -> list[str]:
    cases = {
        "invoice is missing": reference.keys() - actual.keys(),
        "invoice should not be": actual.keys() - reference.keys(),
        "invoice differs": {
            key for key in reference.keys() & actual.keys() if reference[key] != actual[key]
        },
    }
    return [
        f"{what}: {len(keys)}, for example {sorted(keys)[0]}"
        for what, keys in cases.items()
        if keys
    ]


def due_by(reference: Mapping[Key, tuple[Any, ...]], day: dt.date) -> int:
    """How many invoices there are once everything is billed that began by ``day``."""
    return sum(1 for row in reference.values() if row[0] <= day)


def after_billing(ask: Ask) -> dict[str, Any]:
    """What the later stages change: revenue, commission, balances."""
    return {
        "recognised": dict(ask("SELECT number, recognised FROM billing_invoice")),
        "commission": Counter(
            ask(
                "SELECT invoice_id, payment_id, partner_id, role, kind, accrual_id, base, amount, "
                "matured_at IS NULL FROM billing_commission"
            )
        ),
        "balances": _balances(ask),
    }


def after_money(ask: Ask) -> dict[str, Any]:
    """What a receipt and its reversal leave, without the ids that a killed process skipped."""
    return {
        "invoices": dict(ask("SELECT number, (status, paid, reversed)::text FROM billing_invoice")),
        "receipts": Counter(
            ask("SELECT method, reference_key, amount, credit FROM billing_receipt")
        ),
        "reversals": Counter(ask("SELECT reversed_on, bank_charges FROM billing_reversal")),
        "payments": Counter(
            ask(
                "SELECT invoice_id, method, applied, excess, gone.id IS NULL FROM billing_payment "
                "AS one LEFT JOIN billing_paymentreversal AS gone ON gone.payment_id = one.id"
            )
        ),
        "commission": Counter(
            ask("SELECT invoice_id, partner_id, role, kind, base, amount FROM billing_commission")
        ),
        "events": Counter(ask("SELECT type FROM core_outboxevent")),
        "balances": _balances(ask),
    }


def _balances(ask: Ask) -> dict[str, Any]:
    return dict(
        ask(
            "SELECT code, balance FROM billing_accountbalance "
            "JOIN billing_ledgeraccount ON id = account_id"
        )
    )
