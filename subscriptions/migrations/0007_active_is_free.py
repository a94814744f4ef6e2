"""No commit leaves a subscription active that somebody holds."""

from __future__ import annotations

from django.db import migrations

# Deferred: a hold and the status that follows from it are two statements of one transaction, and
# the rows are looked at as they are in the end. Each condition goes by an index of its own.
FORWARDS = """
CREATE FUNCTION subscriptions_active_is_free() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    one record;
BEGIN
    SELECT id, status, customer_id, partner_id, environment INTO one
      FROM subscriptions_subscription WHERE id = NEW.id;
    IF one.status = 'ACTIVE' AND (
        EXISTS (SELECT FROM subscriptions_hold
                 WHERE subscription_id = one.id AND lifted_at IS NULL)
        OR EXISTS (SELECT FROM subscriptions_hold
                    WHERE customer_id = one.customer_id AND lifted_at IS NULL)
        OR EXISTS (SELECT FROM subscriptions_hold
                    WHERE scope = 'PARTNER' AND partner_id = one.partner_id
                      AND environment = one.environment AND lifted_at IS NULL)
    ) THEN
        RAISE EXCEPTION 'subscription % is active and held', one.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'subscription_active_is_free';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER subscription_active_is_free
    AFTER INSERT OR UPDATE OF status ON subscriptions_subscription
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.status = 'ACTIVE')
    EXECUTE FUNCTION subscriptions_active_is_free();

CREATE FUNCTION subscriptions_hold_holds() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    one record;
BEGIN
    SELECT * INTO one FROM subscriptions_hold WHERE id = NEW.id;
    IF one.lifted_at IS NULL AND (
        EXISTS (SELECT FROM subscriptions_subscription
                 WHERE id = one.subscription_id AND status = 'ACTIVE')
        OR EXISTS (SELECT FROM subscriptions_subscription
                    WHERE customer_id = one.customer_id AND status = 'ACTIVE')
        OR (one.scope = 'PARTNER'
            AND EXISTS (SELECT FROM subscriptions_subscription
                         WHERE partner_id = one.partner_id AND environment = one.environment
                           AND status = 'ACTIVE'))
    ) THEN
        RAISE EXCEPTION 'hold % leaves a subscription active', one.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'subscription_active_is_free';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER hold_holds
    AFTER INSERT OR UPDATE ON subscriptions_hold
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION subscriptions_hold_holds();
"""

BACKWARDS = """
DROP TRIGGER hold_holds ON subscriptions_hold;
DROP FUNCTION subscriptions_hold_holds();
DROP TRIGGER subscription_active_is_free ON subscriptions_subscription;
DROP FUNCTION subscriptions_active_is_free();
"""


class Migration(migrations.Migration):
    """Two deferred constraint triggers."""

    dependencies = [("subscriptions", "0006_holds_of_pauses")]

    operations = [migrations.RunSQL(FORWARDS, BACKWARDS)]
