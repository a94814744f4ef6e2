"""The migration to unique names, with templates that share one."""

from __future__ import annotations

import importlib

import pytest
from django.db import connection

pytestmark = pytest.mark.django_db

MIGRATION = importlib.import_module("marketplace.migrations.0005_unique_names")


def renamed(*states: str) -> list[str]:
    """Names afterwards of platform templates named Condor with the ids 1, 2 …"""
    with connection.cursor() as cursor:
        # in the place of the real one, whose constraint lets no two of a name in any more
        cursor.execute(
            "CREATE TEMPORARY TABLE marketplace_template (id bigint, name text, environment text, "
            "owner text, state text) ON COMMIT DROP"
        )
        cursor.executemany(
            "INSERT INTO marketplace_template VALUES (%s, 'Condor', 'LIVE', 'PLATFORM', %s)",
            list(enumerate(states, start=1)),
        )
        cursor.execute(MIGRATION.RENAME_TEMPLATES)
        cursor.execute("SELECT name FROM marketplace_template ORDER BY id")
        return [name for (name,) in cursor.fetchall()]


def test_an_older_draft_does_not_take_the_name_of_what_is_listed() -> None:
    assert renamed("DRAFT", "LISTED") == ["Condor (1)", "Condor"]


def test_a_closed_template_keeps_its_name() -> None:
    assert renamed("DRAFT", "CLOSED_TO_NEW") == ["Condor (1)", "Condor"]


def test_of_two_that_are_listed_the_older_keeps_the_name() -> None:
    assert renamed("LISTED", "LISTED", "WITHDRAWN") == ["Condor", "Condor (2)", "Condor"]


def test_of_two_drafts_the_older_keeps_the_name() -> None:
    assert renamed("DRAFT", "DRAFT") == ["Condor", "Condor (2)"]
