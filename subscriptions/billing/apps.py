"""Wiring of billing."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    """Invoices and the ledger, inside the room subscriptions (docs/architecture.md)."""

    name = "subscriptions.billing"
    label = "billing"
    verbose_name = "Billing"

    def ready(self) -> None:
        """Listen to the outbox: customers get their invoices by mail."""
        # Models can be imported only once every app is loaded.
        from quantleap.core.outbox import HANDLERS
        from subscriptions.billing.mailing import queue_mails

        HANDLERS.register(queue_mails)
