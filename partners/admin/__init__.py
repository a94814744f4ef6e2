"""The console's pages of this room."""

from partners.admin import customers, keys, partners, webhooks

__all__ = ["customers", "keys", "partners", "webhooks"]
