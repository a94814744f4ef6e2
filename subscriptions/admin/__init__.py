"""The console's pages of this room."""

from subscriptions.admin import holds, subscriptions

__all__ = ["holds", "subscriptions"]
