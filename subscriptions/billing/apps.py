"""Wiring of billing."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    """Invoices and the ledger, inside the room subscriptions (docs/architecture.md)."""

    name = "subscriptions.billing"
    label = "billing"
    verbose_name = "Billing"

    def ready(self) -> None:
        """Register billing at the ports of other rooms, at the outbox and at the console."""
        # Models can be imported only once every app is loaded.
        from marketplace.ports import TAX_RATES
        from partners.ports import BELONGINGS, REACH, SHOWN_OBJECTS
        from quantleap.core.console import NAVIGATION, TODAY
        from quantleap.core.outbox import HANDLERS
        from subscriptions.billing.api.event_objects import shown
        from subscriptions.billing.customer_panel import belongings
        from subscriptions.billing.dashboard import tiles
        from subscriptions.billing.invoicing.invoice_mails import queue_mails
        from subscriptions.billing.port_adapters import BILLING_OF_SUBSCRIPTIONS, TAX_TABLE
        from subscriptions.billing.reach import reach
        from subscriptions.billing.sidebar import MONEY
        from subscriptions.ports import BILLING

        BILLING.register(BILLING_OF_SUBSCRIPTIONS)
        TAX_RATES.register(TAX_TABLE)
        HANDLERS.register(queue_mails)
        TODAY.register(tiles)
        NAVIGATION.register(MONEY)
        BELONGINGS.register(belongings)
        REACH.register(reach)
        SHOWN_OBJECTS.register(shown)
