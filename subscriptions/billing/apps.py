"""Wiring of billing."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    """Invoices and the ledger, inside the room subscriptions (docs/architecture.md)."""

    name = "subscriptions.billing"
    label = "billing"
    verbose_name = "Billing"
