"""The console's pages of this room."""

from partners.admin import customers, emails, keys, partners, webhooks

__all__ = ["customers", "emails", "keys", "partners", "webhooks"]
