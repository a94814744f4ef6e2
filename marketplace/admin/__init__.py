"""Console pages of the room."""

from marketplace.admin import reference, templates

__all__ = ["reference", "templates"]
