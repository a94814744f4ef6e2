"""The backend that ``ENGINE`` names; Django looks for it in a module of this name.

https://docs.djangoproject.com/en/5.2/ref/databases/#subclassing-the-built-in-database-backends
"""

from __future__ import annotations

from typing import Any, Final

from django.db.backends.postgresql import base

from quantleap.core.postgres.link import Driver, Link

#: Of ``OPTIONS``: seconds that one answer may take.
PATIENCE: Final = "patience"


class DatabaseWrapper(base.DatabaseWrapper):
    """Connections are :class:`Link`."""

    Database = Driver()  # type: ignore[assignment]  # what Django asks of the module is there

    def get_connection_params(self) -> dict[str, Any]:
        """What psycopg is given; our own option is none of its."""
        params: dict[str, Any] = super().get_connection_params()
        params.pop(PATIENCE, None)
        return params

    def _configure_connection(self, connection: Link) -> bool:
        connection.patience = self.settings_dict["OPTIONS"].get(PATIENCE)
        return bool(super()._configure_connection(connection))  # type: ignore[misc]  # untyped
