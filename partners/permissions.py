"""Permissions that a partner's key can have. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MARKETPLACE_READ: Final = "marketplace:read"
MARKETPLACE_SUBSCRIBE: Final = "marketplace:subscribe"
SUBSCRIPTIONS_READ: Final = "subscriptions:read"
SUBSCRIPTIONS_WRITE: Final = "subscriptions:write"
BROKER_ACCOUNTS_READ: Final = "broker_accounts:read"
BROKER_ACCOUNTS_WRITE: Final = "broker_accounts:write"
WEBHOOKS_WRITE: Final = "webhooks:write"
REVENUE_READ: Final = "revenue:read"

ALL: Final = (
    MARKETPLACE_READ,
    MARKETPLACE_SUBSCRIBE,
    SUBSCRIPTIONS_READ,
    SUBSCRIPTIONS_WRITE,
    BROKER_ACCOUNTS_READ,
    BROKER_ACCOUNTS_WRITE,
    WEBHOOKS_WRITE,
    REVENUE_READ,
)

#: What a permission allows, for the people who grant it.
MEANING: Final = {
    MARKETPLACE_READ: "list templates, read one",
    MARKETPLACE_SUBSCRIBE: "subscribe a customer to a template",
    SUBSCRIPTIONS_READ: "read subscriptions, what they traded and what they hold",
    SUBSCRIPTIONS_WRITE: "change, pause, resume and cancel; issue user tokens with its permissions",
    BROKER_ACCOUNTS_READ: "read broker accounts and who is ready to trade",
    BROKER_ACCOUNTS_WRITE: "connect and remove broker accounts; log in for the day",
    WEBHOOKS_WRITE: "nothing yet: endpoints are added in the console",
    REVENUE_READ: "read invoices, payments and commission; with a token, customers their own",
}


@dataclass(frozen=True, slots=True)
class Preset:
    """Permissions that are usually granted together."""

    label: str
    permissions: tuple[str, ...]


PRESETS: Final = (
    Preset("Catalogue only", (MARKETPLACE_READ,)),
    Preset(
        "Read only",
        (MARKETPLACE_READ, SUBSCRIPTIONS_READ, BROKER_ACCOUNTS_READ, REVENUE_READ),
    ),
    Preset(
        "A trading portal",
        (
            MARKETPLACE_READ,
            MARKETPLACE_SUBSCRIBE,
            SUBSCRIPTIONS_READ,
            SUBSCRIPTIONS_WRITE,
            BROKER_ACCOUNTS_READ,
            BROKER_ACCOUNTS_WRITE,
        ),
    ),
    Preset("Finance", (REVENUE_READ,)),
    Preset("None", ()),
)
