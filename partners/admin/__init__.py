"""The console's pages of this room."""

from partners.admin import customers, emails, keys, notices, partners, webhooks

__all__ = ["customers", "emails", "keys", "notices", "partners", "webhooks"]
