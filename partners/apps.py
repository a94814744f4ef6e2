"""Wiring of the room partners."""

from django.apps import AppConfig


class PartnersConfig(AppConfig):
    """See docs/architecture.md for what this room owns."""

    name = "partners"
    verbose_name = "Partners"

    def ready(self) -> None:
        """Listen to the outbox: partners are told by webhook. Offer their names to marketplace."""
        # Models can be imported only once every app is loaded.
        from marketplace.ports import PARTNERS
        from partners.selectors import partner_names
        from partners.webhooks.fanout import fan_out
        from quantleap.core.outbox import HANDLERS

        HANDLERS.register(fan_out)
        PARTNERS.register(partner_names)
