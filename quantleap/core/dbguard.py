"""Serving and trading happen under the application role, or not at all.

The rights of docs/adr/0004 protect history only as long as nobody serves as the tables' owner or
as a superuser. The first connection of every production process is asked who it is. A database
that does not answer is no reason not to start: it may come back before the next process manager's
try, and whoever then connects is asked.
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

from quantleap.core.refusals import is_production
from quantleap.core.startup import StartRefused

log = structlog.get_logger(__name__)

# pg_has_role: a member of the owner's role can become the owner. It is true for every role when a
# superuser asks, so that is asked first.
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
_judged: set[str] = set()  # roles that passed in this process


def connect_signals() -> None:
    """Ask every production process's first connection (`CoreConfig.ready`)."""
    connection_created.connect(_on_connection, dispatch_uid="quantleap.dbguard")


@contextmanager
def as_owner() -> Iterator[None]:
    """For migrations: connections that this thread opens meanwhile may be the owner's."""
    _local.owner = True
    try:
        yield
    finally:
        _local.owner = False


def judge_role() -> None:
    """StartRefused when production would work as owner or superuser; bounded by connect_timeout.

    A database that does not answer is logged and judged later.
    """
    if not is_production(settings):
        return
    try:
        connection.ensure_connection()
    except DatabaseError as error:
        log.warning("database_unreachable_at_start", why=str(error).strip().split("\n")[0])
    finally:
        # Before a fork or the threads of a pool: whoever works opens a connection of their own.
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
