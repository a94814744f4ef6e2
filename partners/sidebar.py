"""The room's entries in the console's sidebar: people first, then mails and webhooks."""

from __future__ import annotations

from typing import Final

from quantleap.core.console import Link, Section

PEOPLE: Final = Section(
    "Partners",
    (
        Link("Partners", "handshake", "partners.Partner"),
        Link("Partner mails", "forward_to_inbox", "partners.PartnerMail"),
        Link("Keys", "key", "partners.PartnerKey"),
        Link("Customers", "person", "partners.Customer"),
        Link("E-mail changes", "alternate_email", "partners.EmailChange"),
        Link("Customer mails", "mark_email_read", "partners.CustomerMail"),
    ),
    place=1,
)
WEBHOOKS: Final = Section(
    "Partners",
    (
        Link("Webhook endpoints", "webhook", "partners.WebhookEndpoint"),
        Link("Webhook deliveries", "outbox", "partners.WebhookDelivery"),
        Link("Endpoint mails", "mail", "partners.EndpointMail"),
    ),
    place=3,
)
