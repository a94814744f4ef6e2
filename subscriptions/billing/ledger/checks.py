"""The nightly checks of the ledger, as queries on the rows themselves.

docs/billing-verification.md#what-must-hold numbers the rules.

Each check is one statement, so that it reads one snapshot of the ledger while others post.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import structlog
from django.db import connection

from subscriptions.billing.models import LedgerCheck

log = structlog.get_logger(__name__)

_EXAMPLES: Final = 20


def _gapless(what: str, series: str, table: str) -> str:
    """Query for financial years in which a series' numbers are not 1 to n.

    All three arguments are names from our code.
    """
    return f"""
SELECT held.fy, count(given.id) || ' {what} up to ' || coalesce(max(given.seq), 0)
       || ', ' || held.last || ' given out'
  FROM billing_numberseries AS held
  LEFT JOIN {table} AS given ON given.fy = held.fy
 WHERE held.series = '{series}'
 GROUP BY held.fy, held.last
HAVING count(given.id) <> held.last OR coalesce(max(given.seq), 0) <> held.last
"""  # noqa: S608


# Message if the query returns rows, and the query for rows that must not exist (first column: id).
_QUESTIONS: Final = (
    (
        "entries of a transaction do not add up to 0",
        """
SELECT transaction_id::text, sum(amount)::text
  FROM billing_ledgerentry GROUP BY transaction_id HAVING sum(amount) <> 0
""",
    ),
    (
        "transaction without entries",
        """
SELECT held.idem_key, '' FROM billing_ledgertransaction AS held
 WHERE NOT EXISTS (SELECT FROM billing_ledgerentry WHERE transaction_id = held.id)
""",
    ),
    (
        "balance differs from the sum of its entries",
        """
SELECT account.code, coalesce(held.balance, 0) || ' instead of ' || coalesce(summed.amount, 0)
  FROM billing_ledgeraccount AS account
  LEFT JOIN billing_accountbalance AS held ON held.account_id = account.id
  LEFT JOIN (SELECT account_id, sum(amount) AS amount FROM billing_ledgerentry GROUP BY account_id)
       AS summed ON summed.account_id = account.id
 WHERE coalesce(held.balance, 0) <> coalesce(summed.amount, 0)
""",
    ),
    (
        "receivable differs from what the customer's invoices leave open",
        """
SELECT coalesce(owed.customer, booked.customer),
       coalesce(booked.amount, 0) || ' instead of ' || coalesce(owed.amount, 0)
  FROM (SELECT customer.public_id AS customer,
               sum(total - paid + refunded - credited) AS amount
          FROM billing_invoice AS invoice
          JOIN partners_customer AS customer ON customer.id = invoice.customer_id
         GROUP BY customer.public_id) AS owed
  FULL JOIN (SELECT substr(account.code, 12) AS customer, sum(entry.amount) AS amount
               FROM billing_ledgeraccount AS account
               JOIN billing_ledgerentry AS entry ON entry.account_id = account.id
              WHERE account.code LIKE 'receivable:%%'
              GROUP BY account.code) AS booked ON booked.customer = owed.customer
 WHERE coalesce(booked.amount, 0) <> coalesce(owed.amount, 0)
""",
    ),
    (
        "deferred revenue differs from what the invoices have not earned",
        """
SELECT 'deferred_revenue', booked.amount || ' instead of ' || earned.amount
  FROM (SELECT coalesce(sum(entry.amount), 0) AS amount
          FROM billing_ledgerentry AS entry
          JOIN billing_ledgeraccount AS account ON account.id = entry.account_id
         WHERE account.code = 'deferred_revenue') AS booked,
       (SELECT coalesce(-sum(taxable - credited_taxable - recognised), 0) AS amount
          FROM billing_invoice) AS earned
 WHERE booked.amount <> earned.amount
""",
    ),
    (
        "invoice without its posting, or with another amount",
        """
SELECT invoice.number, coalesce(booked.amount, 0) || ' instead of ' || invoice.total
  FROM billing_invoice AS invoice
  JOIN subscriptions_subscription AS sub ON sub.id = invoice.subscription_id
  LEFT JOIN billing_ledgertransaction AS posting ON posting.idem_key = 'invoice:' || sub.public_id
       || ':' || invoice.segment_no || ':' || invoice.period_no
  LEFT JOIN LATERAL (SELECT sum(amount) AS amount FROM billing_ledgerentry AS entry
                      WHERE entry.transaction_id = posting.id AND amount > 0) AS booked ON true
 WHERE booked.amount IS DISTINCT FROM invoice.total
""",
    ),
    (
        "numbers of a financial year are not 1 to n",
        _gapless("invoices", "invoice", "billing_invoice"),
    ),
    (
        "credit notes of a financial year are not 1 to n",
        _gapless("notes", "credit_note", "billing_creditnote"),
    ),
    (
        "invoice differs from its payments, credit notes and refunds",
        """
SELECT invoice.number, 'paid ' || invoice.paid || ' of payments ' || coalesce(came.amount, 0)
       || ', credited ' || invoice.credited || ' of notes ' || coalesce(noted.amount, 0)
       || ', refunded ' || invoice.refunded || ' of refunds ' || coalesce(noted.back, 0)
  FROM billing_invoice AS invoice
  LEFT JOIN (SELECT invoice_id, sum(applied) FILTER (WHERE gone.id IS NULL) AS amount,
                    sum(applied) FILTER (WHERE gone.id IS NOT NULL) AS back
               FROM billing_payment AS payment
               LEFT JOIN billing_paymentreversal AS gone ON gone.payment_id = payment.id
              GROUP BY invoice_id)
       AS came ON came.invoice_id = invoice.id
  LEFT JOIN (SELECT note.invoice_id, sum(note.total) AS amount, sum(note.taxable) AS taxable,
                    sum(refund.amount) AS back
               FROM billing_creditnote AS note
               LEFT JOIN billing_refund AS refund ON refund.credit_note_id = note.id
              GROUP BY note.invoice_id) AS noted ON noted.invoice_id = invoice.id
 WHERE (invoice.paid, invoice.reversed, invoice.credited, invoice.credited_taxable,
        invoice.refunded)
       IS DISTINCT FROM (coalesce(came.amount, 0), coalesce(came.back, 0),
                         coalesce(noted.amount, 0), coalesce(noted.taxable, 0),
                         coalesce(noted.back, 0))
""",
    ),
    (
        "credit note that reduces tax after 30 November following the invoice's financial year",
        """
SELECT note.number, note.cgst + note.sgst + note.igst || ' of tax on ' || note.issued_on
       || ', invoice ' || invoice.number || ' of ' || invoice.issued_on
  FROM billing_creditnote AS note
  JOIN billing_invoice AS invoice ON invoice.id = note.invoice_id
 WHERE note.cgst + note.sgst + note.igst > 0
   AND note.issued_on > make_date(
           (extract(year FROM invoice.issued_on + interval '9 months'))::int, 11, 30)
""",
    ),
    (
        "receipt differs from its payments and its credit",
        """
SELECT receipt.public_id, receipt.amount || ' instead of ' || coalesce(paid.amount, 0) || ' and '
       || receipt.credit
  FROM billing_receipt AS receipt
  LEFT JOIN (SELECT receipt_id, sum(amount) AS amount FROM billing_payment
              WHERE receipt_id IS NOT NULL GROUP BY receipt_id) AS paid
    ON paid.receipt_id = receipt.id
 WHERE receipt.amount <> receipt.credit + coalesce(paid.amount, 0)
""",
    ),
    (
        "reference of a rail that names more than one receipt",
        """
SELECT method || ' ' || reference_key, string_agg(public_id, ', ' ORDER BY id)
  FROM billing_receipt AS receipt
 WHERE NOT EXISTS (SELECT FROM billing_reversal WHERE receipt_id = receipt.id)
 GROUP BY method, reference_key HAVING count(*) > 1
""",
    ),
    (
        "reversed money that still pays an invoice, or earns a commission",
        """
SELECT payment.public_id, CASE WHEN gone.id IS NULL THEN 'pays ' || payment.applied
                               ELSE 'earns ' || earned.amount END
  FROM billing_payment AS payment
  LEFT JOIN billing_reversal AS reversal ON reversal.receipt_id = payment.receipt_id
  LEFT JOIN billing_paymentreversal AS gone ON gone.payment_id = payment.id
  LEFT JOIN LATERAL (SELECT sum(amount) AS amount FROM billing_commission
                      WHERE payment_id = payment.id AND kind <> 'MATURITY') AS earned ON true
 WHERE (reversal.id IS NOT NULL AND gone.id IS NULL)
    OR (gone.id IS NOT NULL AND earned.amount <> 0)
""",
    ),
    (
        "reversal that does not mirror the posting that it takes back",
        """
SELECT moved.key, 'in ' || count(*) || ' accounts'
  FROM (SELECT mirrors.key, entry.account_id, entry.amount
          FROM (SELECT payment.public_id AS key, payment.transaction_id AS was,
                       gone.transaction_id AS now
                  FROM billing_paymentreversal AS gone
                  JOIN billing_payment AS payment ON payment.id = gone.payment_id
                 UNION ALL
                SELECT receipt.public_id, receipt.transaction_id, reversal.transaction_id
                  FROM billing_reversal AS reversal
                  JOIN billing_receipt AS receipt ON receipt.id = reversal.receipt_id
                 WHERE receipt.transaction_id IS NOT NULL) AS mirrors
          JOIN billing_ledgerentry AS entry
            ON entry.transaction_id IN (mirrors.was, mirrors.now)) AS moved
 GROUP BY moved.key, moved.account_id HAVING sum(moved.amount) <> 0
""",
    ),
    (
        "customer's credit differs from what was paid too much or credited, less what was used",
        """
SELECT coalesce(owed.customer, booked.customer),
       coalesce(booked.amount, 0) || ' instead of ' || coalesce(owed.amount, 0)
  FROM (SELECT customer.public_id AS customer, -sum(moved.amount) AS amount
          FROM (SELECT customer_id, CASE method WHEN 'CUSTOMER_CREDIT' THEN -amount ELSE excess END
                       AS amount
                  FROM billing_payment AS payment
                 WHERE NOT EXISTS (SELECT FROM billing_paymentreversal
                                    WHERE payment_id = payment.id)
                 UNION ALL
                SELECT customer_id, credit FROM billing_receipt AS receipt
                 WHERE credit > 0
                   AND NOT EXISTS (SELECT FROM billing_reversal WHERE receipt_id = receipt.id)
                 UNION ALL
                SELECT customer_id, amount FROM billing_refund WHERE method = 'CUSTOMER_CREDIT'
                 UNION ALL
                SELECT customer_id, -amount FROM billing_refund WHERE credit_note_id IS NULL)
               AS moved
          JOIN partners_customer AS customer ON customer.id = moved.customer_id
         GROUP BY customer.public_id) AS owed
  FULL JOIN (SELECT substr(account.code, 17) AS customer, sum(entry.amount) AS amount
               FROM billing_ledgeraccount AS account
               JOIN billing_ledgerentry AS entry ON entry.account_id = account.id
              WHERE account.code LIKE 'customer_credit:%%'
              GROUP BY account.code) AS booked ON booked.customer = owed.customer
 WHERE coalesce(booked.amount, 0) <> coalesce(owed.amount, 0)
""",
    ),
    (
        "partner's pending or payable commission differs from its rows",
        """
SELECT coalesce(earned.code, booked.code),
       coalesce(booked.amount, 0) || ' instead of ' || coalesce(earned.amount, 0)
  FROM (SELECT side.account || ':' || partner.slug AS code, -sum(side.amount) AS amount
          FROM billing_commission AS row
          JOIN partners_partner AS partner ON partner.id = row.partner_id
          LEFT JOIN billing_commission AS release
                 ON release.accrual_id = row.accrual_id AND release.kind = 'MATURITY'
         CROSS JOIN LATERAL (VALUES
            ('partner_payable_pending', CASE row.kind
                WHEN 'ACCRUAL' THEN row.amount
                WHEN 'MATURITY' THEN -row.amount
                ELSE CASE WHEN row.id > coalesce(release.id, row.id) THEN 0 ELSE row.amount END
             END),
            ('partner_payable', CASE row.kind
                WHEN 'ACCRUAL' THEN 0
                WHEN 'MATURITY' THEN row.amount
                ELSE CASE WHEN row.id > coalesce(release.id, row.id) THEN row.amount ELSE 0 END
             END)
         ) AS side (account, amount)
         GROUP BY side.account, partner.slug) AS earned
  FULL JOIN (SELECT account.code, sum(entry.amount) AS amount
               FROM billing_ledgeraccount AS account
               JOIN billing_ledgerentry AS entry ON entry.account_id = account.id
              WHERE account.code LIKE 'partner_payable%%'
              GROUP BY account.code) AS booked ON booked.code = earned.code
 WHERE coalesce(booked.amount, 0) <> coalesce(earned.amount, 0)
""",
    ),
    (
        "periods of a subscription overlap",
        """
SELECT number, 'begins before the period before it ends'
  FROM (SELECT number, period_start,
               lag(period_end) OVER (PARTITION BY subscription_id
                                     ORDER BY segment_no, period_no) AS previous
          FROM billing_invoice) AS following
 WHERE period_start < previous
""",
    ),
    (
        "two subscriptions of one customer and template are invoiced for the same day",
        """
SELECT one.number, 'and ' || other.number || ' hold ' || greatest(one.first, other.period_start)
  FROM (SELECT invoice.id, invoice.number, invoice.customer_id, invoice.subscription_id,
               sub.template_id, period_start AS first, period_end AS after,
               max(period_end) OVER (PARTITION BY invoice.customer_id, sub.template_id
                                     ORDER BY period_start, invoice.id
                                     ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS covered
          FROM billing_invoice AS invoice
          JOIN subscriptions_subscription AS sub ON sub.id = invoice.subscription_id
         WHERE invoice.credited = 0) AS one
  JOIN billing_invoice AS other
    ON other.customer_id = one.customer_id AND other.subscription_id <> one.subscription_id
   AND other.period_start < one.after AND other.period_end > one.first AND other.credited = 0
   AND (other.period_start, other.id) < (one.first, one.id)
  JOIN subscriptions_subscription AS sub
    ON sub.id = other.subscription_id AND sub.template_id = one.template_id
 WHERE one.first < one.covered
""",
    ),
    (
        "paid live subscription without a segment: it would never be billed",
        """
SELECT sub.public_id, '' FROM subscriptions_subscription AS sub
 WHERE sub.environment = 'live' AND sub.monthly_fee > 0 AND sub.status <> 'CANCELLED'
   AND NOT EXISTS (SELECT FROM billing_billingsegment WHERE subscription_id = sub.id)
""",
    ),
)
_COUNTS: Final = """
SELECT (SELECT count(*) FROM billing_ledgeraccount),
       (SELECT count(*) FROM billing_ledgertransaction),
       (SELECT count(*) FROM billing_ledgerentry),
       (SELECT count(*) FROM billing_invoice)
"""


def check_ledger(*, now: dt.datetime) -> LedgerCheck:
    """Run every check on the whole ledger and store the result; findings are logged as errors."""
    findings: list[dict[str, Any]] = []
    with connection.cursor() as cursor:
        for what, question in _QUESTIONS:
            cursor.execute(
                f"SELECT *, count(*) OVER () FROM ({question}) AS wrong LIMIT %s",  # noqa: S608  ours
                [_EXAMPLES],
            )
            rows = cursor.fetchall()
            if rows:
                examples = [" ".join(filter(None, row[:2])) for row in rows]
                findings.append({"what": what, "count": rows[0][2], "examples": examples})
        cursor.execute(_COUNTS)
        accounts, transactions, entries, invoices = cursor.fetchone()
    if findings:
        log.error("ledger_check_failed", findings=findings)
    return LedgerCheck.objects.create(
        checked_at=now,
        ok=not findings,
        accounts=accounts,
        transactions=transactions,
        entries=entries,
        invoices=invoices,
        findings=findings,
    )
