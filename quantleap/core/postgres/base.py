"""The backend that ``ENGINE`` names; Django requires a module of this name.

https://docs.djangoproject.com/en/5.2/ref/databases/#subclassing-the-built-in-database-backends
"""

from __future__ import annotations

from typing import Any, Final

from django.db.backends.postgresql import base

from quantleap.core.postgres.link import Driver, Link

#: In ``OPTIONS``: the maximum number of seconds for one answer.
PATIENCE: Final = "patience"


class DatabaseWrapper(base.DatabaseWrapper):
    """Uses :class:`Link` for its connections."""

    Database = Driver()  # type: ignore[assignment]  # what Django asks of the module is there

    def get_connection_params(self) -> dict[str, Any]:
        """The parameters for psycopg, without our own option."""
        params: dict[str, Any] = super().get_connection_params()
        params.pop(PATIENCE, None)
        return params

    def _configure_connection(self, connection: Link) -> bool:
        connection.patience = self.settings_dict["OPTIONS"].get(PATIENCE)
        return bool(super()._configure_connection(connection))  # type: ignore[misc]  # untyped
