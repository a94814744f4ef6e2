"""What the database itself refuses: gaps, changed invoices, unbalanced or changed postings."""

from django.db import migrations

# date + interval counts from the anchor and falls on the last day of a month that is too short.
SEGMENTS = """
ALTER TABLE billing_billingsegment ADD CONSTRAINT segment_next_from_anchor
    CHECK (next_on IS NULL OR next_on = (anchor + make_interval(months => next_no))::date);
"""
NO_SEGMENTS = """
ALTER TABLE billing_billingsegment DROP CONSTRAINT segment_next_from_anchor;
"""

# billing_refuse_gap('<series>') serves every table with fy, seq and issued_on: the rows of one
# statement follow each other and what is there, their dates do not fall, and the series gave the
# numbers out. The series in its turn is compared with its table when the transaction commits.
NUMBERS = """
CREATE FUNCTION billing_refuse_gap() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    added record;
    before record;
BEGIN
    FOR added IN
        SELECT fy, min(seq) AS first, max(seq) AS last, count(*) AS rows,
               min(issued_on) AS issued_on
          FROM fresh GROUP BY fy
    LOOP
        EXECUTE format('SELECT coalesce(max(seq), 0) AS seq, max(issued_on) AS issued_on '
                       'FROM (SELECT seq, issued_on FROM %I WHERE fy = $1 AND seq < $2 '
                       'ORDER BY seq DESC LIMIT 1) AS newest', TG_TABLE_NAME)
           INTO before USING added.fy, added.first;
        IF added.last - added.first + 1 <> added.rows OR before.seq + 1 <> added.first THEN
            RAISE EXCEPTION '% %: numbers % to % in % rows do not follow %', TG_ARGV[0], added.fy,
                added.first, added.last, added.rows, before.seq
                USING ERRCODE = 'check_violation', CONSTRAINT = 'number_gap';
        END IF;
        IF added.issued_on < before.issued_on THEN
            RAISE EXCEPTION '% %: number % is dated before number %', TG_ARGV[0], added.fy,
                added.first, before.seq
                USING ERRCODE = 'check_violation', CONSTRAINT = 'number_date_falls';
        END IF;
        PERFORM FROM billing_numberseries
          WHERE series = TG_ARGV[0] AND fy = added.fy AND last >= added.last;
        IF NOT FOUND THEN
            RAISE EXCEPTION '% %: number % was not given out', TG_ARGV[0], added.fy, added.last
                USING ERRCODE = 'check_violation', CONSTRAINT = 'number_not_given';
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;
CREATE TRIGGER billing_invoice_refuse_gap
    AFTER INSERT ON billing_invoice REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_gap('invoice');

CREATE FUNCTION billing_series_is_used() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    numbered regclass := to_regclass('billing_' || replace(NEW.series, '_', ''));
    given integer;
    used integer;
BEGIN
    IF numbered IS NULL THEN
        RETURN NULL;
    END IF;
    SELECT last INTO given FROM billing_numberseries WHERE id = NEW.id;
    EXECUTE format('SELECT coalesce(max(seq), 0) FROM %s WHERE fy = $1', numbered)
       INTO used USING NEW.fy;
    IF given <> used THEN
        RAISE EXCEPTION '% %: last number given out is %, last used is %', NEW.series, NEW.fy,
            given, used USING ERRCODE = 'check_violation', CONSTRAINT = 'number_gap';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER billing_numberseries_is_used
    AFTER INSERT OR UPDATE ON billing_numberseries DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION billing_series_is_used();
CREATE TRIGGER billing_numberseries_stays
    BEFORE DELETE ON billing_numberseries
    FOR EACH ROW EXECUTE FUNCTION core_refuse_change();
"""
NO_NUMBERS = """
DROP TRIGGER billing_numberseries_stays ON billing_numberseries;
DROP TRIGGER billing_numberseries_is_used ON billing_numberseries;
DROP FUNCTION billing_series_is_used();
DROP TRIGGER billing_invoice_refuse_gap ON billing_invoice;
DROP FUNCTION billing_refuse_gap();
"""

ISSUED = (
    "id", "partner_id", "environment", "public_id", "customer_id", "subscription_id", "segment_id",
    "segment_no", "period_no", "period_start", "period_end", "fy", "seq", "number", "issued_on",
    "due_on", "taxable", "rate_pct", "cgst", "sgst", "igst", "total", "currency", "sac",
    "place_of_supply", "supplier_id", "snapshot", "created_at",
)  # fmt: skip
OLD, NEW = (", ".join(f"{row}.{name}" for name in ISSUED) for row in ("OLD", "NEW"))
INVOICES = f"""
CREATE TRIGGER billing_invoice_issued_stays
    BEFORE UPDATE ON billing_invoice FOR EACH ROW
    WHEN (({OLD}) IS DISTINCT FROM ({NEW}))
    EXECUTE FUNCTION core_refuse_change();
CREATE TRIGGER billing_invoice_stays
    BEFORE DELETE ON billing_invoice
    FOR EACH ROW EXECUTE FUNCTION core_refuse_change();
-- the daily recognition changes one number of every running invoice: room for it on the page, and
-- the document's text elsewhere, so that it is not copied each day
ALTER TABLE billing_invoice SET (fillfactor = 80, toast_tuple_target = 256);
ALTER TABLE billing_invoice ALTER COLUMN snapshot SET STORAGE EXTERNAL;
"""  # noqa: S608  our own column names
NO_INVOICES = """
ALTER TABLE billing_invoice ALTER COLUMN snapshot SET STORAGE EXTENDED;
ALTER TABLE billing_invoice RESET (fillfactor, toast_tuple_target);
DROP TRIGGER billing_invoice_stays ON billing_invoice;
DROP TRIGGER billing_invoice_issued_stays ON billing_invoice;
"""

# All entries of a transaction come in one statement, so their sum can be judged there; the balances
# follow in the same transaction. One transaction at a time writes balances (the lock): two that
# post several times each could otherwise wait for each other's accounts.
LEDGER = """
CREATE FUNCTION billing_judge_entries() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    SELECT transaction_id, sum(amount) AS excess INTO wrong
      FROM fresh GROUP BY transaction_id HAVING sum(amount) <> 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'ledger transaction % is out of balance by %', wrong.transaction_id,
            wrong.excess USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_balanced';
    END IF;
    SELECT added.transaction_id INTO wrong
      FROM (SELECT transaction_id, count(*) AS rows FROM fresh GROUP BY transaction_id) AS added
     WHERE added.rows <> (SELECT count(*) FROM billing_ledgerentry AS entry
                           WHERE entry.transaction_id = added.transaction_id)
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'ledger transaction % already has its entries', wrong.transaction_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_entries_once';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('billing.balances', 0));
    INSERT INTO billing_accountbalance AS held (account_id, balance)
    SELECT account_id, sum(amount) FROM fresh GROUP BY account_id ORDER BY account_id
        ON CONFLICT (account_id) DO UPDATE SET balance = held.balance + excluded.balance;
    RETURN NULL;
END
$$;
CREATE TRIGGER billing_ledgerentry_judge
    AFTER INSERT ON billing_ledgerentry REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION billing_judge_entries();
CREATE TRIGGER billing_ledgerentry_append_only
    BEFORE UPDATE OR DELETE ON billing_ledgerentry
    FOR EACH ROW EXECUTE FUNCTION core_refuse_change();
CREATE TRIGGER billing_ledgertransaction_append_only
    BEFORE UPDATE OR DELETE ON billing_ledgertransaction
    FOR EACH ROW EXECUTE FUNCTION core_refuse_change();
"""
NO_LEDGER = """
DROP TRIGGER billing_ledgertransaction_append_only ON billing_ledgertransaction;
DROP TRIGGER billing_ledgerentry_append_only ON billing_ledgerentry;
DROP TRIGGER billing_ledgerentry_judge ON billing_ledgerentry;
DROP FUNCTION billing_judge_entries();
"""


class Migration(migrations.Migration):
    """Constraints and triggers; rows arrive with the application's role like everything else."""

    dependencies = [("billing", "0001_initial"), ("core", "0002_append_only")]

    operations = [
        migrations.RunSQL(SEGMENTS, NO_SEGMENTS),
        migrations.RunSQL(NUMBERS, NO_NUMBERS),
        migrations.RunSQL(INVOICES, NO_INVOICES),
        migrations.RunSQL(LEDGER, NO_LEDGER),
    ]
