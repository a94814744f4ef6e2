"""``manage.py prepare_database``: bring the database to this version before it starts."""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    """``migrate`` without questions; run it before every start of a new version."""

    help = "Migrate as the owner role and grant the application role its rights."

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate (see there)."""
        call_command("migrate", interactive=False, verbosity=options["verbosity"])
