"""How late a thousand orders leave: ours, one Celery task per order, and a bare sender.

``python -m bench.fanout`` starts an installation of its own below ``var/bench``, runs the three in
turn (docs/performance.md), prints a table with PASS or FAIL for each promise, and writes every
run to ``var/bench/fanout.json``. Exit status 1 when a promise is not kept.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from bench import figures
from bench.figures import Lateness
from bench.installation import LEADS, VAR, Installation, python

LEAD: Final = 11.0
#: Connecting ten thousand sockets takes longer than a thousand; in production there is half a
#: minute.
MANY_LEADS: Final = {"QUANTLEAP_ARM_LEAD": "20", "QUANTLEAP_CONNECT_LEAD": "16"}
MANY_LEAD: Final = 24.0
MANY: Final = 5000
ORDERS_EACH: Final = 4
LARGER_RUNS: Final = 3
RUN_SECONDS: Final = 90.0
TASK_WORKERS: Final = {
    "prefork -c 4": ("-P", "prefork", "-c", "4"),
    "threads -c 64": ("-P", "threads", "-c", "64"),
}


class Bench:
    """The three contestants in one installation; every method is one run."""

    def __init__(self, installation: Installation, subscribers: int) -> None:
        from bench import day

        self.installation = installation
        self.subscribers = subscribers
        self._day = day
        day.open_market()
        self._accounts = day.make_subscribers(subscribers)

    def add_subscribers(self, count: int) -> None:
        """Set the number of subscribers from now on."""
        self._accounts += self._day.make_subscribers(count - self.subscribers, prefix="D")
        self.subscribers = count

    def ours(self, orders: int = 1, lead: float = LEAD) -> dict[str, Any]:
        """The engine with database and bookkeeping, in its Celery worker; a whole short day.

        ``orders`` of each subscriber, entering ``lead`` seconds from now.
        """
        sink, day = self.installation.sink, self._day
        sink.reset()
        entry = day.schedule(self._accounts, lead, orders=orders)
        time.sleep(entry.due - time.time() + 2.0)
        run = day.wait_for_end(entry, RUN_SECONDS)
        outcome = day.outcome(run)
        tags = day.entry_tags(run)
        arrivals = sink.arrivals()
        entries = [row for row in arrivals if row["tag"] in tags]
        first = {row["account"]: row for row in reversed(entries)}  # the first one wins
        problems = _problems(entries, arrivals, outcome, orders)
        if not entries:
            raise RuntimeError(f"no order arrived: {outcome}")
        return {
            "witnessed": figures.lateness((row["at"] for row in entries), entry.due),
            "read_by_sink": figures.lateness((row["read_at"] for row in entries), entry.due),
            "first_of_account": figures.lateness((r["at"] for r in first.values()), entry.due),
            "own_sent_at": figures.lateness(day.sent_instants(run), entry.due),
            "outcome": outcome,
            "problems": problems,
        }

    def per_order(self) -> dict[str, Any]:
        """One task per order: published at T to a warm, idle worker."""
        from bench import perorder

        sink = self.installation.sink
        sink.reset()
        perorder.ready.delay(sink.url)
        sink.wait_for("ready", 1, 30)
        due = float(int(time.time()) + 2)
        time.sleep(due - time.time())
        perorder.publish(sink.url, self.subscribers)
        sink.wait_for("orders", self.subscribers, RUN_SECONDS)
        return {"witnessed": figures.lateness((row["at"] for row in sink.arrivals()), due)}

    def bare(self) -> dict[str, Any]:
        """The bare sender in a process of its own."""
        sink = self.installation.sink
        sink.reset()
        due = float(int(time.time()) + 4)
        command = python(
            *("-m", "bench.bare", "--url", sink.url),
            *("--orders", str(self.subscribers), "--due", repr(due)),
        )
        with self.installation.process("bare", command) as child:
            self.installation.keep_apart(child.pid)
            if child.wait(30) != 0:
                raise RuntimeError(f"the bare sender failed: {VAR / 'log' / 'bare.log'}")
        return {"witnessed": figures.lateness((row["at"] for row in sink.arrivals()), due)}

    @contextmanager
    def task_worker(self, kind: str) -> Iterator[None]:
        """The worker of the baseline with Celery tasks."""
        command = python(
            *("-m", "celery", "-A", "bench.perorder", "worker", "-n", "bench@%h"),
            *(*TASK_WORKERS[kind], "-Q", "bench", "-l", "WARNING"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        )
        with self.installation.process("perorder", command):
            yield


def _problems(
    entries: list[dict[str, Any]],
    arrivals: list[dict[str, Any]],
    outcome: dict[str, Any],
    orders: int,
) -> list[str]:
    """Errors whatever the speed: orders lost, sent twice or unfinished, positions left open."""
    problems = []
    if len({row["tag"] for row in arrivals}) != len(arrivals):
        problems.append("a tag arrived twice")
    per_account: dict[str, int] = {}
    net: dict[str, int] = {}
    for row in entries:
        per_account[row["account"]] = per_account.get(row["account"], 0) + 1
    for row in arrivals:
        sign = 1 if row["side"] == "BUY" else -1
        net[row["account"]] = net.get(row["account"], 0) + sign * row["quantity"]
    if set(per_account.values()) != {orders}:
        problems.append(f"not every account has {orders} entries")
    if any(net.values()):
        problems.append("positions left open")
    if set(outcome["entries"]) != {"FILLED"} or set(outcome["executions"]) != {"CLOSED"}:
        problems.append(f"not everything ended well: {outcome}")
    return problems


def choose_worker(bench: Bench) -> tuple[str, dict[str, Lateness]]:
    """The faster of the two usual pools for the baseline with tasks."""
    lateness: dict[str, Lateness] = {}
    for kind in TASK_WORKERS:
        with bench.task_worker(kind):
            lateness[kind] = bench.per_order()["witnessed"]
        print(f"  one task per order, {kind}: last {lateness[kind].last:.0f} ms", flush=True)
    return min(lateness, key=lambda kind: lateness[kind].last), lateness


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All measurements; the result file's content."""
    rounds: dict[str, list[dict[str, Any]]] = {"ours": [], "per_order": [], "bare": []}
    larger: dict[str, list[dict[str, Any]]] = {"orders": [], "subscribers": []}
    with Installation(answer_after=options.answer_after / 1000) as installation:
        bench = Bench(installation, options.subscribers)
        worker, pools = choose_worker(bench)
        with bench.task_worker(worker), installation.executor():
            contestants: dict[str, Callable[[], dict[str, Any]]] = {
                "ours": bench.ours,
                "per_order": bench.per_order,
                "bare": bench.bare,
            }
            for _ in range(options.runs):
                for name, play in contestants.items():
                    run = play()
                    rounds[name].append(run)
                    _say(name, rounds[name])
        if not options.quick:
            with installation.executor(**MANY_LEADS):
                for _ in range(LARGER_RUNS):
                    larger["orders"].append(bench.ours(ORDERS_EACH, lead=MANY_LEAD))
                    _say("4 orders each", larger["orders"])
                bench.add_subscribers(MANY)
                for _ in range(LARGER_RUNS):
                    larger["subscribers"].append(bench.ours(lead=MANY_LEAD))
                    _say(f"{MANY:,} subscribers", larger["subscribers"])
    return {"worker": worker, "pools": pools, "rounds": rounds, "larger": larger}


def _say(name: str, runs: list[dict[str, Any]]) -> None:
    print(f"  run {len(runs)} {name}: {runs[-1]['witnessed']}", flush=True)


def report(options: argparse.Namespace, measured: dict[str, Any]) -> bool:
    """Print and write the figures; returns whether every promise is kept."""
    rounds = measured["rounds"]
    series = {name: [run["witnessed"] for run in runs] for name, runs in rounds.items()}
    rows = {
        f"ours (median of {options.runs})": figures.median_of(series["ours"]),
        "  by our own books (sent_at)": figures.median_of(
            [r["own_sent_at"] for r in rounds["ours"]]
        ),
        "  as read by the sink": figures.median_of([r["read_by_sink"] for r in rounds["ours"]]),
        f"one task per order ({measured['worker']})": figures.median_of(series["per_order"]),
        "bare prepared sender": figures.median_of(series["bare"]),
    }
    judged = figures.targets(
        series["ours"], series["per_order"], series["bare"], subscribers=options.subscribers
    )
    larger = measured["larger"]
    if larger["orders"]:
        orders = figures.median_of([run["witnessed"] for run in larger["orders"]])
        many = figures.median_of([run["first_of_account"] for run in larger["subscribers"]])
        rows[f"ours, {ORDERS_EACH} orders each"] = orders
        rows[f"ours, {MANY:,} subscribers"] = many
        judged += figures.larger_targets(
            orders, many, orders_count=ORDERS_EACH * options.subscribers, subscribers=MANY
        )
    played = [*rounds["ours"], *larger["orders"], *larger["subscribers"]]
    problems = [problem for run in played for problem in run["problems"]]
    print()
    print(figures.table(rows))
    print()
    for target in judged:
        print(target.line())
    for problem in problems:
        print("FAIL ", problem)
    path = VAR / "fanout.json"
    result = {
        "machine": {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "kernel": platform.release(),
            "load_at_end": os.getloadavg(),
        },
        "subscribers": options.subscribers,
        "runs": options.runs,
        "answer_after_ms": options.answer_after,
        "leads": LEADS,
        "medians": rows,
        "targets": [target.json() for target in judged],
        "problems": problems,
        **measured,
    }
    path.write_text(json.dumps(result, indent=1, default=_plain) + "\n")
    print(f"\nwritten to {path.relative_to(VAR.parent.parent)}")
    return not problems and all(target.holds for target in judged)


def _plain(value: Any) -> Any:
    import dataclasses

    return dataclasses.asdict(value)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subscribers", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="1 run, 200 subscribers")
    parser.add_argument(
        "--answer-after", type=float, default=0.0, help="ms that the sink takes to answer an order"
    )
    options = parser.parse_args()
    if options.quick:
        options.runs, options.subscribers = 1, 200
    begun = time.monotonic()
    measured = measure(options)
    all_kept = report(options, measured)
    print(f"{'every promise kept' if all_kept else 'NOT KEPT'}, {time.monotonic() - begun:.0f} s")
    sys.exit(0 if all_kept else 1)


if __name__ == "__main__":
    main()
