"""Nobody's credit is used twice; a finished withdrawal credit is history."""

from django.db import migrations

# Whoever takes from a customer's credit posts first: then only he writes balances until he commits,
# so what this sees at his commit is what is there.
CREDIT = """
CREATE FUNCTION billing_credit_is_there() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    held record;
BEGIN
    SELECT account.code, balance.balance INTO held
      FROM partners_customer AS customer
      JOIN billing_ledgeraccount AS account ON account.code = 'customer_credit:' || customer.public_id
      JOIN billing_accountbalance AS balance ON balance.account_id = account.id
     WHERE customer.id = NEW.customer_id;
    IF NOT FOUND OR held.balance > 0 THEN
        RAISE EXCEPTION '%: customer % has not so much credit', held.code, NEW.customer_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'credit_is_there';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER billing_payment_credit_is_there
    AFTER INSERT ON billing_payment DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.method = 'CUSTOMER_CREDIT')
    EXECUTE FUNCTION billing_credit_is_there();
CREATE CONSTRAINT TRIGGER billing_refund_credit_is_there
    AFTER INSERT ON billing_refund DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.credit_note_id IS NULL)
    EXECUTE FUNCTION billing_credit_is_there();
"""
NO_CREDIT = """
DROP TRIGGER billing_refund_credit_is_there ON billing_refund;
DROP TRIGGER billing_payment_credit_is_there ON billing_payment;
DROP FUNCTION billing_credit_is_there();
"""

WITHDRAWALS = """
CREATE TRIGGER billing_withdrawalcredit_is_done
    BEFORE UPDATE ON billing_withdrawalcredit
    FOR EACH ROW WHEN (OLD.done_at IS NOT NULL OR OLD.subscription_id <> NEW.subscription_id
                       OR OLD.withdrawn_on <> NEW.withdrawn_on)
    EXECUTE FUNCTION core_refuse_change();
CREATE TRIGGER billing_withdrawalcredit_stays
    BEFORE DELETE ON billing_withdrawalcredit
    FOR EACH ROW EXECUTE FUNCTION core_refuse_change();
"""
NO_WITHDRAWALS = """
DROP TRIGGER billing_withdrawalcredit_stays ON billing_withdrawalcredit;
DROP TRIGGER billing_withdrawalcredit_is_done ON billing_withdrawalcredit;
"""


class Migration(migrations.Migration):
    """Triggers only."""

    dependencies = [("billing", "0006_customer_credit")]

    operations = [
        migrations.RunSQL(CREDIT, NO_CREDIT),
        migrations.RunSQL(WITHDRAWALS, NO_WITHDRAWALS),
    ]
