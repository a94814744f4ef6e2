"""Wiring of the room brokers."""

from django.apps import AppConfig


class BrokersConfig(AppConfig):
    """See docs/architecture.md for what this room owns."""

    name = "brokers"
    verbose_name = "Brokers"
