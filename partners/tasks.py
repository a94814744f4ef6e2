"""Celery tasks of this room; the database holds what is due."""

from __future__ import annotations

from celery import shared_task

from partners import key_expiry, one_time_secrets, services, suspensions
from partners.emails import mails as customer_mails
from partners.notices import mails as partner_mails
from partners.webhooks import mails
from partners.webhooks.delivery import deliver_due
from quantleap.core import clock


@shared_task(name="partners.deliver_webhooks")
def deliver_webhooks() -> None:
    """Send due deliveries. Beat calls it every second; a call beside a running one costs
    nothing."""
    deliver_due(now=clock.now())


@shared_task(name="partners.send_endpoint_mails")
def send_endpoint_mails() -> None:
    """Mail partners and staff that an endpoint was disabled."""
    mails.send_due(now=clock.now())


@shared_task(name="partners.carry_out_suspensions")
def carry_out_suspensions() -> int:
    """Pause or end subscriptions as suspended partners' plans say, once their day is over."""
    return suspensions.carry_out_due(now=clock.now())


@shared_task(name="partners.send_customer_mails")
def send_customer_mails() -> None:
    """Mail customers that their address needs confirmation, or was changed."""
    customer_mails.send_due(now=clock.now())


@shared_task(name="partners.send_partner_mails")
def send_partner_mails() -> None:
    """Mail partners' contacts that the partner was suspended or reinstated."""
    partner_mails.send_due(now=clock.now())


@shared_task(name="partners.forget_user_tokens")
def forget_user_tokens() -> None:
    """Delete user tokens that expired long ago, and secrets that nobody looked at."""
    now = clock.now()
    services.forget_user_tokens(now=now)
    one_time_secrets.forget(now=now)


@shared_task(name="partners.announce_expiring_keys")
def announce_expiring_keys() -> int:
    """Inform partners 30, 7 and 1 days before a key of theirs expires."""
    return key_expiry.announce_expiring(now=clock.now())
