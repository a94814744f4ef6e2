"""App configuration of the room brokers."""

from django.apps import AppConfig


class BrokersConfig(AppConfig):
    """See docs/architecture.md for what this room owns."""

    name = "brokers"
    verbose_name = "Brokers"

    def ready(self) -> None:
        """Register quotes for marketplace and the brokers' names for partners, and the room's part
        of the first page."""
        from brokers.contract_lists import contract_lists_today
        from brokers.customer_panel import belongings
        from brokers.dashboard import today
        from brokers.feed import PLATFORM_QUOTES  # late: models are not loaded before ready
        from brokers.selectors import broker_names, connected_accounts
        from brokers.sidebar import BROKERS
        from marketplace.ports import QUOTES
        from partners.ports import BELONGINGS, KNOWN_BROKERS
        from quantleap.core.api.rate_limits import CONNECTED_ACCOUNTS
        from quantleap.core.console import NAVIGATION, TODAY

        CONNECTED_ACCOUNTS.register(connected_accounts)
        QUOTES.register(PLATFORM_QUOTES)
        KNOWN_BROKERS.register(broker_names)
        BELONGINGS.register(belongings)
        TODAY.register(today)
        TODAY.register(contract_lists_today)
        NAVIGATION.register(BROKERS)
