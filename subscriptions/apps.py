"""Wiring of the room subscriptions."""

from django.apps import AppConfig


class SubscriptionsConfig(AppConfig):
    """See docs/architecture.md for what this room owns."""

    name = "subscriptions"
    verbose_name = "Subscriptions"

    def ready(self) -> None:
        """Register this room's part at the ports of other rooms and at the console."""
        # Models can be imported only once every app is loaded.
        from brokers.ports import ACCOUNT_UNLINK
        from marketplace.ports import SUBSCRIBERS
        from partners.ports import BELONGINGS, FOLLOWERS, REACH, SHOWN_OBJECTS
        from quantleap.core.console import NAVIGATION
        from subscriptions.api.event_objects import shown
        from subscriptions.customer_panel import belongings
        from subscriptions.port_adapters import FOLLOWERS_OF_PARTNERS, SUBSCRIBERS_OF_TEMPLATES
        from subscriptions.reach import reach
        from subscriptions.services import unlink_account
        from subscriptions.sidebar import SUBSCRIPTIONS

        SUBSCRIBERS.register(SUBSCRIBERS_OF_TEMPLATES)
        ACCOUNT_UNLINK.register(unlink_account)
        FOLLOWERS.register(FOLLOWERS_OF_PARTNERS)
        REACH.register(reach)
        BELONGINGS.register(belongings)
        SHOWN_OBJECTS.register(shown)
        NAVIGATION.register(SUBSCRIPTIONS)
