"""The database the tests run in: whose it is, and as whom the tests work."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection, transaction

pytestmark = pytest.mark.django_db


def test_tests_run_as_a_role_that_is_neither_owner_nor_superuser() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_user, r.rolsuper, r.rolcreatedb, r.rolbypassrls,"
            " pg_get_userbyid(d.datdba) FROM pg_roles r, pg_database d"
            " WHERE r.rolname = current_user AND d.datname = current_database()"
        )
        user, superuser, createdb, bypass_rls, owner = cursor.fetchone()
    assert (superuser, createdb, bypass_rls) == (False, False, False)
    assert user != owner


def test_the_application_role_cannot_change_the_schema() -> None:
    for statement in (
        "CREATE TABLE intruder (id int)",
        "ALTER TABLE django_content_type ADD COLUMN intruder int",
        "DROP TABLE django_content_type",
    ):
        with (
            pytest.raises(DatabaseError, match=r"permission denied|must be owner"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)
