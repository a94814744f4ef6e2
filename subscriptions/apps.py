"""Wiring of the room subscriptions."""

from django.apps import AppConfig


class SubscriptionsConfig(AppConfig):
    """See docs/architecture.md for what this room owns."""

    name = "subscriptions"
    verbose_name = "Subscriptions"
