"""Test databases are copied only while nothing that makes them has changed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from quantleap.core.tests.migrated import fingerprint, sources


@pytest.mark.django_db
def test_every_migration_is_in_the_copys_name() -> None:
    known = Counter(path.stem for path in sources())
    applied = Counter(name for _, name in MigrationRecorder(connection).applied_migrations())
    assert applied.total() > 80
    assert not applied - known


def test_any_change_of_migrations_makes_another_copy(tmp_path: Path) -> None:
    folder = tmp_path / "app" / "migrations"
    folder.mkdir(parents=True)
    first, second = folder / "0001_initial.py", folder / "0002_more.py"
    first.write_text("a")
    before = fingerprint(iter([first]))
    assert fingerprint(iter([first])) == before

    first.write_text("b")
    changed = fingerprint(iter([first]))
    second.write_text("")
    more = fingerprint(iter([first, second]))
    renamed = fingerprint(iter([first, second.rename(folder / "0003_more.py")]))
    assert len({before, changed, more, renamed}) == 4
