"""``manage.py prepare_database``: migrate as the owner role, then grant the application its rights."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import connection

from quantleap.core.roles import grant_application_role


class Command(BaseCommand):
    """Bring the database to this version. Run it before every start of a new version."""

    help = "Migrate as the owner role and grant the application role its rights."

    def handle(self, *args: Any, **options: Any) -> None:
        """Connect with OWNER_DATABASE_URL for the length of this command."""
        application = connection.settings_dict["USER"]
        connection.close()
        connection.settings_dict.update(settings.QUANTLEAP_OWNER_DATABASE)
        call_command("migrate", interactive=False, verbosity=options["verbosity"])
        if connection.settings_dict["USER"] != application:
            grant_application_role(connection, application)
        connection.close()
