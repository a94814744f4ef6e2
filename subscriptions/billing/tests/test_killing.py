"""Billing runs die by ``kill -9``, worker and Postgres; the books are as if nothing had happened.

``make billing-kill-rounds`` plays more, and larger portfolios. Each judgement has its controls: a
part of the run that commits apart from the rest, and the same judge finds it.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator

import psycopg
import pytest

from subscriptions.billing.tests.killing.cluster import Cluster
from subscriptions.billing.tests.killing.reference import Verdict
from subscriptions.billing.tests.killing.rounds import CHUNK, play
from subscriptions.billing.tests.killing.statements import (
    break_and_kill,
    play_money,
    play_morning,
    play_statements,
)

pytestmark = pytest.mark.process
ROUNDS = int(os.environ.get("QUANTLEAP_BILLING_KILL_ROUNDS", "1"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("billing") / "cluster", chunk=CHUNK) as running:
        yield running


@pytest.fixture
def seed() -> int:
    return random.SystemRandom().randrange(10**6)


def test_runs_killed_at_random_moments_and_repeated_five_times(
    cluster: Cluster, seed: int, record_property: Callable[[str, object], None]
) -> None:
    verdict = play(cluster, rounds=ROUNDS, seed=seed, size=1200)
    _clean(verdict, 5 * ROUNDS, record_property, f"of billing at random moments, seed {seed}")


def test_runs_killed_at_every_statement(
    cluster: Cluster, seed: int, record_property: Callable[[str, object], None]
) -> None:
    verdict = play_statements(cluster, seed=seed, postgres=False)
    _clean(verdict, 40, record_property, f"of billing at every statement, seed {seed}")


def test_a_morning_killed_at_every_statement(
    cluster: Cluster, seed: int, record_property: Callable[[str, object], None]
) -> None:
    """Recognition, maturity and the ledger check end the same wherever they are killed."""
    verdict = play_morning(cluster, seed=seed, postgres=False)
    _clean(verdict, 60, record_property, f"of the morning after billing, seed {seed}")


def test_a_receipt_and_its_reversal_killed_at_their_statements(
    cluster: Cluster, seed: int, record_property: Callable[[str, object], None]
) -> None:
    verdict = play_money(cluster, seed=seed, postgres=False, step=4)
    _clean(verdict, 15, record_property, f"of money at its statements, seed {seed}")


@pytest.mark.parametrize(
    ("broken", "place_of", "before", "expected"),
    [
        ("numbers_apart", "INVOICES", False, "numbers are not 1 to n"),
        ("advance_apart", "INVOICES", False, "invoice is missing"),
        ("events_apart", "EVENTS", True, "invoice without exactly one event"),
    ],
)
def test_control_what_commits_apart_is_found(
    cluster: Cluster, broken: str, place_of: str, before: bool, expected: str
) -> None:
    problems = break_and_kill(cluster, broken=broken, place_of=place_of, before=before)
    assert [problem for problem in problems if problem.startswith(expected)], problems


def _clean(verdict: Verdict, least: int, record: Callable[[str, object], None], what: str) -> None:
    kills = sum(verdict.kills.values())
    assert verdict.problems == [], what
    assert kills >= least
    record("tried", f"{kills} kills {what}")


def test_copied_databases_draw_no_number_twice_after_a_kill(cluster: Cluster) -> None:
    """Seen in one round: an account of the books drew a used id and was left out (KeyError)."""
    with cluster.connect("postgres") as session:
        session.execute("DROP DATABASE IF EXISTS drawn")
        session.execute("CREATE DATABASE drawn")
    with cluster.connect("drawn") as session:
        session.execute("CREATE TABLE rows (id bigserial PRIMARY KEY)")
        session.execute("INSERT INTO rows DEFAULT VALUES")
    cluster.copy("drawn", "copied")
    with cluster.connect("postgres") as session:
        session.execute("DROP DATABASE IF EXISTS as_postgres_copies")
        session.execute("CREATE DATABASE as_postgres_copies TEMPLATE drawn")
    for database in ("copied", "as_postgres_copies"):
        with cluster.connect(database) as session:
            session.execute("INSERT INTO rows DEFAULT VALUES")

    cluster.kill_postgres()
    cluster.start_postgres()

    with cluster.connect("copied") as session:
        session.execute("INSERT INTO rows DEFAULT VALUES")
    with (
        cluster.connect("as_postgres_copies") as session,
        pytest.raises(psycopg.errors.UniqueViolation),
    ):
        session.execute("INSERT INTO rows DEFAULT VALUES")
