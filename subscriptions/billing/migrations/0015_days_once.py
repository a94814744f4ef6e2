"""A restart continues the month that its customer has begun; no day belongs to two subscriptions."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import F, Q

# What was begun twice before this migration and is not invoiced yet is billed once: as the newest
# of those that a customer began with the same template inside the same month.
BEGUN_TWICE = """
UPDATE billing_billingsegment AS held
   SET next_on = NULL
  FROM subscriptions_subscription AS sub
 WHERE sub.id = held.subscription_id
   AND held.stop_on IS NOT NULL AND held.next_on IS NOT NULL
   AND EXISTS (
       SELECT FROM subscriptions_subscription AS other
         JOIN billing_billingsegment AS newer ON newer.subscription_id = other.id
        WHERE other.customer_id = sub.customer_id AND other.template_id = sub.template_id
          AND other.id <> sub.id AND newer.id > held.id
          AND newer.anchor >= held.next_on
          AND newer.anchor < (held.anchor + make_interval(months => held.next_no + 1))::date);
"""

# Asked when a segment is made: later its days only become fewer, or what they were before a pause.
# Two of one customer and template are never made at once: subscription_one_live_uniq makes the
# second wait for the first. What was credited may be begun again.
#
# By its indexes, and by the customer's and not the template's (hence the + 0), whatever the
# statistics say: a plan made while the tables were empty read all of them, or all subscribers of
# the template, for every one of 2,000 segments, for minutes.
DAYS_ONCE = """
CREATE FUNCTION billing_days_end(anchor date, stop_on date) RETURNS date
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN stop_on IS NULL THEN 'infinity'::date ELSE (anchor + make_interval(
        months => months + 1 - ((anchor + make_interval(months => months))::date > stop_on)::int
    ))::date END
      FROM (SELECT ((extract(year FROM stop_on) - extract(year FROM anchor)) * 12
                    + extract(month FROM stop_on) - extract(month FROM anchor))::int AS months
           ) AS counted
$$;

CREATE FUNCTION billing_days_once() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    new_first date := (NEW.anchor + make_interval(months => NEW.first_no))::date;
    new_after date := billing_days_end(NEW.anchor, NEW.stop_on);
    other record;
BEGIN
    SELECT held.id, held.subscription_id INTO other
      FROM subscriptions_subscription AS mine
      JOIN subscriptions_subscription AS theirs
        ON theirs.customer_id = mine.customer_id AND theirs.template_id + 0 = mine.template_id
       AND theirs.id <> mine.id
      JOIN billing_billingsegment AS held ON held.subscription_id = theirs.id
     CROSS JOIN LATERAL (
        SELECT (held.anchor + make_interval(months => held.first_no))::date AS first,
               billing_days_end(held.anchor, held.stop_on) AS after
     ) AS days
     WHERE mine.id = NEW.subscription_id AND new_first < new_after
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
CREATE TRIGGER billing_segment_days_once
    AFTER INSERT ON billing_billingsegment
    FOR EACH ROW EXECUTE FUNCTION billing_days_once();
"""
NO_DAYS_ONCE = """
DROP TRIGGER billing_segment_days_once ON billing_billingsegment;
DROP FUNCTION billing_days_once();
DROP FUNCTION billing_days_end(date, date);
"""


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0014_receipts_add_up"),
        ("subscriptions", "0007_active_is_free"),
    ]

    operations = [
        migrations.RunSQL(BEGUN_TWICE, migrations.RunSQL.noop),
        migrations.AddField(
            model_name="billingsegment",
            name="continues",
            field=models.ForeignKey(
                blank=True,
                help_text="The segment of an earlier subscription that bills the period before the "
                "first.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="continued_by",
                to="billing.billingsegment",
            ),
        ),
        migrations.AddField(
            model_name="billingsegment",
            name="first_no",
            field=models.PositiveIntegerField(default=0, help_text="The first period of its own."),
        ),
        migrations.AddConstraint(
            model_name="billingsegment",
            constraint=models.CheckConstraint(
                condition=Q(("continues__isnull", True), ("first_no", 0))
                | Q(
                    ("continues__isnull", False),
                    ("first_no__gte", 1),
                    ("next_no__gte", F("first_no")),
                ),
                name="segment_continues_from_first",
            ),
        ),
        migrations.RunSQL(DAYS_ONCE, NO_DAYS_ONCE),
    ]
