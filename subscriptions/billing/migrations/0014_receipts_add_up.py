"""Money that came has one receipt, receipts add up, and a reversal takes all of one back."""

from django.db import migrations, models

HISTORY = ("receipt", "reversal", "paymentreversal")
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

# A reference is free again only when all money that it named went back at the bank. Two at once
# meet at the unique key.
REFERENCES = """
CREATE FUNCTION billing_reference_is_free() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM billing_receipt AS held
      WHERE held.method = NEW.method AND held.reference_key = NEW.reference_key
        AND held.id <> NEW.id
        AND NOT EXISTS (SELECT FROM billing_reversal WHERE receipt_id = held.id);
    IF FOUND THEN
        RAISE EXCEPTION '% % names another receipt', NEW.method, NEW.reference
            USING ERRCODE = 'unique_violation', CONSTRAINT = 'receipt_reference_uniq';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER billing_receipt_reference_is_free
    AFTER INSERT ON billing_receipt
    FOR EACH ROW EXECUTE FUNCTION billing_reference_is_free();
"""
NO_REFERENCES = """
DROP TRIGGER billing_receipt_reference_is_free ON billing_receipt;
DROP FUNCTION billing_reference_is_free();
"""

# At the commit, so that the order of rows is free: a receipt is its credit and its payments; what
# an invoice says is paid and reversed is what its payments say; of a reversed receipt nothing is
# left that pays.
SUMS = """
CREATE FUNCTION billing_receipt_adds_up() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    SELECT receipt.public_id, receipt.amount, receipt.credit, coalesce(sum(payment.amount), 0) AS paid
      INTO wrong
      FROM billing_receipt AS receipt
      LEFT JOIN billing_payment AS payment ON payment.receipt_id = receipt.id
     WHERE receipt.id = (to_jsonb(NEW) ->> TG_ARGV[0])::bigint
     GROUP BY receipt.id
    HAVING receipt.amount <> receipt.credit + coalesce(sum(payment.amount), 0);
    IF wrong.public_id IS NOT NULL THEN
        RAISE EXCEPTION 'receipt % of % is not its credit % and its payments %', wrong.public_id,
            wrong.amount, wrong.credit, wrong.paid
            USING ERRCODE = 'check_violation', CONSTRAINT = 'receipt_adds_up';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER billing_receipt_adds_up
    AFTER INSERT ON billing_receipt DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION billing_receipt_adds_up('id');
CREATE CONSTRAINT TRIGGER billing_payment_fits_receipt
    AFTER INSERT ON billing_payment DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.receipt_id IS NOT NULL)
    EXECUTE FUNCTION billing_receipt_adds_up('receipt_id');

CREATE FUNCTION billing_invoice_counts_payments() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    of_one bigint;
    held record;
BEGIN
    IF TG_TABLE_NAME = 'billing_payment' THEN
        of_one := NEW.invoice_id;
    ELSE
        SELECT invoice_id INTO of_one FROM billing_payment WHERE id = NEW.payment_id;
    END IF;
    SELECT invoice.number, invoice.paid, invoice.reversed,
           coalesce(sum(payment.applied) FILTER (WHERE gone.id IS NULL), 0) AS live,
           coalesce(sum(payment.applied) FILTER (WHERE gone.id IS NOT NULL), 0) AS back
      INTO held
      FROM billing_invoice AS invoice
      JOIN billing_payment AS payment ON payment.invoice_id = invoice.id
      LEFT JOIN billing_paymentreversal AS gone ON gone.payment_id = payment.id
     WHERE invoice.id = of_one
     GROUP BY invoice.id;
    IF held.paid <> held.live OR held.reversed <> held.back THEN
        RAISE EXCEPTION 'invoice % says that % are paid and % reversed, its payments say % and %',
            held.number, held.paid, held.reversed, held.live, held.back
            USING ERRCODE = 'check_violation', CONSTRAINT = 'invoice_counts_payments';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER billing_payment_is_counted
    AFTER INSERT ON billing_payment DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION billing_invoice_counts_payments();
CREATE CONSTRAINT TRIGGER billing_paymentreversal_is_counted
    AFTER INSERT ON billing_paymentreversal DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION billing_invoice_counts_payments();

CREATE FUNCTION billing_reversal_is_whole() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    left_over bigint;
BEGIN
    SELECT count(*) INTO left_over FROM billing_payment AS payment
     WHERE payment.receipt_id = NEW.receipt_id
       AND NOT EXISTS (SELECT FROM billing_paymentreversal WHERE payment_id = payment.id);
    IF left_over > 0 THEN
        RAISE EXCEPTION 'reversal % leaves % payments of its receipt', NEW.public_id, left_over
            USING ERRCODE = 'check_violation', CONSTRAINT = 'reversal_is_whole';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER billing_reversal_is_whole
    AFTER INSERT ON billing_reversal DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION billing_reversal_is_whole();
"""
NO_SUMS = """
DROP TRIGGER billing_reversal_is_whole ON billing_reversal;
DROP FUNCTION billing_reversal_is_whole();
DROP TRIGGER billing_paymentreversal_is_counted ON billing_paymentreversal;
DROP TRIGGER billing_payment_is_counted ON billing_payment;
DROP FUNCTION billing_invoice_counts_payments();
DROP TRIGGER billing_payment_fits_receipt ON billing_payment;
DROP TRIGGER billing_receipt_adds_up ON billing_receipt;
DROP FUNCTION billing_receipt_adds_up();
"""


class Migration(migrations.Migration):
    """Every payment of money has its receipt by now (0013)."""

    dependencies = [("billing", "0013_receipts_of_payments")]

    operations = [
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("method", "CUSTOMER_CREDIT"), ("receipt__isnull", True)),
                    models.Q(
                        models.Q(("method", "CUSTOMER_CREDIT"), _negated=True),
                        ("receipt__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="payment_money_has_receipt",
            ),
        ),
        migrations.RunSQL(STAYS, NO_STAYS),
        migrations.RunSQL(REFERENCES, NO_REFERENCES),
        migrations.RunSQL(SUMS, NO_SUMS),
    ]
