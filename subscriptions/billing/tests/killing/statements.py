"""Kills at every statement: of the billing run, of what follows it in the morning, and of money.

A worker that dies after the last statement before a commit, or after the first one behind it, has
died on either side of that commit. What lies between, the server's own moment of committing, is
for the random kills (rounds.py).
"""

from __future__ import annotations

import datetime as dt
import random
import signal
from collections.abc import Sequence
from typing import Final

from quantleap.embedded.postgres import DATABASE
from subscriptions.billing.tests.killing import judge
from subscriptions.billing.tests.killing.cluster import DATABASE_LOST, Cluster
from subscriptions.billing.tests.killing.reference import LAST, Verdict, refer

#: Segments a transaction, and how many chunks of a run are gone through.
CHUNK: Final = 4
CHUNKS: Final = 2
SIZE: Final = 240
#: The morning's stages: the job, its day, rows a transaction, statements gone through.
MORNING: Final = (
    ("recognise", LAST - dt.timedelta(days=1), 20, 30),
    ("mature", LAST + dt.timedelta(days=40), 3, 24),
    ("check_ledger", LAST, 0, 30),
)
PAYMENTS: Final = 60
#: Money that comes and goes back: the jobs.
MONEY: Final = ("receive", "take_back")


def play_statements(cluster: Cluster, *, seed: int, postgres: bool) -> Verdict:
    """Runs of which each is killed one statement later; with ``postgres`` the server as well.

    The first dies after its first statement, the last after its second commit; then one goes
    through and is judged.
    """
    verdict = Verdict()
    print(f"seed {seed}: a run killed at each of its statements")
    reference = refer(cluster, seed=seed, size=SIZE, withheld=False)
    labels = cluster.run_job("bill", LAST, chunk=CHUNK)["labels"]
    chunks = [place for place, label in enumerate(labels) if label == "KEYS_ONLY"]
    places = range(1, chunks[CHUNKS] + 2)
    cluster.copy("portfolio", DATABASE)
    died = _die(cluster, verdict, "bill", LAST, CHUNK, places)
    if set(labels) - died:
        verdict.problems.append(f"nobody died at {sorted(set(labels) - died)}")
    if postgres:
        for place in range(chunks[1] + 1, chunks[2] + 2):
            _database_dies(cluster, verdict, "bill", LAST, CHUNK, place)
    cluster.run_job("bill", LAST, chunk=CHUNK)
    _judge(cluster, verdict, reference)
    return verdict


def play_morning(cluster: Cluster, *, seed: int, postgres: bool) -> Verdict:
    """Recognition, maturity and proof, killed statement by statement, come to the same."""
    verdict, chance = Verdict(), random.Random(seed)
    print(f"seed {seed}: the stages of a morning killed at each of their statements")
    reference = refer(cluster, seed=seed, size=SIZE)
    cluster.copy("billed", DATABASE)
    cluster.tell("pay", seed=seed, count=PAYMENTS, on=LAST)
    cluster.copy(DATABASE, "billed")
    labels = {
        job: cluster.run_job(job, day, chunk=chunk or 1)["labels"] for job, day, chunk, _ in MORNING
    }
    expected = judge.after_billing(cluster.ask)
    cluster.copy("billed", DATABASE)
    for job, day, chunk, most in MORNING:
        places = range(1, min(most, len(labels[job])) + 1)
        _die(cluster, verdict, job, day, chunk or 1, places)
        if postgres:
            # Behind the last statement of all there is nothing left to lose: the proof's row
            # commits by itself, and a worker that has it ends well without its database.
            places = range(1, min(places.stop, len(labels[job])))
            _database_dies(cluster, verdict, job, day, chunk or 1, chance.choice(places))
        if cluster.run_job(job, day, chunk=chunk or 1)["status"] != 0:
            verdict.problems.append(f"{job} does not go through")
    actual = judge.after_billing(cluster.ask)
    verdict.problems += [f"{what} differ" for what in expected if actual[what] != expected[what]]
    _judge(cluster, verdict, reference)
    return verdict


def play_money(cluster: Cluster, *, seed: int, postgres: bool, step: int = 1) -> Verdict:
    """A receipt over two invoices and its reversal, killed at every ``step``-th statement of each.

    The last is behind the commit. Whatever died, the same once more leaves what one undisturbed
    receipt and reversal leave.
    """
    verdict, chance = Verdict(), random.Random(seed)
    print(f"seed {seed}: a receipt and its reversal killed at their statements")
    reference = refer(cluster, seed=seed, size=SIZE // 4)
    cluster.copy("billed", DATABASE)
    labels = {job: cluster.run_job(job, LAST)["labels"] for job in MONEY}
    expected = judge.after_money(cluster.ask)
    cluster.copy("billed", DATABASE)
    for job in MONEY:
        last = len(labels[job])
        first = 1 + chance.randrange(step)
        _die(cluster, verdict, job, LAST, 1, [*range(first, last, step), last])
        if postgres:
            cluster.copy("billed" if job == MONEY[0] else "received", DATABASE)
            _database_dies(cluster, verdict, job, LAST, 1, chance.choice(range(1, last)))
        if cluster.run_job(job, LAST)["status"] != 0:
            verdict.problems.append(f"{job} does not go through")
        cluster.copy(DATABASE, "received")
    actual = judge.after_money(cluster.ask)
    verdict.problems += [f"{what} differ" for what in expected if actual[what] != expected[what]]
    _judge(cluster, verdict, reference)
    return verdict


def break_and_kill(
    cluster: Cluster, *, broken: str, place_of: str, before: bool = False
) -> list[str]:
    """A control: problems found after a run with a deliberate break (failpoints.py) was killed at
    its second statement ``place_of`` and a sound run has gone on.
    """
    reference = refer(cluster, seed=1, size=SIZE // 4, withheld=False)
    _take_the_databases_own_guard_away(cluster)
    labels = cluster.run_job("bill", LAST, chunk=CHUNK, broken=broken)["labels"]
    unkilled = judge.judge(cluster.ask, reference)
    if unkilled:
        raise AssertionError(f"{broken} alone already shows: {unkilled}")
    cluster.copy("portfolio", DATABASE)
    _take_the_databases_own_guard_away(cluster)
    place = [n for n, label in enumerate(labels, start=1) if label == place_of][1]
    died = cluster.run_job("bill", LAST, chunk=CHUNK, broken=broken, place=place, before=before)
    if (died["status"], died["reached"]) != (-signal.SIGKILL, place_of):
        raise AssertionError(f"died elsewhere: {died}")
    cluster.settled()
    cluster.run_job("bill", LAST, chunk=CHUNK)
    return judge.judge(cluster.ask, reference)


def _take_the_databases_own_guard_away(cluster: Cluster) -> None:
    """The database refuses a gap by itself; to see one, its triggers have to be silenced."""
    with cluster.connect() as session:
        for table, trigger in (
            ("billing_numberseries", "billing_numberseries_is_used"),
            ("billing_invoice", "billing_invoice_refuse_gap"),
        ):
            session.execute(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}".encode())


def _die(
    cluster: Cluster, verdict: Verdict, job: str, day: dt.date, chunk: int, places: Sequence[int]
) -> set[str]:
    """One killed worker for each place; the labels of the statements at which they died."""
    died = set()
    for place in places:
        end = cluster.run_job(job, day, chunk=chunk, place=place)
        if end["status"] != -signal.SIGKILL:
            verdict.problems.append(f"{job}: statement {place} was not reached: {end['status']}")
            break
        died.add(end["reached"])
        verdict.kills[f"{job}, at a statement"] += 1
        cluster.settled()
    return died


def _database_dies(
    cluster: Cluster, verdict: Verdict, job: str, day: dt.date, chunk: int, place: int
) -> None:
    """The worker waits at its place while the server is killed and comes back; then goes on."""
    pid = cluster.tell("work", job=job, day=day, chunk=chunk, place=place, die=False)["pid"]
    reached = cluster.tell("reached", pid=pid)
    if "reached" not in reached:
        verdict.problems.append(f"{job}: statement {place} was not reached")
        cluster.tell("wait", pid=pid)
        return
    cluster.kill_postgres()
    cluster.start_postgres()
    cluster.tell("go_on", pid=pid)
    status = cluster.tell("wait", pid=pid)["status"]
    if status != DATABASE_LOST:
        verdict.problems.append(f"{job} ended with {status} though its database had died")
    verdict.kills[f"postgres, {job} at a statement"] += 1


def _judge(
    cluster: Cluster, verdict: Verdict, reference: dict[judge.Key, tuple[object, ...]]
) -> None:
    verdict.invoices += len(reference)
    verdict.problems += judge.judge(cluster.ask, reference)
    findings = cluster.tell("findings", day=LAST)["findings"]
    verdict.problems += [f"proof: {finding}" for finding in findings]
