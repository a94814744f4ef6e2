"""Whether a day is begun twice is asked in steps that each have one index to go by."""

from __future__ import annotations

from django.db import migrations

# No join: a table that was last looked at while it was empty has all joins equally cheap, and this
# runs for every new segment. Seen, for 300 of them: every follower of the template compared with
# every other, 27 million rows, although scans and the other joins were switched off. "+ 0": by the
# customer's index and never by the template's.
STEPS = """
CREATE OR REPLACE FUNCTION billing_days_once() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off AS $$
DECLARE
    new_first date := (NEW.anchor + make_interval(months => NEW.first_no))::date;
    new_after date := billing_days_end(NEW.anchor, NEW.stop_on);
    mine record;
    theirs bigint[];
    other record;
BEGIN
    SELECT customer_id, template_id INTO mine
      FROM subscriptions_subscription WHERE id = NEW.subscription_id;
    theirs := ARRAY(SELECT id FROM subscriptions_subscription
                     WHERE customer_id = mine.customer_id AND template_id + 0 = mine.template_id
                       AND id + 0 <> NEW.subscription_id);
    IF theirs = '{}' OR new_first >= new_after THEN
        RETURN NULL;
    END IF;
    SELECT held.id, held.subscription_id INTO other
      FROM billing_billingsegment AS held
     CROSS JOIN LATERAL (
        SELECT (held.anchor + make_interval(months => held.first_no))::date AS first,
               billing_days_end(held.anchor, held.stop_on) AS after
     ) AS days
     WHERE held.subscription_id = ANY (theirs)
       AND days.first < days.after AND days.first < new_after AND new_first < days.after
       AND NOT EXISTS (SELECT FROM billing_invoice AS invoice
                        WHERE invoice.subscription_id = held.subscription_id
                          AND invoice.segment_no = held.number AND invoice.credited > 0
                          AND greatest(new_first, days.first) >= invoice.period_start
                          AND greatest(new_first, days.first) < invoice.period_end)
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'segment % of subscription % begins a day that subscription % has begun',
            NEW.number, NEW.subscription_id, other.subscription_id
            USING ERRCODE = 'exclusion_violation', CONSTRAINT = 'segment_days_once';
    END IF;
    RETURN NULL;
END
$$;
"""


class Migration(migrations.Migration):
    """The same rule as in 0015; going back leaves the function as it is."""

    dependencies = [("billing", "0015_days_once")]

    operations = [migrations.RunSQL(STEPS, migrations.RunSQL.noop)]
