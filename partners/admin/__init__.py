"""Console pages of the room partners."""

from partners.admin import customers, emails, keys, notices, partners, webhooks

__all__ = ["customers", "emails", "keys", "notices", "partners", "webhooks"]
