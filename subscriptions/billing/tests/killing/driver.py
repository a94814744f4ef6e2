"""Runs inside the installation under test: makes portfolios, and processes that die on command.

One JSON object per line in, one out. Each command runs in a forked process, which has our code
loaded and a connection of its own; this one never has a connection.
"""

from __future__ import annotations

import datetime as dt
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import Any

import django

django.setup()

from django.db import InterfaceError, OperationalError, connection  # noqa: E402

from quantleap.celery import app  # noqa: E402
from subscriptions.billing.invoicing import runs  # noqa: E402
from subscriptions.billing.ledger import checks, revenue_recognition  # noqa: E402
from subscriptions.billing.settlement import commission_maturity  # noqa: E402
from subscriptions.billing.tests.factories import noon  # noqa: E402
from subscriptions.billing.tests.killing import portfolio  # noqa: E402
from subscriptions.billing.tests.killing.cluster import DATABASE_LOST  # noqa: E402
from subscriptions.billing.tests.killing.failpoints import BREAKS, Failpoint  # noqa: E402


def bill(day: dt.date, chunk: int) -> None:
    """The run; the workers die within seconds of each other, so silence begins at once."""
    vars(runs)["SILENCE"] = dt.timedelta(0)
    runs.run(day, now=noon(day), chunk=chunk)


def recognise(day: dt.date, chunk: int) -> None:
    """Revenue through ``day``."""
    revenue_recognition.recognise(day, now=noon(day), chunk=chunk)


def mature(day: dt.date, chunk: int) -> None:
    """Commission as of ``day``."""
    commission_maturity.mature(day, now=noon(day), chunk=chunk)


def check_ledger(day: dt.date, chunk: int) -> None:
    """The nightly checks, which have no chunks."""
    checks.check_ledger(now=noon(day))


def receive(day: dt.date, chunk: int) -> None:
    """A receipt over several invoices."""
    portfolio.receive_one(day)


def take_back(day: dt.date, chunk: int) -> None:
    """Its reversal."""
    portfolio.take_back_one(day)


JOBS: dict[str, Callable[[dt.date, int], None]] = {
    "bill": bill,
    "recognise": recognise,
    "mature": mature,
    "check_ledger": check_ledger,
    "receive": receive,
    "take_back": take_back,
}


class Driver:
    """The commands; their names are the method names."""

    def __init__(self) -> None:
        self._fork = multiprocessing.get_context("fork")
        self._workers: dict[int, tuple[ForkProcess, Connection]] = {}

    def load(self, seed: int, size: int, last: str, withheld: bool) -> dict[str, Any]:
        """The portfolio of a seed."""
        day = dt.date.fromisoformat(last)
        return self._now(
            lambda _: portfolio.load(seed=seed, size=size, last=day, withheld=withheld)
        )

    def pay(self, seed: int, count: int, on: str) -> dict[str, Any]:
        """Payments of some invoices."""
        return self._now(
            lambda _: portfolio.pay_some(seed=seed, count=count, on=dt.date.fromisoformat(on))
        )

    def findings(self, day: str) -> dict[str, Any]:
        """What the proof finds."""

        def ask(_: Connection) -> dict[str, Any]:
            return {"findings": checks.check_ledger(now=noon(dt.date.fromisoformat(day))).findings}

        return self._now(ask)

    def send(self, task: str, queues: list[str]) -> dict[str, Any]:
        """What beat would send, once into each queue."""

        def publish(_: Connection) -> None:
            for queue in queues:
                app.send_task(task, queue=queue)

        return self._now(publish)

    def work(
        self,
        job: str,
        day: str,
        chunk: int,
        place: int = 0,
        die: bool = True,
        before: bool = False,
        broken: str = "",
    ) -> dict[str, Any]:
        """Start a job; at its statement ``place`` it dies, or waits for ``go_on``. Its pid."""

        def go(harness: Connection) -> dict[str, Any]:
            def action(label: str) -> None:
                harness.send({"reached": label})
                if die:
                    os.kill(os.getpid(), signal.SIGKILL)
                harness.recv()

            BREAKS[broken]()
            failpoint = Failpoint(place, action, before=before)
            with connection.execute_wrapper(failpoint):
                JOBS[job](dt.date.fromisoformat(day), chunk)
            return {"labels": failpoint.seen}

        return {"pid": self._start(go)}

    def reached(self, pid: int) -> dict[str, Any]:
        """Returns once the worker is at its place; empty if it ended without coming there."""
        return self._hear(pid)

    def go_on(self, pid: int) -> dict[str, Any]:
        """Let a worker that waits at its place go on."""
        self._workers[pid][1].send("go on")
        return {}

    def wait(self, pid: int) -> dict[str, Any]:
        """A worker's end: exit status (negative: the signal), and what it said before."""
        answer: dict[str, Any] = {}
        while heard := self._hear(pid):
            answer |= heard
        process, _ = self._workers.pop(pid)
        process.join()
        return {"status": process.exitcode, **answer}

    def _hear(self, pid: int) -> dict[str, Any]:
        try:
            heard: dict[str, Any] = self._workers[pid][1].recv()
        except EOFError:
            return {}
        return heard

    def _now(self, call: Callable[[Connection], Any]) -> dict[str, Any]:
        answer = self.wait(self._start(call))
        if answer["status"] != 0:
            raise RuntimeError(f"{answer}")
        return answer

    def _start(self, call: Callable[[Connection], Any]) -> int:
        ours, theirs = self._fork.Pipe()

        def child() -> None:
            ours.close()  # else its own copy keeps the end of the driver open
            try:
                theirs.send({"done": True, **(call(theirs) or {})})
            except (OperationalError, InterfaceError):
                sys.exit(DATABASE_LOST)

        process = self._fork.Process(target=child, daemon=True)
        process.start()
        theirs.close()
        assert process.pid is not None
        self._workers[process.pid] = (process, ours)
        return process.pid


def main() -> None:
    """Serve until the input ends."""
    driver = Driver()
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(driver, request.pop("do"))(**request)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
