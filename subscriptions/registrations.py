"""What this room answers to the rooms below it (marketplace.ports.SubscriberView)."""

from __future__ import annotations

import datetime as dt

from marketplace.definition import Definition
from quantleap.core.audit import Actor
from subscriptions import selectors, services


class Subscribers:
    """Who follows a template."""

    def count(self, template_id: int) -> int:
        """See :func:`subscriptions.selectors.live_count`."""
        return selectors.live_count(template_id)

    def zero_lot_subscriptions(self, template_id: int, definition: Definition) -> list[str]:
        """See :func:`subscriptions.selectors.zero_lot_subscriptions`."""
        return selectors.zero_lot_subscriptions(template_id, definition)

    def cancel_for_withdrawal(self, template_id: int, *, actor: Actor, now: dt.datetime) -> int:
        """See :func:`subscriptions.services.cancel_for_withdrawal`."""
        return services.cancel_for_withdrawal(template_id, actor=actor, now=now)


SUBSCRIBERS_OF_TEMPLATES = Subscribers()
