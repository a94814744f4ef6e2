"""Sets of states in triggers, checks and indexes of the database are also sets in the code.

A migration is written once and its text cannot follow the code: a state added to a set of a model
would be missing from a trigger for ever, without notice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

import pytest
from django.apps import apps
from django.db import connection

from brokers.registry import live_kinds
from execution import lifecycle
from subscriptions import lifecycle as subscriptions

pytestmark = pytest.mark.django_db

#: ``IN ('A', 'B')`` as a function's body has it; ``ARRAY['A'::text, 'B'::text]`` as PostgreSQL
#: writes it down again.
_LIST = re.compile(
    r"(?:\bIN\s*\(|\bARRAY\[)((?:[^'\[\]()]|'[^']*'|\([^()]*\))*)[\])]", re.IGNORECASE
)
_NAME = re.compile(r"'([A-Za-z_]+)'")

_DEFINITIONS = """
SELECT 'function ' || p.proname, pg_get_functiondef(p.oid)
  FROM pg_proc p
  JOIN pg_namespace n ON n.oid = p.pronamespace AND n.nspname = 'public'
 WHERE p.prokind = 'f'
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
UNION ALL
SELECT 'trigger ' || tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL
SELECT 'index ' || indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL
SELECT 'check ' || conname, pg_get_constraintdef(oid) FROM pg_constraint
 WHERE contype = 'c' AND connamespace = 'public'::regnamespace
"""


def sets_in(text: str) -> Iterator[frozenset[str]]:
    """The lists of two or more names in a definition."""
    for match in _LIST.finditer(text):
        names = frozenset(_NAME.findall(match[1]))
        if len(names) > 1:
            yield names


def named_sets() -> dict[frozenset[str], str]:
    """Every set of states that a model or a room's lifecycle names, all choices of a field
    included."""
    by_set: dict[frozenset[str], str] = {frozenset(live_kinds()): "brokers.registry.live_kinds"}
    for model in apps.get_models():
        for name, value in _sets_of(model):
            by_set[value] = f"{model._meta.label}.{name}"
        for field in model._meta.get_fields():
            choices = getattr(field, "flatchoices", None)
            if choices:
                by_set[frozenset(str(value) for value, _ in choices)] = f"{field} choices"
    for module in (lifecycle, subscriptions):
        for name, value in _sets_of(module):
            by_set[value] = f"{module.__name__}.{name}"
    return by_set


def _sets_of(place: ModuleType | type[Any]) -> Iterator[tuple[str, frozenset[str]]]:
    for name, value in vars(place).items():
        if isinstance(value, tuple | frozenset) and all(
            isinstance(member, str) for member in value
        ):
            yield name, frozenset(map(str, value))


def strange(definitions: Iterable[tuple[str, str]]) -> list[str]:
    """Definitions with a set of names that is none of the code's."""
    known = named_sets()
    return [
        f"{where}: {', '.join(sorted(names))}"
        for where, text in definitions
        for names in sets_in(text)
        if names not in known
    ]


def definitions(cursor: Any) -> list[tuple[str, str]]:
    """Everything in the database that may list states, by name."""
    cursor.execute(_DEFINITIONS)
    return [(str(where), str(text)) for where, text in cursor.fetchall()]


def test_the_database_lists_no_set_that_the_code_does_not() -> None:
    with connection.cursor() as cursor:
        rows = definitions(cursor)
    listed = {names for _, text in rows for names in sets_in(text)}
    assert {frozenset(lifecycle.TERMINAL), frozenset(lifecycle.FINAL)} <= listed, "nothing is read"
    assert {where for where, text in rows if frozenset(lifecycle.TERMINAL) in sets_in(text)} >= {
        "function execution_one_shard",
        "trigger execution_one_shard_insert",
        "trigger execution_one_shard_update",
        "index execution_live_idx",
        "index execution_home_idx",
    }
    assert strange(rows) == []


def test_a_trigger_that_forgot_a_state_is_noticed(owner: Any) -> None:
    """The control: the same trigger, written before executions could be missed."""
    (body,) = owner.execute("SELECT pg_get_functiondef('execution_one_shard'::regproc)").fetchone()
    owner.execute("DROP TRIGGER execution_one_shard_insert ON execution_execution")
    owner.execute(body.replace(", 'MISSED'", ""))
    owner.execute(
        "CREATE TRIGGER execution_one_shard_insert BEFORE INSERT ON execution_execution FOR EACH"
        " ROW WHEN (NEW.status NOT IN ('WITHDRAWN', 'CLOSED', 'FAILED'))"
        " EXECUTE FUNCTION execution_one_shard()"
    )
    with owner.cursor() as cursor:
        assert strange(definitions(cursor)) == [
            "function execution_one_shard: CLOSED, FAILED, WITHDRAWN",
            "trigger execution_one_shard_insert: CLOSED, FAILED, WITHDRAWN",
        ]
