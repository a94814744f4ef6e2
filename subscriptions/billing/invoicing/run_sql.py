"""The statements of the billing run. Each works on a whole chunk.

Temporary tables of the chunk's transaction: ``billing_due``, the due segments with everything that
an invoice copies; ``billing_new``, one row per invoice to issue; ``billing_named``, the same rows
with ids.
"""

from __future__ import annotations

from typing import Final

# A chunk reads a few rows of large tables by key. With old statistics (after months without a run,
# or in a fresh database) PostgreSQL would read whole tables instead.
KEYS_ONLY: Final = """
SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
       set_config('enable_mergejoin', 'off', true), set_config('jit', 'off', true)
"""

DROP: Final = "DROP TABLE IF EXISTS pg_temp.billing_due, pg_temp.billing_new, pg_temp.billing_named"

# The place of supply follows partners.gst_states.place_of_supply for a customer who is not
# registered; without one a segment is withheld.
# No period begins after the last day on which a suspended partner's customers trade, whether their
# subscriptions are held yet or not (adr 0051): such a segment is not due, so it is not withheld.
# The last period of a segment is computed exactly from its anchor: a loose bound would make
# generate_series the slowest part of the run.
DUE: Final = """
CREATE TEMPORARY TABLE billing_due ON COMMIT DROP AS
WITH due AS MATERIALIZED (
    SELECT id, partner_id, environment, subscription_id, number, anchor, stop_on, next_no, next_on
      FROM billing_billingsegment
     WHERE next_on <= %(as_of)s AND (next_on, id) > (%(after_on)s, %(after_id)s)
       AND NOT EXISTS (SELECT FROM partners_partner AS over
                        WHERE over.id = billing_billingsegment.partner_id
                          AND over.run_until < billing_billingsegment.next_on)
     ORDER BY next_on, id
     LIMIT %(chunk)s
       FOR NO KEY UPDATE SKIP LOCKED
)
SELECT due.id AS segment_id, due.partner_id, due.environment, due.subscription_id,
       due.number AS segment_no, due.anchor, due.stop_on, due.next_no, due.next_on,
       counted.months - ((due.anchor + make_interval(months => counted.months))::date
                         > counted.until)::int AS last_no,
       sub.public_id AS subscription, sub.customer_id, sub.monthly_fee, sub.currency,
       cus.public_id AS customer, cus.email, cus.external_user_id, cus.name, cus.billing_address,
       'receivable:' || cus.public_id AS receivable,
       tem.public_id AS template_id, tem.name AS template,
       coalesce(nullif(tem.sac, ''), %(sac)s) AS sac, par.name AS channel,
       CASE WHEN %(states)s::jsonb ? cus.state THEN cus.state END AS state
  FROM due
  JOIN subscriptions_subscription AS sub ON sub.id = due.subscription_id
  JOIN partners_customer AS cus ON cus.id = sub.customer_id
  JOIN marketplace_template AS tem ON tem.id = sub.template_id
  LEFT JOIN partners_partner AS par ON par.id = due.partner_id
 CROSS JOIN LATERAL (SELECT least(%(as_of)s, due.stop_on, par.run_until) AS until) AS bound
 CROSS JOIN LATERAL (
    SELECT bound.until, ((extract(year FROM bound.until) - extract(year FROM due.anchor)) * 12
           + extract(month FROM bound.until) - extract(month FROM due.anchor))::int AS months
 ) AS counted
"""

# Number of segments, how many of them are withheld, and the queue position of the last one.
LOOKED_AT: Final = """
SELECT count(*), count(*) FILTER (WHERE state IS NULL),
       (array_agg(next_on ORDER BY next_on DESC, segment_id DESC))[1],
       (array_agg(segment_id ORDER BY next_on DESC, segment_id DESC))[1]
  FROM billing_due
"""

# An invoiced period is left out, whatever its segment says, so a second attempt does nothing.
# (PostgreSQL can answer the subquery, unlike NOT EXISTS, only from the index.)
NEW: Final = """
CREATE TEMPORARY TABLE billing_new ON COMMIT DROP AS
SELECT row_number() OVER (ORDER BY period.first, due.segment_id) AS place,
       nextval('billing_invoice_id_seq') AS invoice_id,
       nextval('billing_ledgertransaction_id_seq') AS transaction_id,
       due.*, due.state = %(supplier_state)s AS intra, no.period_no,
       period.first AS period_start, period.after AS period_end, period.after <= %(today)s AS stale,
       rate.rate_pct, due.monthly_fee AS taxable,
       round(due.monthly_fee * rate.rate_pct / 200, 2) AS half,
       round(due.monthly_fee * rate.rate_pct / 100, 2) AS whole
  FROM billing_due AS due
 CROSS JOIN LATERAL generate_series(due.next_no, due.last_no) AS no (period_no)
 CROSS JOIN LATERAL (
    SELECT (due.anchor + make_interval(months => no.period_no))::date AS first,
           (due.anchor + make_interval(months => no.period_no + 1))::date AS after
 ) AS period
  LEFT JOIN LATERAL (
    SELECT rate_pct FROM billing_taxrate WHERE effective_from <= period.first
     ORDER BY effective_from DESC LIMIT 1
 ) AS rate ON true
 WHERE due.state IS NOT NULL
   AND (SELECT held.id FROM billing_invoice AS held
         WHERE held.subscription_id = due.subscription_id AND held.segment_no = due.segment_no
           AND held.period_no = no.period_no) IS NULL
"""

TAXED: Final = """
SELECT count(*), count(*) FILTER (WHERE stale), min(period_start) FILTER (WHERE rate_pct IS NULL)
  FROM billing_new
"""

# Ids come from core/ids.py, as everywhere. Only this statement may join whole (temporary) tables.
NAMED: Final = """
CREATE TEMPORARY TABLE billing_named ON COMMIT DROP AS
SELECT new.*, ids.invoice, ids.event,
       CASE WHEN intra THEN half ELSE 0.00 END AS cgst,
       CASE WHEN intra THEN 0.00 ELSE whole END AS igst,
       taxable + CASE WHEN intra THEN half + half ELSE whole END AS total
  FROM billing_new AS new
  JOIN unnest(%(invoices)s::text[], %(events)s::text[]) WITH ORDINALITY
       AS ids (invoice, event, place) USING (place)
"""
JOIN_WHOLE: Final = "SELECT set_config('enable_hashjoin', 'on', true)"
JOIN_BY_KEY: Final = "SELECT set_config('enable_hashjoin', 'off', true)"

TOTALS: Final = "SELECT DISTINCT total FROM billing_named"

ACCOUNTS: Final = """
INSERT INTO billing_ledgeraccount (code, kind)
SELECT DISTINCT new.receivable, 'ASSET' FROM billing_named AS new
 WHERE (SELECT held.id FROM billing_ledgeraccount AS held WHERE held.code = new.receivable) IS NULL
 ORDER BY new.receivable
    ON CONFLICT (code) DO NOTHING
"""

# number_format.document_number of a row's place in the chunk.
_NUMBER: Final = "%(prefix)s || lpad((%(first)s - 1 + new.place)::text, 8, '0')"

INVOICES: Final = """
INSERT INTO billing_invoice (
    id, public_id, partner_id, environment, customer_id, subscription_id, segment_id, segment_no,
    period_no, period_start, period_end, fy, seq, number, issued_on, due_on, taxable, rate_pct,
    cgst, sgst, igst, total, currency, sac, place_of_supply, supplier_id, snapshot, created_at,
    status, paid, refunded, credited, credited_taxable, recognised, needs_review)
SELECT new.invoice_id, new.invoice, new.partner_id, new.environment, new.customer_id,
       new.subscription_id, new.segment_id, new.segment_no, new.period_no, new.period_start,
       new.period_end, %(fy)s, named.seq, named.number, %(issued_on)s, %(due_on)s, new.taxable,
       new.rate_pct, new.cgst, new.cgst, new.igst, new.total, new.currency, new.sac, new.state,
       %(supplier_id)s,
       jsonb_build_object(
           'version', 1, 'number', named.number,
           'issued_on', %(issued_on)s::date, 'due_on', %(due_on)s::date,
           'supplier', %(supplier)s::jsonb,
           'customer', jsonb_build_object(
               'id', new.customer, 'name', new.name, 'email', new.email, 'state_code', new.state,
               'state_name', %(states)s::jsonb -> new.state)
               || CASE WHEN new.billing_address = '' THEN '{}'::jsonb
                       ELSE jsonb_build_object('address', new.billing_address) END,
           'place_of_supply', jsonb_build_object(
               'code', new.state, 'name', %(states)s::jsonb -> new.state),
           'reverse_charge', false, 'subscription', new.subscription, 'template', new.template,
           'lines', jsonb_build_array(jsonb_build_object(
               'description', new.template || ', monthly subscription', 'sac', new.sac,
               'period_start', new.period_start, 'period_last', new.period_end - 1, 'quantity', 1,
               'taxable', new.taxable::text)),
           'taxable', new.taxable::text, 'rate_pct', new.rate_pct::text,
           'cgst', new.cgst::text, 'sgst', new.cgst::text, 'igst', new.igst::text,
           'total', new.total::text, 'currency', new.currency,
           'in_words', %(words)s::jsonb -> new.total::text, 'channel', new.channel),
       %(now)s, 'DUE', 0, 0, 0, 0, 0, new.stale
  FROM billing_named AS new
 CROSS JOIN LATERAL (
    SELECT %(first)s - 1 + new.place AS seq,
           {number} AS number
 ) AS named
 ORDER BY new.place
""".replace("{number}", _NUMBER)

TRANSACTIONS: Final = """
INSERT INTO billing_ledgertransaction
       (id, idem_key, kind, effective_on, created_at, partner_id, environment)
SELECT transaction_id,
       'invoice:' || subscription || ':' || segment_no || ':' || period_no,
       'invoice', %(issued_on)s, %(now)s, partner_id, environment
  FROM billing_named ORDER BY place
"""

# Dr receivable, Cr deferred revenue and the tax.
ENTRIES: Final = """
INSERT INTO billing_ledgerentry (transaction_id, account_id, amount)
SELECT new.transaction_id, side.account_id, side.amount
  FROM billing_named AS new
 CROSS JOIN LATERAL (VALUES
    ((SELECT held.id FROM billing_ledgeraccount AS held WHERE held.code = new.receivable),
     new.total),
    (%(deferred_revenue)s::bigint, -new.taxable), (%(cgst)s::bigint, -new.cgst),
    (%(sgst)s::bigint, -new.cgst), (%(igst)s::bigint, -new.igst)
 ) AS side (account_id, amount)
 WHERE side.amount <> 0
 ORDER BY new.place
"""

# One event per invoice. It needs no key of its own: the invoice's is in the same transaction.
EVENTS: Final = """
INSERT INTO core_outboxevent
       (event_id, type, object_id, sequence, payload, partner_id, environment, created_at)
SELECT new.event, 'invoice.issued', new.invoice, 0,
       jsonb_build_object(
           'invoice_id', new.invoice,
           'number', {number},
           'status', 'DUE', 'user_id', new.customer, 'user_email', new.email,
           'external_user_id', nullif(new.external_user_id, ''),
           'subscription_id', new.subscription,
           'template_id', new.template_id, 'template_name', new.template,
           'period_start', new.period_start, 'period_end', new.period_end,
           'issued_on', %(issued_on)s::date, 'due_on', %(due_on)s::date,
           'taxable', new.taxable, 'cgst', new.cgst, 'sgst', new.cgst, 'igst', new.igst,
           'total', new.total, 'currency', new.currency, 'needs_review', new.stale),
       new.partner_id, new.environment, %(now)s
  FROM billing_named AS new
 ORDER BY new.place
""".replace("{number}", _NUMBER)

ADVANCE: Final = """
UPDATE billing_billingsegment AS segment
   SET next_no = due.last_no + 1,
       next_on = CASE WHEN due.stop_on IS NULL OR following.start <= due.stop_on
                      THEN following.start END
  FROM billing_due AS due
 CROSS JOIN LATERAL (
    SELECT (due.anchor + make_interval(months => due.last_no + 1))::date AS start
 ) AS following
 WHERE segment.id = due.segment_id AND due.state IS NOT NULL
"""
