"""Kill rounds: billing runs that die by ``kill -9`` at random moments, worker and Postgres.

``python -m subscriptions.billing.tests.killing.rounds --rounds 8`` prints seeds and kill moments.
Each round is a new portfolio, billed by two or three workers at once, interrupted five times, and
judged against the same portfolio billed by one undisturbed run.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import psycopg

from quantleap.core.clock import at_ist
from quantleap.embedded.processes import wait_until
from quantleap.embedded.state import PROJECT_ROOT
from subscriptions.billing.tests.killing import judge
from subscriptions.billing.tests.killing.cluster import PATIENCE, Cluster, ClusterError, Worker
from subscriptions.billing.tests.killing.reference import DAYS, LAST, Verdict, refer
from subscriptions.billing.tests.killing.statements import (
    play_money,
    play_morning,
    play_statements,
)

#: What a round's interruptions kill, in a shuffled order.
KINDS: Final = ("worker", "workers", "postmaster", "postgres", "backend")
CHUNK: Final = 10
#: How many rounds in a row may not count because a kill came when nothing was left to bill.
MISSES: Final = 3
Log = Callable[[str], None]


class Crew:
    """The workers of a round: ``manage.py bill`` processes, or Celery workers that live on."""

    def __init__(self, cluster: Cluster, mode: str, size: int) -> None:
        self.cluster, self.mode, self.size = cluster, mode, size
        self.workers: dict[int, Worker] = {}
        self._earlier = 0

    def start(self, day: dt.date) -> None:
        """All of them at once, at the gate until the last is there; then all have begun."""
        (row,) = self.cluster.ask("SELECT coalesce(max(id), 0) FROM billing_billingrun")
        self._earlier = row[0]
        now = at_ist(day, dt.time(4, 30))
        with self.cluster.gate(self.size):
            for place in range(self.size):
                if self.mode == "bill":
                    arguments = ("--as-of", str(day), "--chunk", str(self.cluster.chunk))
                    self.workers[place] = self.cluster.manage("bill", *arguments, now=now)
                elif place not in self.workers or self.workers[place].poll() is not None:
                    self.workers[place] = self.cluster.celery(f"celery{place}", now)
            if self.mode == "celery":
                queues = [f"celery{place}" for place in range(self.size)]
                self.cluster.tell("send", task="billing.run_daily", queues=queues)
        if not wait_until(lambda: len(self._runs()) == self.size, PATIENCE):
            raise ClusterError(f"not {self.size} runs: {self._runs()}")

    def _runs(self) -> list[bool]:
        """Of the runs that this crew began last, whether they ended."""
        rows = self.cluster.ask(
            f"SELECT finished_at IS NOT NULL FROM billing_billingrun WHERE id > {self._earlier}"
        )
        return [row[0] for row in rows]

    def unfinished(self) -> int:
        """How many of these runs are under way, or were killed."""
        return self._runs().count(False)

    def see_off(self) -> None:
        """After the database died: ``bill`` ends by itself, a Celery worker waits for more."""
        if self.mode == "celery":
            return
        for worker in self.workers.values():
            if worker.wait(PATIENCE) == 0:
                raise ClusterError("bill says that all went well, without its database")


class Round:
    """One portfolio from its first interruption to its judgement."""

    def __init__(self, cluster: Cluster, verdict: Verdict, chance: random.Random, log: Log) -> None:
        self.cluster, self.verdict, self.chance, self.log = cluster, verdict, chance, log
        self.reference: Mapping[judge.Key, tuple[Any, ...]] = {}

    def play(self, *, seed: int, size: int, mode: str, workers: int, kinds: Sequence[str]) -> bool:
        """Interrupt, go on, interrupt … until nothing is due; then judge.

        False: a kill came too late, and the round does not count as one of five interruptions.
        """
        begun = time.monotonic()
        self.reference = refer(self.cluster, seed=seed, size=size)
        crew = Crew(self.cluster, mode, workers)
        self.log(f"seed {seed}: {len(self.reference)} invoices, {workers} x {mode}")
        # Celery's workers keep their clock while they live, so theirs is one day.
        days = DAYS if mode == "bill" else [LAST] * len(DAYS)
        kills = Verdict()
        try:
            inside = all(
                self._interrupt(crew, kind, day, left, kills)
                for kind, day, left in zip(kinds, days, range(len(kinds), 0, -1), strict=False)
            )
            self._finish(mode)
        finally:
            self.cluster.kill([*crew.workers.values()])
        self._judge()
        if inside:
            self.verdict.add(kills)
        self.log(f"  judged after {time.monotonic() - begun:.1f} s")
        return inside

    def _interrupt(self, crew: Crew, kind: str, day: dt.date, left: int, kills: Verdict) -> bool:
        """One kill at a random moment, ``left`` being how many there are to be; whether it struck
        inside the run.
        """
        due = judge.due_by(self.reference, day)
        before, drawn = self._count(), self._drawn()
        crew.start(day)
        aim = before + int((due - before) * self.chance.uniform(0.05, 0.1 + 0.5 / left))
        self._wait_for(aim, crew)
        moment = self._count()
        self._kill(kind, crew, aim, due)
        after = self._count()
        inside = before < due > after and crew.unfinished() > 0
        self.log(
            f"  {day} kill -9 {kind}: at {moment} of {due}, {after} there after it"
            f"{'' if inside else ' (too late, the round does not count)'}"
        )
        kills.kills[kind] += 1
        if kind in ("worker", "workers"):  # a recovered server skips numbers of its own accord
            kills.rolled_back += self._drawn() - drawn
        return inside

    def _wait_for(self, aim: int, crew: Crew) -> None:
        """Until ``aim`` invoices are there, and then a part of a chunk's time longer."""
        with self.cluster.connect() as session:
            while True:
                row = session.execute("SELECT count(*) FROM billing_invoice").fetchone()
                if row is None or row[0] >= aim or not crew.unfinished():
                    break
                time.sleep(0.002)
        time.sleep(self.chance.uniform(0, 0.06))

    def _kill(self, kind: str, crew: Crew, aim: int, due: int) -> None:
        if kind == "worker":
            self.cluster.kill([crew.workers[self.chance.randrange(crew.size)]])
            # The others go on for a while, also with what it held.
            self._wait_for(aim + int((due - aim) * self.chance.uniform(0, 0.2)), crew)
        if kind in ("worker", "workers"):
            self.cluster.kill([*crew.workers.values()])
        elif kind == "backend":
            self.cluster.kill_backend(self.chance)
        else:
            getattr(self.cluster, f"kill_{kind}")()
        if kind not in ("worker", "workers"):
            self.cluster.start_postgres()
            crew.see_off()
        self.cluster.settled()

    def _drawn(self) -> int:
        """Ids drawn for invoices that are not there, because their transactions were cut."""
        rows = self.cluster.ask("SELECT last_value FROM billing_invoice_id_seq WHERE is_called")
        return (rows[0][0] if rows else 0) - self._count()

    def _count(self) -> int:
        (row,) = self.cluster.ask("SELECT count(*) FROM billing_invoice")
        return int(row[0])

    def _finish(self, mode: str) -> None:
        """A run that goes through, and one that finds nothing due."""
        later = at_ist(LAST, dt.time(16))
        if mode == "bill":
            for _ in range(2):
                done = self.cluster.manage("bill", "--as-of", str(LAST), now=later)
                if done.wait(PATIENCE) != 0:
                    self.verdict.problems.append("the last run failed")
        else:
            worker = self.cluster.celery("last", later)
            try:
                for task in ("billing.take_over", "billing.run_daily"):
                    self._celery_run(task)
            finally:
                self.cluster.kill([worker])
        (row,) = self.cluster.ask(
            "SELECT invoices FROM billing_billingrun ORDER BY id DESC LIMIT 1"
        )
        if row[0]:
            self.verdict.problems.append(f"the second of the last runs made {row[0]} invoices")

    def _celery_run(self, task: str) -> None:
        (row,) = self.cluster.ask("SELECT max(id) FROM billing_billingrun")
        question = f"SELECT FROM billing_billingrun WHERE id > {row[0]} AND finished_at IS NOT NULL"
        self.cluster.tell("send", task=task, queues=["last"])
        if not wait_until(lambda: bool(self.cluster.ask(question)), PATIENCE):
            self.verdict.problems.append(f"{task} did not run through")

    def _judge(self) -> None:
        self.verdict.invoices += self._count()
        self.verdict.problems += judge.judge(self.cluster.ask, self.reference)
        findings = self.cluster.tell("findings", day=LAST)["findings"]
        self.verdict.problems += [f"proof: {finding}" for finding in findings]


def plan(number: int) -> dict[str, Any]:
    """Who bills in round ``number`` (from 0): two and three, commands and Celery in turn."""
    return {"mode": ("bill", "celery")[number % 2], "workers": (2, 3, 3, 2)[number % 4]}


def play(cluster: Cluster, *, rounds: int, seed: int, size: int, log: Log = print) -> Verdict:
    """``rounds`` portfolios, five interruptions each."""
    verdict, chance = Verdict(), random.Random(seed)
    log(f"seed {seed}, {rounds} rounds of {len(KINDS)} interruptions")
    number = missed = 0
    while number < rounds and missed < MISSES:
        kinds = list(KINDS)
        chance.shuffle(kinds)
        this_round = Round(cluster, verdict, chance, log)
        try:
            counts = this_round.play(
                seed=chance.randrange(10**6), size=size, kinds=kinds, **plan(number)
            )
        except (ClusterError, psycopg.Error) as error:
            counts = True
            verdict.problems.append(f"round {number + 1}: {type(error).__name__}: {error}")
            cluster.start_postgres()
        number, missed = (number + 1, 0) if counts else (number, missed + 1)
    if missed:
        verdict.problems.append(f"kills came too late in {missed} rounds one after the other")
    return verdict


def _say(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    """Command line; exit status 1 when anything was not clean."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--size", type=int, default=3000, help="subscriptions of a portfolio")
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    begun = time.monotonic()
    with Cluster(PROJECT_ROOT / "var" / "kill-billing", chunk=CHUNK) as cluster:
        verdict = play(cluster, rounds=options.rounds, seed=seed, size=options.size, log=_say)
        verdict.add(play_statements(cluster, seed=seed, postgres=True))
        verdict.add(play_morning(cluster, seed=seed, postgres=True))
        verdict.add(play_money(cluster, seed=seed, postgres=True))
    print(json.dumps(verdict.figures(), indent=1))
    for problem in verdict.problems[:40]:
        print("PROBLEM", problem)
    print(f"{'NOT CLEAN' if verdict.problems else 'clean'} in {time.monotonic() - begun:.0f} s")
    sys.exit(1 if verdict.problems else 0)


if __name__ == "__main__":
    main()
