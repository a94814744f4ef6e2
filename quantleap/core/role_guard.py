"""Makes sure that production processes use the application role only.

The rights of docs/adr/0004 protect history only as long as no process uses the tables' owner or a
superuser. So the first connection of every production process is asked for its role. An unreachable
database does not prevent a start: it may be back before the service manager's next try, and the
first connection is then checked.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.backends.signals import connection_created

from quantleap.core.production_checks import is_production
from quantleap.core.startup import StartRefused

log = structlog.get_logger(__name__)

# pg_has_role: a member of the owner's role can become the owner. It is true for every role when a
# superuser asks, so the superuser check comes first.
_QUESTION: Final = """
SELECT r.rolname,
       r.rolsuper,
       EXISTS (SELECT FROM pg_database d
                WHERE d.datname = current_database() AND pg_has_role(d.datdba, 'MEMBER'))
       OR EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                   WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')
                     AND pg_has_role(c.relowner, 'MEMBER'))
  FROM pg_roles r
 WHERE r.rolname = current_user
"""

_local = threading.local()
_judged: set[str] = set()  # roles that passed the check in this process


def connect_signals() -> None:
    """Check the first connection of every production process (called by `CoreConfig.ready`)."""
    connection_created.connect(_on_connection, dispatch_uid="quantleap.dbguard")


@contextmanager
def as_owner() -> Iterator[None]:
    """For migrations: allow this thread's connections to be the owner's meanwhile."""
    _local.owner = True
    try:
        yield
    finally:
        _local.owner = False


def judge_role() -> None:
    """Raise StartRefused if production would run as owner or superuser; takes at most
    connect_timeout.

    If the database does not answer, log that and check later.
    """
    if not is_production(settings):
        return
    try:
        connection.ensure_connection()
    except DatabaseError as error:
        log.warning("database_unreachable_at_start", why=str(error).strip().split("\n")[0])
    finally:
        # Before a fork or a pool's threads: each worker opens its own connection.
        connection.close()


def _on_connection(*, connection: Any, **_rest: Any) -> None:
    if (
        not is_production(settings)
        or connection.vendor != "postgresql"
        or getattr(_local, "owner", False)
        or connection.settings_dict["USER"] in _judged
    ):
        return
    with connection.cursor() as cursor:
        cursor.execute(_QUESTION)
        row = cursor.fetchone()
    if row is None or row[1] or row[2]:
        name = connection.settings_dict["USER"]
        what = "a superuser" if row is None or row[1] else "the owner of the tables"
        connection.close()
        raise StartRefused(
            [
                f"DATABASE_URL connects as {name!r}, which is {what}: history could be changed. "
                "Connect as the application role (docs/deploy.md, two database roles)."
            ]
        )
    _judged.add(connection.settings_dict["USER"])
