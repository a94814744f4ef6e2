"""Wiring of the room partners."""

from django.apps import AppConfig


class PartnersConfig(AppConfig):
    """See docs/architecture.md for what this room owns."""

    name = "partners"
    verbose_name = "Partners"
