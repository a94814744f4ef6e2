"""The console's benchmark: it asks every searched list, and judges what it measured."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict

import psycopg
import pytest
from django.conf import settings
from django.contrib import admin

from bench.console import FILTERS, READY_MS, SEARCHES, Measured, judge, pages, table
from bench.consoleseed import LEGS, RUN_SIZE, TABLES, Sizes, insert
from quantleap.embedded.postgres import SUPERUSER


def page(ms: float, status: int = 200) -> Measured:
    return Measured("core/auditentry", "first page", "/admin/", status, ms, ms, 5, 200)


def test_every_address_is_asked_once_and_of_a_list_that_exists() -> None:
    asked = [console_page.address for console_page in pages(50)]
    assert len(asked) == len(set(asked)) > 150
    known = {f"{model._meta.app_label}/{model._meta.model_name}" for model in admin.site._registry}
    assert {*SEARCHES, *FILTERS} <= known
    for name in ("orderintent", "invoice", "payment", "auditentry", "execution"):
        assert sum(f"/{name}/" in address for address in asked) > 8, name


def test_a_late_page_and_a_broken_one_are_seen() -> None:
    targets = judge([page(READY_MS)])
    assert all(target.holds for target in targets)
    assert [target.holds for target in judge([page(READY_MS + 1)])] == [False, False, True]
    assert [target.holds for target in judge([page(5, status=500)])] == [True, True, False]
    late = table([page(READY_MS + 1), page(1)]).splitlines()
    assert late[1].endswith("<")
    assert not late[2].endswith("<")
    json.dumps([asdict(page(1))])


def test_a_small_world_has_a_run_of_what_there_is() -> None:
    assert (Sizes().executions, Sizes().runs, Sizes().run_size) == (250_000, 50, RUN_SIZE)
    small = Sizes(subscriptions=2_000, orders=20_000)
    assert (small.run_size, small.runs, small.executions) == (2_000, 3, 20_000 // LEGS)


@pytest.mark.django_db
def test_the_seed_fills_the_columns_of_today() -> None:
    """The statements name the columns themselves; three migrations had left them behind."""
    database = settings.DATABASES["default"]
    sizes = Sizes(subscriptions=40, orders=80, invoices=60, audit=20)
    facts = dict.fromkeys(("template", "version", "contract", "supplier"), 1)
    with (
        psycopg.connect(
            host=database["HOST"], port=database["PORT"], dbname=database["NAME"], user=SUPERUSER
        ) as connection,
        connection.cursor() as cursor,
    ):
        insert(cursor, sizes, facts | {"partners": [1, 2, None], "strategy": uuid.uuid4()})
        empty = [
            name for name in TABLES if not cursor.execute(f"SELECT FROM {name} LIMIT 1").fetchall()
        ]
        connection.rollback()
    assert empty == []
