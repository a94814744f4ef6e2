"""Wake-ups of this room; the database holds what is due."""

from __future__ import annotations

from celery import shared_task

from partners import services
from partners.webhooks.delivery import deliver_due
from quantleap.core import clock


@shared_task(name="partners.deliver_webhooks")
def deliver_webhooks() -> None:
    """Send what is due. Beat calls every second; a call beside a running one costs nothing."""
    deliver_due(now=clock.now())


@shared_task(name="partners.forget_user_tokens")
def forget_user_tokens() -> None:
    """Delete user tokens that ended long ago."""
    services.forget_user_tokens(now=clock.now())
