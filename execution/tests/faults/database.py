"""A database of the faults' own, made as the tests make theirs, for runs outside of pytest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django

from quantleap.embedded.services import EmbeddedServices


@contextmanager
def own_database(base_dir: Path) -> Iterator[None]:
    """Servers below ``base_dir``, Django set up on them, and a fresh database inside."""
    with EmbeddedServices(base_dir, durable=False) as services:
        os.environ.update(services.urls.environment())
        os.environ["DJANGO_SETTINGS_MODULE"] = "quantleap.settings.test"
        django.setup()
        from django.conf import settings
        from django.db import connection
        from django.test.utils import setup_databases, teardown_databases

        from quantleap.core.roles import grant_application_role

        application = {name: connection.settings_dict[name] for name in ("USER", "PASSWORD")}
        owner = {name: settings.QUANTLEAP_OWNER_DATABASE[name] for name in ("USER", "PASSWORD")}
        connection.settings_dict.update(owner)
        created = setup_databases(
            verbosity=0, interactive=False, serialized_aliases=[], keepdb=False
        )
        grant_application_role(connection, application["USER"], for_tests=True)
        connection.close()
        connection.settings_dict.update(application)
        try:
            yield
        finally:
            connection.close()
            connection.settings_dict.update(owner)
            teardown_databases(created, verbosity=0)
