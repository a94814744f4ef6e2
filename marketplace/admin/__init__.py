"""Console pages of the room."""

from marketplace.admin import calendar, reference, templates

__all__ = ["calendar", "reference", "templates"]
