"""What the rows of runs say when a worker or the database was killed, and who goes on."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, OperationalError, connection
from django.test import Client
from django.urls import reverse

from marketplace.tests.factories import load_reference_data, make_template
from quantleap.core import clock
from quantleap.core.models import StaffUser
from subscriptions.billing import tasks
from subscriptions.billing.invoicing import run_sql, runs
from subscriptions.billing.models import BillingRun, Invoice, NumberSeries
from subscriptions.billing.tests.factories import START, bill, follow, load_billing

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def due() -> None:
    load_billing()
    load_reference_data()
    follow(make_template(), None, [START] * 5)


def killed(*, silent_for: dt.timedelta, as_of: dt.date = START) -> BillingRun:
    """The row that a worker leaves behind which was killed after its first chunk."""
    heartbeat = clock.now() - silent_for
    return BillingRun.objects.create(
        as_of=as_of, started_at=heartbeat, heartbeat=heartbeat, invoices=2
    )


def in_silence(**options: Any) -> BillingRun:
    return killed(silent_for=runs.SILENCE + dt.timedelta(seconds=1), **options)


def test_the_next_run_takes_over_and_says_so() -> None:
    dead = in_silence()
    went_on = bill(START)
    dead.refresh_from_db()
    assert dead.error == f"Interrupted. Run {went_on.run_id} took over."
    assert dead.finished_at == dead.heartbeat
    assert dead.invoices == 2  # what its chunks committed stays its own
    assert went_on.invoices == 5


def test_a_run_that_still_commits_is_left_alone() -> None:
    alive = killed(silent_for=runs.SILENCE - dt.timedelta(minutes=1))
    bill(START)
    alive.refresh_from_db()
    assert (alive.finished_at, alive.error) == (None, "")


def test_only_a_run_that_reaches_as_far_takes_over() -> None:
    dead = in_silence(as_of=START + dt.timedelta(days=1))
    bill(START)
    assert list(runs.silent_runs()) == [dead]
    assert tasks.take_over() == 0  # nothing more is due on the day after
    assert not runs.silent_runs()
    assert BillingRun.objects.latest("id").as_of == dead.as_of


def test_beat_takes_over_what_was_killed_and_nothing_else() -> None:
    assert tasks.take_over() == 0
    assert not BillingRun.objects.exists()
    in_silence()
    assert tasks.take_over() == 5
    assert tasks.take_over() == 0
    assert BillingRun.objects.count() == 2


def test_a_run_whose_database_went_away_is_left_to_be_taken_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lose_connection(_facts: Any) -> Any:
        raise OperationalError("the connection is lost")

    with monkeypatch.context() as patch:
        patch.setattr(runs, "_chunk", lose_connection)
        with pytest.raises(CommandError, match=r"The database went away.* is lost"):
            call_command("bill", "--as-of", str(START))
    run = BillingRun.objects.get()
    assert (run.finished_at, run.error) == (None, "")
    BillingRun.objects.update(heartbeat=clock.now() - runs.SILENCE - dt.timedelta(seconds=1))
    assert tasks.take_over() == 5


@pytest.mark.django_db(transaction=True)
def test_a_chunk_that_fails_at_its_commit_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The row counted it before the commit that the database refused."""

    def a_number_too_many(_done: int) -> None:
        monkeypatch.setattr(run_sql, "ADVANCE", f"{run_sql.ADVANCE}; {lost}")

    lost = f"UPDATE {NumberSeries._meta.db_table} SET last = last + 1"
    with pytest.raises(DatabaseError, match="last number given out is 5, last used is 4"):
        bill(START, chunk=2, progress=a_number_too_many)
    run = BillingRun.objects.get()
    assert run.finished_at is not None
    assert "last number given out" in run.error
    assert run.invoices == Invoice.objects.count() == 2
    connection.close()


@pytest.mark.parametrize(
    ("silent_for", "finished", "error", "word"),
    [
        (dt.timedelta(0), False, "", "running"),
        (runs.SILENCE * 2, False, "", "silent"),
        (runs.SILENCE * 2, True, "", "finished"),
        (dt.timedelta(0), True, "BillingNotConfigured: no rate", "failed"),
    ],
)
def test_the_console_tells_a_killed_run_from_a_running_one(
    silent_for: dt.timedelta, finished: bool, error: str, word: str
) -> None:
    run = killed(silent_for=silent_for)
    run.error = error
    run.finished_at = run.heartbeat if finished else None
    run.save()
    console = Client()
    console.force_login(StaffUser.objects.create_superuser("staff", "s@example.com", "pw"))
    for page in (
        reverse("admin:billing_billingrun_changelist"),
        reverse("admin:billing_billingrun_change", args=[run.pk]),
    ):
        assert word in console.get(page).content.decode()
