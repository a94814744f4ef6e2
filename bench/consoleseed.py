"""Rows for the console's lists, a million at a time. Import it after ``django.setup()``.

INSERT … SELECT generate_series as the database's superuser, with triggers off and indexes built
afterwards. The rows look like a year of trading, but there was none, and they have no postings in
the ledger. Only for an installation of the benchmark's own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import Cursor, sql

Row = tuple[Any, ...]

#: Executions per run; orders per execution.
RUN_SIZE: Final = 5_000
LEGS: Final = 4


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of rows of each kind."""

    subscriptions: int = 100_000
    orders: int = 1_000_000
    invoices: int = 300_000
    audit: int = 1_100_000

    @property
    def executions(self) -> int:
        """Number of executions, each with :data:`LEGS` orders."""
        return self.orders // LEGS

    @property
    def runs(self) -> int:
        """Number of runs, each with :attr:`run_size` executions."""
        return -(-self.executions // self.run_size)

    @property
    def run_size(self) -> int:
        """:data:`RUN_SIZE` executions, each of a different subscription."""
        return min(RUN_SIZE, self.subscriptions)


PEOPLE: Final = """
INSERT INTO partners_customer
       (id, partner_id, environment, public_id, external_user_id, email, name, state,
        billing_address, created_at)
SELECT n, (%(partners)s::bigint[])[1 + n %% 3], 'live', 'usr_' || substr(md5('c' || n), 1, 20),
       CASE WHEN n %% 2 = 0 THEN 'user-' || n ELSE '' END,
       'person' || n || '@'
       || (ARRAY['example.com', 'mail.example.org', 'post.example.net'])[1 + n %% 3],
       (ARRAY['Asha', 'Kiran', 'Meera', 'Ravi', 'Sunil'])[1 + n %% 5] || ' '
       || (ARRAY['Rao', 'Iyer', 'Shah', 'Das', 'Khan', 'Nair', 'Bose'])[1 + n %% 7],
       '33', '', now() - (%(count)s - n) * interval '1 minute'
  FROM generate_series(1, %(count)s) AS n;
INSERT INTO brokers_brokeraccount
       (id, partner_id, environment, customer_id, broker, client_id, status, api_key, api_secret,
        access_token, egress, algo_id, held, created_at, updated_at)
SELECT n, (%(partners)s::bigint[])[1 + n %% 3], 'live', n,
       CASE WHEN n %% 2 = 0 THEN 'zebu' ELSE 'zerodha' END, 'Z' || lpad(n::text, 7, '0'),
       'needs_credentials', '', '', '', '', '', false, now(), now()
  FROM generate_series(1, %(count)s) AS n;
INSERT INTO subscriptions_subscription
       (id, partner_id, environment, public_id, customer_id, template_id, status, status_reason,
        status_note, status_changed_at, monthly_fee, currency, partner_bps, anchor, created_at,
        cancelled_at)
SELECT n, (%(partners)s::bigint[])[1 + n %% 3], 'live', 'sub_' || substr(md5('s' || n), 1, 20), n,
       %(template)s, CASE WHEN n %% 200 = 0 THEN 'CANCELLED' WHEN n %% 50 = 0 THEN 'PAUSED'
       ELSE 'ACTIVE' END, CASE WHEN n %% 50 = 0 THEN 'USER' ELSE '' END, '', now(), 999, 'INR',
       3000, date '2025-08-01' + n %% 300, now() - (%(count)s - n) * interval '1 minute',
       CASE WHEN n %% 200 = 0 THEN now() END
  FROM generate_series(1, %(count)s) AS n;
INSERT INTO subscriptions_allocation
       (id, partner_id, environment, public_id, subscription_id, account_id, lot_multiplier,
        priority, status, created_at)
SELECT n, (%(partners)s::bigint[])[1 + n %% 3], 'live', 'alloc_' || substr(md5('a' || n), 1, 20),
       n, n, 1, 1, 'ACTIVE', now()
  FROM generate_series(1, %(count)s) AS n;
"""

DAYS: Final = """
INSERT INTO execution_run
       (id, public_id, strategy_key, template_id, version_id, trade_date, phase, status, cause,
        entry_at, exit_at, grace_until, armed_at, closed_at)
SELECT n, 'run_' || substr(md5('r' || n), 1, 20), %(strategy)s, %(template)s, %(version)s, day,
       'ENTRY', 'CLOSED', '', day + time '03:50', day + time '09:50', day + time '03:51',
       day + time '03:48', day + time '09:51'
  FROM (SELECT n, date '2026-08-04' - (%(runs)s - n)::int AS day
          FROM generate_series(1, %(runs)s) AS n) AS days;
INSERT INTO execution_execution
       (id, partner_id, environment, public_id, run_id, subscription_id, allocation_id, account_id,
        shard, status, lot_multiplier, priority, cause, message, exit_reason,
        closed_outside, realised_pnl, armed_at, committed_at, entered_at, closed_at)
SELECT n, sub.partner_id, 'live', 'exe_' || substr(md5('e' || n), 1, 20), run.id, sub.id, sub.id,
       sub.id, n %% 8, CASE WHEN n %% 500 = 0 THEN 'FAILED' WHEN n %% 700 = 0 THEN 'MISSED'
       ELSE 'CLOSED' END, 1, 1, CASE WHEN n %% 500 = 0 THEN 'MARGIN' WHEN n %% 700 = 0
       THEN 'NO_QUOTE' ELSE '' END, '', 'EXIT_TIME', '{}', (n %% 900) - 400,
       run.armed_at, run.entry_at, run.entry_at, run.closed_at
  FROM generate_series(1, %(executions)s) AS n
  JOIN execution_run AS run ON run.id = 1 + (n - 1) / %(run_size)s
  JOIN subscriptions_subscription AS sub ON sub.id = 1 + (n * 7) %% %(count)s;
INSERT INTO execution_alarm
       (execution_id, cause, leg_key, order_tag, words, raised_at, raised_by, acknowledged_by,
        settled_by, note, cleared_at, cleared_by)
SELECT exe.id, CASE WHEN exe.id %% 200 = 0 THEN 'DUPLICATE' ELSE 'EXIT_RESTING' END, '', '', '',
       exe.closed_at, 'executor-1', '', '', '', CASE WHEN exe.id %% 5000 = 0 THEN NULL
       ELSE exe.closed_at END, CASE WHEN exe.id %% 5000 = 0 THEN '' ELSE 'the order is filled' END
  FROM execution_execution AS exe WHERE exe.id %% 20 = 0;
INSERT INTO execution_orderintent
       (id, partner_id, environment, code, tag, run_id, execution_id, allocation_id, account_id,
        shard, leg_key, leg_index, "group", slice, purpose, attempt_group, contract_id, symbol,
        side, quantity, price, reference_price, reason, state, sends, broker_order_id,
        filled_quantity, average_price, cause, message, due_at, planned_at, sent_at, answered_at,
        final_at)
SELECT (exe.id - 1) * 4 + leg, exe.partner_id, 'live', code, 'Q' || code || '1', exe.run_id, exe.id,
       exe.allocation_id, exe.account_id, exe.shard, 'leg' || leg %% 2, leg %% 2, 0, 0,
       CASE WHEN leg <= 2 THEN 'ENTRY' ELSE 'EXIT' END, 0, %(contract)s, 'NIFTY2680424500CE',
       CASE WHEN leg IN (1, 4) THEN 'SELL' ELSE 'BUY' END, 65, 100, 100,
       CASE WHEN leg <= 2 THEN '' ELSE 'EXIT_TIME' END,
       CASE WHEN exe.status = 'FAILED' THEN 'REJECTED' WHEN exe.status = 'MISSED' THEN 'MISSED'
            ELSE 'FILLED' END, 1, '26' || lpad(((exe.id - 1) * 4 + leg)::text, 10, '0'),
       CASE WHEN exe.status = 'CLOSED' THEN 65 ELSE 0 END, 100, exe.cause, '',
       run.entry_at, run.entry_at, run.entry_at + exe.id %% 50 * interval '1 ms',
       run.entry_at + exe.id %% 300 * interval '1 ms',
       run.entry_at + exe.id %% 800 * interval '1 ms'
  FROM execution_execution AS exe
  JOIN execution_run AS run ON run.id = exe.run_id
 CROSS JOIN generate_series(1, 4) AS leg
 CROSS JOIN LATERAL (SELECT upper(substr(md5(exe.id || 'o' || leg), 1, 12)) AS code) AS named;
"""

MONEY: Final = """
INSERT INTO billing_billingsegment
       (id, partner_id, environment, subscription_id, number, anchor, first_no, next_no, next_on)
SELECT id, partner_id, 'live', id, 1, anchor, 0, 3, anchor + interval '3 months'
  FROM subscriptions_subscription;
INSERT INTO billing_invoice
       (id, partner_id, environment, public_id, customer_id, subscription_id, segment_id,
        segment_no, period_no, period_start, period_end, fy, seq, number, issued_on, due_on,
        taxable, rate_pct, cgst, sgst, igst, total, currency, sac, place_of_supply, supplier_id,
        snapshot, created_at, status, paid, refunded, credited, credited_taxable, recognised,
        needs_review)
SELECT n, sub.partner_id, 'live', 'inv_' || substr(md5('i' || n), 1, 20), sub.customer_id, sub.id,
       sub.id, 1, (n - 1) / %(count)s, day, day + 30, '2026-27', n,
       'QL26-' || lpad(n::text, 8, '0'), day, day + 7, 999, 18, 89.91, 89.91, 0, 1178.82, 'INR',
       '997331', '33', %(supplier)s, jsonb_build_object('text', repeat('x', 1500)), now(),
       CASE WHEN n %% 10 = 0 THEN 'DUE' ELSE 'PAID' END,
       CASE WHEN n %% 10 = 0 THEN 0 ELSE 1178.82 END, 0, 0, 0, 0, n %% 1000 = 0
  FROM (SELECT n, date '2026-04-01' + (n * 120 / %(invoices)s) AS day
          FROM generate_series(1, %(invoices)s) AS n) AS numbered
  JOIN subscriptions_subscription AS sub ON sub.id = 1 + (n - 1) %% %(count)s;
INSERT INTO billing_ledgertransaction
       (id, partner_id, environment, idem_key, kind, effective_on, created_at)
SELECT id, partner_id, 'live', 'invoice:' || public_id || ':1', 'invoice', issued_on, now()
  FROM billing_invoice
 UNION ALL
SELECT %(invoices)s + id, partner_id, 'live', 'payment:pay_' || substr(md5('p' || id), 1, 20),
       'payment', issued_on + 1, now() FROM billing_invoice WHERE status = 'PAID'
 UNION ALL
SELECT 2 * %(invoices)s + id, partner_id, 'live', 'commission:' || public_id, 'commission',
       issued_on + 1, now() FROM billing_invoice WHERE status = 'PAID';
INSERT INTO billing_receipt
       (id, partner_id, environment, public_id, customer_id, payer_name, method, reference,
        reference_key, presentation, in_doubt, received_on, amount, credit, currency, note,
        recorded_by, recorded_on, created_at)
SELECT id, partner_id, 'live', 'rct_' || substr(md5('r' || id), 1, 20), customer_id, '',
       CASE WHEN id %% 900 = 0 THEN 'CHEQUE' ELSE 'UPI' END, 'UTR' || lpad(id::text, 12, '0'),
       'UTR' || lpad(id::text, 12, '0'), 1, false, issued_on + 1, 1178.82, 0, 'INR', '', 'staff',
       issued_on + 1, now()
  FROM billing_invoice WHERE status = 'PAID';
INSERT INTO billing_payment
       (id, partner_id, environment, public_id, invoice_id, customer_id, receipt_id, idem_key,
        method,
        reference, received_on, amount, applied, excess, currency, recorded_by, recorded_on,
        created_at, transaction_id)
SELECT id, partner_id, 'live', 'pay_' || substr(md5('p' || id), 1, 20), id, customer_id, id,
       number || ':UPI:UTR' || id, CASE WHEN id %% 900 = 0 THEN 'CHEQUE' ELSE 'UPI' END,
       'UTR' || lpad(id::text, 12, '0'), issued_on + 1, 1178.82, 1178.82, 0, 'INR', 'staff',
       issued_on + 1, now(), %(invoices)s + id
  FROM billing_invoice WHERE status = 'PAID';
INSERT INTO billing_commission
       (id, partner_id, environment, public_id, kind, role, invoice_id, payment_id, base, bps,
        amount, currency, accrued_on, matures_on, created_at, transaction_id)
SELECT id, (%(partners)s::bigint[])[1], 'live', 'com_' || substr(md5('k' || id), 1, 20), 'ACCRUAL',
       'DISTRIBUTOR', invoice_id, id, 999, 3000, 299.70, 'INR', recorded_on, recorded_on + 30,
       now(), transaction_id + %(invoices)s
  FROM billing_payment;
INSERT INTO billing_ledgeraccount (code, kind)
SELECT 'receivable:' || public_id, 'ASSET' FROM partners_customer
    ON CONFLICT DO NOTHING;
INSERT INTO billing_ledgeraccount (code, kind)
SELECT 'customer_credit:' || public_id, 'LIABILITY' FROM partners_customer WHERE id %% 20 = 0;
INSERT INTO billing_accountbalance (account_id, balance)
SELECT id, CASE WHEN kind = 'ASSET' THEN 1178.82 ELSE -10 END FROM billing_ledgeraccount;
"""

HISTORY: Final = """
INSERT INTO core_auditentry
       (partner_id, environment, at, actor_kind, actor_id, action, target_type, target_id, data,
        request_id)
SELECT (%(partners)s::bigint[])[1 + n %% 3], 'live', now() - (%(audit)s - n) * interval '10 s',
       CASE WHEN n %% 10 = 0 THEN 'STAFF' ELSE 'PARTNER' END,
       CASE WHEN n %% 10 = 0 THEN 'staff' ELSE 'key_' || n %% 40 END,
       (ARRAY['subscription.created', 'invoice.issued', 'payment.recorded', 'account.linked'])
       [1 + n %% 4],
       (ARRAY['subscription', 'invoice', 'invoice', 'broker_account'])[1 + n %% 4],
       'sub_' || substr(md5('s' || 1 + n %% %(count)s), 1, 20), '{}',
       'req_' || substr(md5('q' || n), 1, 20)
  FROM generate_series(1, %(audit)s) AS n;
INSERT INTO core_outboxevent
       (partner_id, environment, event_id, type, object_id, sequence, payload, created_at,
        published_at)
SELECT (%(partners)s::bigint[])[1 + n %% 3], 'live', 'evt_' || substr(md5('v' || n), 1, 24),
       (ARRAY['subscription.created', 'invoice.issued', 'invoice.paid', 'execution.completed'])
       [1 + n %% 4], 'sub_' || substr(md5('s' || n), 1, 20), 1, '{}', now(), now()
  FROM generate_series(1, %(invoices)s) AS n;
"""

TABLES: Final = (
    "partners_customer", "brokers_brokeraccount", "subscriptions_subscription",
    "subscriptions_allocation", "execution_run", "execution_execution", "execution_orderintent",
    "billing_billingsegment", "billing_invoice", "billing_ledgertransaction", "billing_receipt",
    "billing_payment", "billing_commission", "billing_ledgeraccount", "core_auditentry",
    "core_outboxevent",
)  # fmt: skip


def fill(cursor: Cursor[Row], sizes: Sizes, facts: dict[str, Any]) -> None:
    """As :func:`insert`, but faster; ``cursor`` is a superuser's, outside a transaction."""
    with without_indexes(cursor, TABLES):
        insert(cursor, sizes, facts)
    cursor.execute("VACUUM ANALYZE")


def insert(cursor: Cursor[Row], sizes: Sizes, facts: dict[str, Any]) -> None:
    """Insert all rows, without triggers and foreign keys; ``cursor`` is a superuser's.

    ``facts``: ids of ``partners`` (three of them, or NULL), ``template``, ``version``,
    ``strategy``, ``contract`` and ``supplier``.
    """
    values = facts | {
        "count": sizes.subscriptions,
        "runs": sizes.runs,
        "run_size": sizes.run_size,
        "executions": sizes.executions,
        "invoices": sizes.invoices,
        "audit": sizes.audit,
    }
    cursor.execute("SET session_replication_role = replica")
    for script in (PEOPLE, DAYS, MONEY, HISTORY):
        for statement in script.split(";\n"):
            if statement.strip():
                cursor.execute(statement.encode(), values)
    cursor.execute("SET session_replication_role = origin")


@contextlib.contextmanager
def without_indexes(cursor: Cursor[Row], tables: Sequence[str]) -> Iterator[None]:
    """Drop indexes that no constraint needs, and rebuild them at the end: inserting is faster."""
    cursor.execute(
        "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index "
        " WHERE indrelid = ANY(%s::regclass[]) "
        "   AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)",
        [list(tables)],
    )
    indexes = cursor.fetchall()
    for name, _ in indexes:
        cursor.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
    yield
    cursor.execute("SET maintenance_work_mem = '256MB'")
    for _, definition in indexes:
        cursor.execute(definition.encode())
