"""Wiring of the room marketplace."""

from django.apps import AppConfig


class MarketplaceConfig(AppConfig):
    """See docs/architecture.md for what this room owns."""

    name = "marketplace"
    verbose_name = "Marketplace"
