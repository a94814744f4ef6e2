"""App configuration of the room partners."""

from django.apps import AppConfig


class PartnersConfig(AppConfig):
    """See docs/architecture.md for what this room owns."""

    name = "partners"
    verbose_name = "Partners"

    def ready(self) -> None:
        """Register outbox handlers: webhooks for partners, and mails about disabled endpoints.

        Also register the partners' names for marketplace, and the room's part of the console's
        first page.
        """
        # Models can be imported only once every app is loaded.
        from marketplace.ports import PARTNERS
        from partners.api.event_objects import shown
        from partners.dashboard import today
        from partners.ports import SHOWN_OBJECTS
        from partners.selectors import partner_names
        from partners.sidebar import PEOPLE, WEBHOOKS
        from partners.webhooks.fanout import fan_out
        from partners.webhooks.mails import queue_mails
        from quantleap.core.console import NAVIGATION, TODAY
        from quantleap.core.outbox import HANDLERS

        HANDLERS.register(fan_out)
        HANDLERS.register(queue_mails)
        TODAY.register(today)
        NAVIGATION.register(PEOPLE)
        NAVIGATION.register(WEBHOOKS)
        PARTNERS.register(partner_names)
        SHOWN_OBJECTS.register(shown)
