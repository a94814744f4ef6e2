"""Payments, credit notes, refunds and commissions are history; credit notes have no gap."""

from django.db import migrations

HISTORY = ("payment", "creditnote", "refund")
STAYS = "".join(
    f"""
CREATE TRIGGER billing_{table}_append_only
    BEFORE UPDATE OR DELETE ON billing_{table}
    FOR EACH ROW EXECUTE FUNCTION core_refuse_change();
"""
    for table in HISTORY
)
NO_STAYS = "".join(
    f"DROP TRIGGER billing_{table}_append_only ON billing_{table};\n" for table in HISTORY
)

NUMBERS = """
CREATE TRIGGER billing_creditnote_refuse_gap
    AFTER INSERT ON billing_creditnote REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_gap('credit_note');
"""
NO_NUMBERS = "DROP TRIGGER billing_creditnote_refuse_gap ON billing_creditnote;"

# An accrual matures once; nothing else of a row ever changes. What is taken back or released of an
# accrual never exceeds it: judged when the transaction commits, so that the order of rows is free.
COMMISSIONS = """
CREATE FUNCTION billing_commission_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.matured_at IS NULL AND NEW.matured_at IS NOT NULL
       AND to_jsonb(OLD) - 'matured_at' = to_jsonb(NEW) - 'matured_at' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'commission % stays as it is: its rows are history', OLD.id
        USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER billing_commission_stays
    BEFORE UPDATE ON billing_commission
    FOR EACH ROW EXECUTE FUNCTION billing_commission_stays();
CREATE TRIGGER billing_commission_is_kept
    BEFORE DELETE ON billing_commission
    FOR EACH ROW EXECUTE FUNCTION core_refuse_change();

CREATE FUNCTION billing_commission_within_accrual() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    earned numeric;
    taken numeric;
BEGIN
    SELECT amount INTO earned
      FROM billing_commission WHERE id = NEW.accrual_id AND kind = 'ACCRUAL';
    SELECT coalesce(-sum(amount), 0) INTO taken
      FROM billing_commission WHERE accrual_id = NEW.accrual_id AND kind = 'CLAWBACK';
    IF earned IS NULL OR taken > earned OR (NEW.kind = 'MATURITY' AND NEW.amount > earned) THEN
        RAISE EXCEPTION 'commission %: % of accrual % which is %', NEW.id, NEW.amount,
            NEW.accrual_id, earned
            USING ERRCODE = 'check_violation', CONSTRAINT = 'commission_within_accrual';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER billing_commission_within_accrual
    AFTER INSERT ON billing_commission DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.accrual_id IS NOT NULL)
    EXECUTE FUNCTION billing_commission_within_accrual();
"""
NO_COMMISSIONS = """
DROP TRIGGER billing_commission_within_accrual ON billing_commission;
DROP FUNCTION billing_commission_within_accrual();
DROP TRIGGER billing_commission_is_kept ON billing_commission;
DROP TRIGGER billing_commission_stays ON billing_commission;
DROP FUNCTION billing_commission_stays();
"""


class Migration(migrations.Migration):
    """Triggers only."""

    dependencies = [("billing", "0003_payments")]

    operations = [
        migrations.RunSQL(STAYS, NO_STAYS),
        migrations.RunSQL(NUMBERS, NO_NUMBERS),
        migrations.RunSQL(COMMISSIONS, NO_COMMISSIONS),
    ]
