"""App configuration of the room marketplace."""

from django.apps import AppConfig


class MarketplaceConfig(AppConfig):
    """See docs/architecture.md for what this room owns."""

    name = "marketplace"
    verbose_name = "Marketplace"

    def ready(self) -> None:
        """Register the room's part of the console's first page and its entries in the sidebar."""
        from marketplace.dashboard import today
        from marketplace.sidebar import STRATEGIES
        from quantleap.core.console import NAVIGATION, TODAY

        TODAY.register(today)
        NAVIGATION.register(STRATEGIES)
