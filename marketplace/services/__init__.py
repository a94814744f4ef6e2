"""All state changes of the room marketplace."""

from marketplace.services.prices import PriceTerms, price_refusals, set_price
from marketplace.services.template_lifecycle import (
    PublishPreview,
    Withdrawal,
    adjust_subscriber_count,
    close_to_new,
    preview,
    publish,
    reopen,
    withdraw,
)

__all__ = [
    "PriceTerms",
    "PublishPreview",
    "Withdrawal",
    "adjust_subscriber_count",
    "close_to_new",
    "preview",
    "price_refusals",
    "publish",
    "reopen",
    "set_price",
    "withdraw",
]
