"""Every state change of the room has its one front door here."""

from marketplace.services.publishing import (
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
    "PublishPreview",
    "Withdrawal",
    "adjust_subscriber_count",
    "close_to_new",
    "preview",
    "publish",
    "reopen",
    "withdraw",
]
