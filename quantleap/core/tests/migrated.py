"""Test databases that are migrated once: other workers, and later runs, copy them.

Migrating from scratch takes some eight seconds of a core, nearly all of it for rendering the models
of every intermediate state; a copy takes a fifth of a second. The copied database is named after
its migrations, so that any change of them migrates again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test.utils import setup_databases
from psycopg import sql

from quantleap.embedded.state import PROJECT_ROOT

PREFIX = "migrated_"
#: A PostgreSQL advisory lock: its holder migrates, or copies.
LOCK = 8_110_271

Created = list[tuple[BaseDatabaseWrapper, str, bool]]


def create_database(*, shared: bool) -> Created:
    """The test database, migrated, as the role of the connection; for ``teardown_databases``.

    ``shared``: on a server that only this run uses, so that copies may stay there.
    """
    if not shared:
        return _migrate()
    creation: Any = connection.creation
    name, pattern = creation._get_test_db_name(), PREFIX + fingerprint(sources())
    with creation._nodb_cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK])  # until this session ends
        cursor.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", [f"{PREFIX}%"])
        databases = {row[0] for row in cursor.fetchall()}
        for outdated in databases - {pattern}:
            _execute(cursor.execute, "DROP DATABASE {}", outdated)
        if pattern not in databases:
            created = _migrate()
            connection.close()
            _execute(cursor.execute, "CREATE DATABASE {} TEMPLATE {}", pattern, name)
            return created
        _execute(cursor.execute, "DROP DATABASE IF EXISTS {}", name)
        _execute(cursor.execute, "CREATE DATABASE {} TEMPLATE {}", name, pattern)
    was = connection.settings_dict["NAME"]
    connection.close()
    settings.DATABASES[DEFAULT_DB_ALIAS]["NAME"] = connection.settings_dict["NAME"] = name
    return [(connection, was, True)]


def sources() -> Iterator[Path]:
    """Files that determine a migrated database: migrations, what follows them, the versions."""
    yield PROJECT_ROOT / "requirements.txt"
    for app in apps.get_app_configs():
        yield from sorted(Path(app.path, "migrations").glob("*.py"))
        if Path(app.path).is_relative_to(PROJECT_ROOT):
            yield Path(app.path, "apps.py")


def fingerprint(files: Iterator[Path]) -> str:
    """A hash of names and contents; equal only if nothing has changed."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.parent.parent.name}/{path.name}\0".encode())
        digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()[:16]


def _migrate() -> Created:
    return setup_databases(verbosity=0, interactive=False, serialized_aliases=[])


def _execute(execute: Callable[[sql.Composed], object], statement: str, *names: str) -> None:
    execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
