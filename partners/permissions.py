"""What a partner's key may be allowed to do (api.md section 1). Pure."""

from __future__ import annotations

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
