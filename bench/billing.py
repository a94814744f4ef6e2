"""How fast a hundred thousand subscriptions are billed, beside a loop over rows with the ORM.

``python -m bench.billing``: an installation of its own below ``var/bench``, the application's role,
fsync on, every constraint and trigger. Promises (docs/performance.md): 100,000 due
subscriptions with tax, ledger, numbers and outbox in under 30 s, 10 times a row-by-row loop of the
same run, flat memory, a run with nothing due under 0.1 s. Writes ``var/bench/billing.json``; exit
status 1 when a promise is not kept.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import logging
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.figures import Target
from bench.installation import VAR, Installation, python

if TYPE_CHECKING:
    from bench.portfolio import Dataset

RUN_SECONDS: Final = 30.0
RATIO: Final = 10.0
FLAT_MB: Final = 10.0
IDLE_SECONDS: Final = 0.1
IDLE_RUNS: Final = 5
#: The loop gets one tenth of the run's subscriptions, so that both take seconds.
LOOP_SHARE: Final = 10
COMPARED: Final = 50
START_SECONDS: Final = 6.0
CHILD_SECONDS: Final = 600.0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All measurements, in one installation."""
    with Installation(answer_after=0) as installation:
        from bench import portfolio
        from quantleap.core import clock

        # A run's log line is for operators; here it would mix with the figures.
        logging.getLogger("subscriptions.billing.invoicing.runs").setLevel(logging.WARNING)
        as_of = clock.ist_date(clock.now())
        dataset = portfolio.open_books()
        measured: dict[str, Any] = {"as_of": str(as_of)}
        for name, count in (("small", options.small), ("large", options.subscriptions)):
            say(f"{count:,} due subscriptions")
            portfolio.load(dataset, count, as_of=as_of, prefix=name)
            (run,) = run_apart(installation, as_of)
            measured[name] = run | {"due": count, "expected": portfolio.expected_invoices(count)}
        say("nothing due")
        measured["idle"] = run_apart(installation, as_of, times=IDLE_RUNS)
        say("beside a row-by-row loop")
        measured["different"] = compare(dataset, min(COMPARED, options.sample), as_of)
        measured["rounds"] = [
            play_round(dataset, number, options.sample, as_of) for number in range(options.rounds)
        ]
        say("two workers at once")
        measured["two_workers"] = two_workers(installation, dataset, options.small * 2, as_of)
        say("the proof of the books")
        measured["proof"] = check_ledger()
    return measured


def say(what: str) -> None:
    """Print the present step."""
    print(f"  {what} …", flush=True)


def run_apart(
    installation: Installation, as_of: dt.date, *, times: int = 1, workers: int = 1, at: float = 0.0
) -> list[dict[str, Any]]:
    """Results of :func:`bench.billrun.measure` from ``workers`` processes, in their order."""
    outs = [VAR / f"billrun{number}.json" for number in range(workers)]
    with contextlib.ExitStack() as stack:
        children = [
            stack.enter_context(installation.process(out.stem, _command(as_of, out, times, at)))
            for out in outs
        ]
        for child, out in zip(children, outs, strict=True):
            if child.wait(CHILD_SECONDS) != 0:
                raise RuntimeError(f"the run failed: {VAR / 'log' / out.stem}.log")
    return [row for out in outs for row in json.loads(out.read_text())]


def _command(as_of: dt.date, out: Path, times: int, at: float) -> list[str]:
    return python(
        *("-m", "bench.billrun", "--as-of", str(as_of), "--out", str(out)),
        *("--times", str(times), "--at", repr(at)),
    )


def compare(dataset: Dataset, count: int, as_of: dt.date) -> int:
    """Number of ``count`` subscriptions that the run and the loop bill differently."""
    from bench import portfolio, rowbyrow
    from quantleap.core import clock
    from subscriptions.billing.invoicing import runs

    by_run = portfolio.load(dataset, count, as_of=as_of, prefix="alike-run")
    runs.run(as_of, now=clock.now())
    by_loop = portfolio.load(dataset, count, as_of=as_of, prefix="alike-loop")
    rowbyrow.bill(as_of, now=clock.now())
    pairs = zip(portfolio.billed(by_run), portfolio.billed(by_loop), strict=True)
    return sum(run_rows != loop_rows or len(run_rows) < 2 for run_rows, loop_rows in pairs)


def play_round(dataset: Dataset, number: int, sample: int, as_of: dt.date) -> dict[str, float]:
    """Invoices per second of both, in this process; the order changes from round to round."""
    from bench import portfolio, rowbyrow
    from quantleap.core import clock
    from subscriptions.billing.invoicing import runs

    contestants: dict[str, tuple[int, Callable[[], int]]] = {
        "run": (sample, lambda: runs.run(as_of, now=clock.now()).invoices),
        "loop": (max(1, sample // LOOP_SHARE), lambda: rowbyrow.bill(as_of, now=clock.now())),
    }
    rates: dict[str, float] = {}
    for name in sorted(contestants, reverse=number % 2 == 0):
        count, bill = contestants[name]
        portfolio.load(dataset, count, as_of=as_of, prefix=f"round{number}-{name}")
        begun = time.perf_counter()
        invoices = bill()
        rates[name] = invoices / (time.perf_counter() - begun)
        assert invoices == portfolio.expected_invoices(count), (
            f"{name}: {invoices} invoices of {count}"
        )
    return {name: round(rate, 1) for name, rate in rates.items()} | {
        "ratio": round(rates["run"] / rates["loop"], 2)
    }


def two_workers(
    installation: Installation, dataset: Dataset, count: int, as_of: dt.date
) -> dict[str, Any]:
    """For information: two processes that start at the same time."""
    from bench import portfolio

    portfolio.load(dataset, count, as_of=as_of, prefix="two")
    rows = run_apart(installation, as_of, workers=2, at=time.time() + START_SECONDS)
    seconds = max(row["ended"] for row in rows) - min(row["started"] for row in rows)
    invoices = sum(row["invoices"] for row in rows)
    return {
        "due": count,
        "expected": portfolio.expected_invoices(count),
        "invoices": invoices,
        "seconds": round(seconds, 3),
        "per_second": round(invoices / seconds, 1),
        "each": rows,
    }


def check_ledger() -> dict[str, Any]:
    """The nightly checks over everything that was billed: findings and duration."""
    from quantleap.core import clock
    from subscriptions.billing.ledger import checks

    begun = time.perf_counter()
    report = checks.check_ledger(now=clock.now())
    return {
        "seconds": round(time.perf_counter() - begun, 3),
        "invoices": report.invoices,
        "entries": report.entries,
        "findings": report.findings,
    }


def judge(measured: dict[str, Any]) -> list[Target]:
    """Compare the figures with the promises."""
    large, two = measured["large"], measured["two_workers"]
    wrong = sum(
        abs(run["invoices"] - run["expected"]) for run in (measured["small"], large, two)
    ) + sum(run["invoices"] for run in measured["idle"])
    return [
        Target(f"{large['due']:,} due subscriptions", large["seconds"], RUN_SECONDS, "s"),
        Target("the run / a row-by-row loop", median_ratio(measured), RATIO, "x", True),
        Target(
            f"memory, {large['due']:,} above {measured['small']['due']:,}",
            round(large["peak_mb"] - measured["small"]["peak_mb"], 2),
            FLAT_MB,
            "MB",
        ),
        Target("nothing due", idle_seconds(measured), IDLE_SECONDS, "s"),
        Target("invoices missing or too many", wrong, 0, ""),
        Target("billed differently by run and loop", measured["different"], 0, ""),
        Target("findings of the ledger's proof", len(measured["proof"]["findings"]), 0, ""),
    ]


def median_ratio(measured: dict[str, Any]) -> float:
    """Median of the rounds' ratios."""
    return round(float(statistics.median(row["ratio"] for row in measured["rounds"])), 2)


def idle_seconds(measured: dict[str, Any]) -> float:
    """Median of the runs with nothing due."""
    return round(float(statistics.median(row["seconds"] for row in measured["idle"])), 4)


def table(measured: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [
        f"{'due':>9}{'invoices':>10}{'s':>8}{'/s':>8}{'CPU s':>8}{'in PG':>8}"
        f"{'p50 ms':>8}{'p99 ms':>8}{'max ms':>8}{'peak MB':>9}{'PG MB':>8}"
    ]
    for run in (measured["small"], measured["large"]):
        lines.append(
            f"{run['due']:>9,}{run['invoices']:>10,}{run['seconds']:>8.2f}"
            f"{run['per_second']:>8.0f}{run['cpu_s']:>8.2f}{run['backend_cpu_s']:>8.2f}"
            f"{run['chunk_p50_ms']:>8.0f}{run['chunk_p99_ms']:>8.0f}{run['chunk_max_ms']:>8.0f}"
            f"{run['peak_mb']:>9.1f}{run['backend_private_mb']:>8.1f}"
        )
    two, proof = measured["two_workers"], measured["proof"]
    middle = {
        name: statistics.median(row[name] for row in measured["rounds"]) for name in ("run", "loop")
    }
    return "\n".join(
        [
            *lines,
            f"invoices/s, median of {len(measured['rounds'])} rounds: "
            f"run {middle['run']:.0f}, row by row {middle['loop']:.0f}",
            f"two workers, {two['due']:,} due: {two['seconds']:.2f} s, {two['per_second']:.0f}/s",
            f"proof of {proof['entries']:,} entries: {proof['seconds']:.2f} s",
        ]
    )


def result_json(measured: dict[str, Any], judged: list[Target]) -> dict[str, Any]:
    """The content of ``billing.json``."""
    return {
        "machine": {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "kernel": platform.release(),
            "load_at_end": os.getloadavg(),
        },
        "median_ratio": median_ratio(measured),
        "idle_seconds": idle_seconds(measured),
        "targets": [target.json() for target in judged],
        **measured,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subscriptions", type=int, default=100_000)
    parser.add_argument("--small", type=int, default=10_000, help="the run whose memory is normal")
    parser.add_argument("--sample", type=int, default=5_000, help="of the run, in a round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    begun = time.monotonic()
    measured = measure(options)
    judged = judge(measured)
    print(f"\n{table(measured)}\n")
    for target in judged:
        print(target.line())
    path = VAR / "billing.json"
    path.write_text(json.dumps(result_json(measured, judged), indent=1) + "\n")
    all_kept = all(target.holds for target in judged)
    print(f"\nwritten to {path.relative_to(VAR.parent.parent)}")
    print(f"{'every promise kept' if all_kept else 'NOT KEPT'}, {time.monotonic() - begun:.0f} s")
    sys.exit(0 if all_kept else 1)


if __name__ == "__main__":
    main()
