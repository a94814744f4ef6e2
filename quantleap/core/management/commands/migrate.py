"""``manage.py migrate``: migrate as the owner role, then grant the application role its rights."""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.core.management.commands.migrate import Command as DjangoMigrate
from django.db import DEFAULT_DB_ALIAS, connections

from quantleap.core.role_guard import as_owner
from quantleap.core.roles import grant_application_role

_ROLE: Final = ("USER", "PASSWORD", "HOST", "PORT", "OPTIONS")


class Command(DjangoMigrate):
    """Django's command under the role that owns the tables (OWNER_DATABASE_URL).

    The application role may not change tables, and nobody should have to remember that before
    typing ``migrate``. If the connection is already the owner's (test databases), nothing changes.
    """

    def handle(self, *args: Any, **options: Any) -> None:
        """Switch the role for the duration of this command."""
        connection = connections[options.get("database") or DEFAULT_DB_ALIAS]
        owner = settings.QUANTLEAP_OWNER_DATABASE
        application = {name: connection.settings_dict[name] for name in _ROLE}
        if owner["USER"] == application["USER"]:
            super().handle(*args, **options)
            return
        connection.close()
        # Change it in place, and never the name: a test database has its own.
        connection.settings_dict.update({name: owner[name] for name in _ROLE})
        try:
            with as_owner():
                super().handle(*args, **options)
                grant_application_role(connection, application["USER"])
        finally:
            connection.close()
            connection.settings_dict.update(application)
