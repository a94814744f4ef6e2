"""Wiring of the room brokers."""

from django.apps import AppConfig


class BrokersConfig(AppConfig):
    """See docs/architecture.md for what this room owns."""

    name = "brokers"
    verbose_name = "Brokers"

    def ready(self) -> None:
        """Offer the feed accounts' quotes to marketplace."""
        from brokers.feed import PLATFORM_QUOTES  # late: models are not loaded before ready
        from marketplace.ports import QUOTES

        QUOTES.register(PLATFORM_QUOTES)
