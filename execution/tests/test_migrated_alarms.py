"""Migration 0004 carried over what needed attention before alarms were rows, and no test saw it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import pytest
from django.conf import settings
from django.db import connections, transaction
from django.db.migrations.executor import MigrationExecutor

from execution.models import Alarm, Execution
from execution.tests.factories import make_accounts, subscribe_accounts
from execution.tests.rows import make_execution, make_run
from marketplace.tests.factories import make_short_straddle

pytestmark = pytest.mark.django_db
BEFORE, WITH_ALARMS = "0003_list_indexes", "0004_alarms"
#: Cause of an execution that needed attention -> cause of its alarm.
CARRIED: Mapping[str, str] = {
    **{
        cause: cause
        for cause in (
            "UNWRITABLE",
            "CLOSED_OUTSIDE",
            "CHANGED_OUTSIDE",
            "DUPLICATE",
            "UNRESOLVED",
            "NO_WITNESS",
            "SESSION_EXPIRED",
            "SESSION_OVER",
            "PRICE_BAND",
            "DAILY_LIMIT",
        )
    },
    # no cause: the exit's fourth try had not filled
    "": "EXIT_UNFILLED",
    # a leg that failed, and the strategy keeps the others
    "MARGIN": "PARTLY_ENTERED",
    "REJECTED": "PARTLY_ENTERED",
}
ARMED = dt.datetime(2026, 9, 8, 3, 48, tzinfo=dt.UTC)
#: Which instants a row has -> which of them its alarm was raised at, in minutes after ``ARMED``.
INSTANTS: tuple[tuple[dict[str, int], int], ...] = (
    ({}, 0),
    ({"committed_at": 2}, 2),
    ({"committed_at": 2, "entered_at": 3}, 3),
)


@pytest.fixture
def as_owner() -> Iterator[None]:
    """Work as the role that migrates; everything is rolled back, tables and columns too."""
    application = connections["default"]
    owner = application.copy()
    owner.settings_dict.update(
        {name: settings.QUANTLEAP_OWNER_DATABASE[name] for name in ("USER", "PASSWORD")}
    )
    connections["default"] = owner
    try:
        with transaction.atomic():
            yield
            transaction.set_rollback(True)
    finally:
        owner.close()
        connections["default"] = application


def migrate(name: str) -> Any:
    """Bring the tables of this room to a migration; the models of then."""
    connections["default"].check_constraints()  # nothing may wait while tables change
    executor = MigrationExecutor(connections["default"])
    targets = [("execution", name)]
    executor.migrate(targets)
    return executor.loader.project_state(targets).apps


def leaf() -> str:
    """The newest migration of this room."""
    ((_, name),) = MigrationExecutor(connections["default"]).loader.graph.leaf_nodes("execution")
    return str(name)


def rows_of_then() -> dict[int, tuple[str, str, dt.datetime]]:
    """Executions as the tables held them before there were alarms: which alarm each shall have."""
    template = make_short_straddle()
    run = make_run(template)
    causes = [*CARRIED, "MARGIN", ""]  # the last two ask for nobody
    accounts = make_accounts(len(causes))
    executions = [
        make_execution(run, subscription) for subscription in subscribe_accounts(template, accounts)
    ]
    then = migrate(BEFORE).get_model("execution", "Execution")
    expected = {}
    for number, (execution, cause) in enumerate(zip(executions, causes, strict=True)):
        asks = number < len(CARRIED)
        minutes, raised = INSTANTS[number % len(INSTANTS)]
        instants = {name: ARMED + dt.timedelta(minutes=count) for name, count in minutes.items()}
        status = "OPEN" if instants else "ARMED"
        fields = {"armed_at": ARMED, "committed_at": None, "entered_at": None, **instants}
        then.objects.filter(pk=execution.pk).update(
            needs_attention=asks, cause=cause, message=f"said {number}", status=status, **fields
        )
        if asks:
            at = ARMED + dt.timedelta(minutes=raised)
            expected[execution.pk] = (CARRIED[cause], f"said {number}", at)
    return expected


def carried_over() -> dict[int, tuple[str, str, dt.datetime]]:
    """The open alarms that the tables of now hold."""
    rows = Alarm.objects.filter(Alarm.OPEN).values_list("execution", "cause", "words", "raised_at")
    return {pk: (cause, words, at) for pk, cause, words, at in rows}


@pytest.mark.usefixtures("as_owner")
def test_what_needed_attention_before_has_an_open_alarm() -> None:
    """Executions that needed attention before alarms were rows get an alarm each."""
    newest = leaf()
    expected = rows_of_then()
    migrate(newest)
    assert carried_over() == expected
    assert Alarm.objects.count() == len(CARRIED)
    alarmed = Execution.objects.filter(needs_attention=True).values_list("pk", flat=True)
    assert set(alarmed) == set(expected)
    assert set(Alarm.objects.values_list("leg_key", "settled_by", "cleared_by")) == {("", "", "")}


@pytest.mark.usefixtures("as_owner")
def test_a_wrong_carry_over_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: the same judge, with the SQL planted wrong."""
    newest = leaf()
    expected = rows_of_then()
    operation = import_module(f"execution.migrations.{WITH_ALARMS}").Migration.operations[-1]
    right = operation.sql
    for old, new in (
        ("WHERE needs_attention", ""),
        ("WHERE needs_attention", "WHERE needs_attention AND cause <> ''"),
        ("'UNRESOLVED', ", ""),
        ("ELSE 'PARTLY_ENTERED'", "ELSE cause"),
        ("entered_at, committed_at, armed_at", "armed_at"),
        ("message, COALESCE", "'', COALESCE"),
    ):
        assert old in right
        monkeypatch.setattr(operation, "sql", right.replace(old, new))
        with transaction.atomic():
            migrate(newest)
            assert carried_over() != expected, new
            transaction.set_rollback(True)
