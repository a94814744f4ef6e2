"""Money that was recorded before receipts were rows gets them."""

from django.db import migrations

# One receipt for what is one movement of money by every word of it: the same customer, rail, day
# and reference to the letter, for different invoices. Anything else that bears the same letters and
# digits (another customer, another spelling, the same invoice again) cannot be told apart here: it
# is kept as a receipt of its own, in doubt, and the proof names it until somebody reversed one.
FORWARDS = """
ALTER TABLE billing_payment DISABLE TRIGGER billing_payment_append_only;

CREATE TEMPORARY TABLE billing_moved ON COMMIT DROP AS
SELECT payment_id, method, amount,
       min(payment_id) OVER (PARTITION BY method, reference, customer_id, received_on, nth)
       AS first_id,
       coalesce(nullif(regexp_replace(
           translate(reference, 'abcdefghijklmnopqrstuvwxyz', 'ABCDEFGHIJKLMNOPQRSTUVWXYZ')
           COLLATE "C", '[^A-Z0-9]', '', 'g'), ''), 'PAYMENT' || payment_id) AS reference_key
  FROM (SELECT id AS payment_id, method, btrim(reference) AS reference, customer_id, received_on,
               amount,
               row_number() OVER (PARTITION BY method, btrim(reference), customer_id, received_on,
                                               invoice_id ORDER BY id) AS nth
          FROM billing_payment WHERE method <> 'CUSTOMER_CREDIT') AS alike;

CREATE TEMPORARY TABLE billing_made ON COMMIT DROP AS
SELECT first_id, min(reference_key) AS reference_key, sum(amount) AS amount,
       nextval(pg_get_serial_sequence('billing_receipt', 'id')) AS receipt_id,
       row_number() OVER (PARTITION BY method, min(reference_key) ORDER BY first_id) AS presentation
  FROM billing_moved GROUP BY first_id, method ORDER BY first_id;

INSERT INTO billing_receipt
       (id, partner_id, environment, public_id, customer_id, payer_name, method, reference,
        reference_key, presentation, in_doubt, received_on, amount, credit, currency, note,
        recorded_by, recorded_on, created_at)
SELECT made.receipt_id, first.partner_id, first.environment,
       'rct_' || substr(md5(gen_random_uuid()::text), 1, 20), first.customer_id, '', first.method,
       btrim(first.reference), made.reference_key, made.presentation, made.presentation > 1,
       first.received_on, made.amount, 0, first.currency, '', first.recorded_by,
       first.recorded_on, first.created_at
  FROM billing_made AS made JOIN billing_payment AS first ON first.id = made.first_id
 ORDER BY made.receipt_id;

UPDATE billing_payment AS payment SET receipt_id = made.receipt_id
  FROM billing_moved AS moved JOIN billing_made AS made USING (first_id)
 WHERE moved.payment_id = payment.id;

SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE billing_payment ENABLE TRIGGER billing_payment_append_only;
"""
BACKWARDS = """
ALTER TABLE billing_payment DISABLE TRIGGER billing_payment_append_only;
UPDATE billing_payment SET receipt_id = NULL;
DELETE FROM billing_receipt;
SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE billing_payment ENABLE TRIGGER billing_payment_append_only;
"""


class Migration(migrations.Migration):
    """Rows only; what the database then asks of them is in 0014."""

    dependencies = [("billing", "0012_receipts")]

    operations = [migrations.RunSQL(FORWARDS, BACKWARDS)]
