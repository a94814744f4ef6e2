"""The share lines of a subscription add up to its fee and to 100 %, or the commit is refused."""

from django.db import migrations

# Deferred: the lines are written one by one or together, the sum is looked at when all are there.
FORWARDS = """
CREATE FUNCTION subscriptions_shares_add_up() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    held record;
    fee numeric;
BEGIN
    SELECT count(*) AS lines, sum(amount) AS amount, sum(basis_points) AS points INTO held
      FROM subscriptions_shareline
     WHERE subscription_id = coalesce(NEW.subscription_id, OLD.subscription_id);
    SELECT monthly_fee INTO fee
      FROM subscriptions_subscription
     WHERE id = coalesce(NEW.subscription_id, OLD.subscription_id);
    IF held.lines > 0 AND (held.amount <> fee OR held.points <> 10000) THEN
        RAISE EXCEPTION 'share lines of subscription %: % rupees and % bp, not % rupees and 10000',
            coalesce(NEW.subscription_id, OLD.subscription_id), held.amount, held.points, fee
            USING ERRCODE = 'check_violation', CONSTRAINT = 'share_lines_add_up';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER subscriptions_shareline_add_up
    AFTER INSERT OR UPDATE OR DELETE ON subscriptions_shareline
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION subscriptions_shares_add_up();
"""

BACKWARDS = """
DROP TRIGGER subscriptions_shareline_add_up ON subscriptions_shareline;
DROP FUNCTION subscriptions_shares_add_up();
"""


class Migration(migrations.Migration):
    """One deferred constraint trigger."""

    dependencies = [("subscriptions", "0002_shareline")]

    operations = [migrations.RunSQL(FORWARDS, BACKWARDS)]
