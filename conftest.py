"""The tests' servers, databases and roles.

With DATABASE_URL and REDIS_URL unset, one pytest run (its xdist workers included) has one embedded
PostgreSQL and one Valkey below ``var/test``; each worker has a database and a Valkey number of its
own. A test database is created and migrated by the owner role; the tests then work in it as the
application role, which is neither owner nor superuser, as in production.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import django
import pytest

from quantleap.embedded.services import EmbeddedServices, start_first_free
from quantleap.embedded.state import PROJECT_ROOT

EMBEDDED_MARK = "QUANTLEAP_TEST_EMBEDDED"
VAR_TEST = PROJECT_ROOT / "var" / "test"

_services: list[EmbeddedServices] = []


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Start the servers and point the settings at them, before pytest-django loads settings."""
    VAR_TEST.mkdir(parents=True, exist_ok=True)
    (PROJECT_ROOT / "var" / "static").mkdir(exist_ok=True)  # whitenoise warns without it
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(VAR_TEST))
    os.environ["DJANGO_SETTINGS_MODULE"] = "quantleap.settings.test"
    worker = getattr(config, "workerinput", {}).get("workerid")
    if worker is None:
        if not {"DATABASE_URL", "REDIS_URL"} & os.environ.keys():
            services = start_first_free(VAR_TEST, durable=False)
            _services.append(services)
            os.environ.update(services.urls.environment())
            os.environ[EMBEDDED_MARK] = "1"
    elif EMBEDDED_MARK in os.environ:
        number = int(worker.removeprefix("gw")) + 1
        _use_valkey(os.environ["REDIS_URL"].replace("?db=0", f"?db={number}"))
    django.setup()


def _use_valkey(url: str) -> None:
    """Point this process at a Valkey number of its own.

    In an xdist worker pytest-django has loaded the settings before any conftest: the name of their
    module is inherited. So the variable alone would come too late.
    """
    from django.conf import settings

    from quantleap.settings.databases import celery_broker

    os.environ["REDIS_URL"] = settings.REDIS_URL = url
    settings.CACHES["default"]["LOCATION"] = url
    settings.CELERY_BROKER_URL = celery_broker(url)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Stop what ``pytest_configure`` started."""
    while _services:
        _services.pop().stop()
        os.environ.pop(EMBEDDED_MARK, None)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What the command line names first begins first, so that long files can be begun early.

    pytest-django puts whatever needs no database last: the longest files of all.
    """
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        return
    named = [
        (config.invocation_params.dir / arg.partition("::")[0]).resolve() for arg in config.args
    ]

    def place(item: pytest.Item) -> int:
        return next((n for n, root in enumerate(named) if item.path.is_relative_to(root)), 0)

    items.sort(key=place)


def pytest_report_header() -> list[str]:
    """Say which servers this run uses."""
    return [f"services: embedded in {services.base_dir}" for services in _services]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what tests recorded as ``tried`` ("12 bad requests: …"), whichever worker ran them."""
    tried = [
        str(value)
        for report in terminalreporter.stats.get("passed", [])
        for name, value in report.user_properties
        if name == "tried"
    ]
    if tried:
        terminalreporter.section("tried")
        for line in sorted(tried, key=lambda line: line.partition(" ")[2]):
            terminalreporter.write_line(line)
        total = sum(int(line.partition(" ")[0]) for line in tried)
        terminalreporter.write_line(f"{total} in all")


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None,
    django_db_modify_db_settings: None,
    django_db_use_migrations: bool,
    django_db_blocker: Any,
) -> Iterator[None]:
    """Create and migrate the test database as the owner, then hand it to the application role."""
    from django.apps import apps
    from django.conf import settings
    from django.db import connection
    from django.test.utils import teardown_databases

    from quantleap.core.roles import grant_application_role
    from quantleap.core.tests.migrated import create_database

    application = {name: connection.settings_dict[name] for name in ("USER", "PASSWORD")}
    owner = {name: settings.QUANTLEAP_OWNER_DATABASE[name] for name in ("USER", "PASSWORD")}

    def become(role: dict[str, str]) -> None:
        connection.close()
        # In place: connections of other threads are made from this very dictionary.
        connection.settings_dict.update(role)

    if not django_db_use_migrations:  # pytest --no-migrations
        settings.MIGRATION_MODULES = {app.label: None for app in apps.get_app_configs()}
    with django_db_blocker.unblock():
        become(owner)
        created = create_database(shared=EMBEDDED_MARK in os.environ and django_db_use_migrations)
        grant_application_role(connection, application["USER"], for_tests=True)
        become(application)
    yield
    with django_db_blocker.unblock():
        become(owner)
        teardown_databases(created, verbosity=0)
        become(application)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The system's Chromium for tests marked ``browser``; they fail where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.fail("no Chromium on this machine: install the system's package (apt: chromium)")


@pytest.fixture(autouse=True)
def _empty_cache() -> None:
    """Every test begins with an empty cache; only on servers of our own is flushing harmless."""
    from django.core.cache import cache

    if EMBEDDED_MARK in os.environ:
        cache.clear()


@pytest.fixture
def owner() -> Iterator[Any]:
    """A session of the role that migrates; what it does is rolled back."""
    import psycopg
    from django.conf import settings
    from django.db import connection

    role, target = settings.QUANTLEAP_OWNER_DATABASE, connection.settings_dict
    with psycopg.connect(
        host=target["HOST"],
        port=target["PORT"] or None,
        dbname=target["NAME"],
        user=role["USER"],
        password=role["PASSWORD"],
        options="-c lock_timeout=10000",
    ) as session:
        yield session
        session.rollback()


@pytest.fixture
def dead_cache(settings: Any) -> None:
    """A cache that nobody answers at, as while Valkey is restarted."""
    from quantleap.settings.databases import cache

    settings.CACHES = {"default": cache("redis://127.0.0.1:1/0")}
