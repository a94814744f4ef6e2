"""Five thousand accounts of four legs: how soon after the bought legs' fills the sold ones leave.

``python -m bench.scale`` starts an installation of its own below ``var/bench`` with two executors
in two processes. Its broker answers every order after 150 ms, and the order is filled then. Bought
legs go first; a sold leg waits until both bought ones are known to be filled. The sink notes when
it filled them and when the sold leg's first byte came. Once with order updates by websocket, once
with order books alone. Figures go to ``var/bench/scale.json``; exit status 1 when a promise (p99
within a second, with updates; everybody has begun within two thirds of the grace) is not kept, or a
day does not end flat.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from bench import figures
from bench.figures import Lateness, Target
from bench.installation import VAR, Installation

ACCOUNTS: Final = 5000
EXECUTORS: Final = 2
ANSWER_AFTER: Final = 0.150
#: Time to open ten thousand connections and five thousand websockets.
LEADS: Final = {"QUANTLEAP_ARM_LEAD": "80", "QUANTLEAP_CONNECT_LEAD": "72"}
LEAD: Final = 86.0
HOLD: Final = 40.0
DAY_SECONDS: Final = 400.0
WITHIN: Final = 1000.0
#: Two thirds of the grace period, in milliseconds: queued entries begin within half of it, and are
#: sent a moment later.
BEGUN_WITHIN: Final = 20_000.0
#: Seconds between two scans for the processes of an executor.
LOOK_EVERY: Final = 3.0
LEGS: Final = (
    ("BUY", "CE", "OTM6"),
    ("BUY", "PE", "OTM6"),
    ("SELL", "CE", "OTM4"),
    ("SELL", "PE", "OTM4"),
)


def waits(entries: list[dict[str, Any]]) -> Lateness:
    """Milliseconds from an account's last bought fill to each of its sold legs, from the sink.

    Negative ones would have been sent before the fills that they wait for.
    """
    bought: dict[str, float] = {}
    for row in entries:
        if row["side"] == "BUY":
            bought[row["account"]] = max(bought.get(row["account"], 0.0), row["filled_at"])
    sold = [row["at"] - bought[row["account"]] for row in entries if row["side"] == "SELL"]
    return figures.lateness(sold, 0.0)


def play(
    installation: Installation, accounts: list[Any], options: argparse.Namespace, updates: bool
) -> dict[str, Any]:
    """One short day with its own executors."""
    from bench import day

    installation.sink.reset()
    installation.sink.tell(updates)
    with installation.executors(options.executors, LEADS) as pids:
        entry = day.schedule(accounts, options.lead, legs=LEGS, hold=options.hold)
        with Meter(pids) as meter:
            time.sleep(max(0.0, entry.due - time.time() + options.hold))
        run = day.wait_for_end(entry, DAY_SECONDS)
        outcome, tags = day.outcome(run), day.entry_tags(run)
    arrivals = installation.sink.arrivals()
    entries = [row for row in arrivals if row["tag"] in tags]
    first = [row["at"] for row in entries if row["side"] == "BUY"]
    last = max((row["at"] for row in entries), default=entry.due)
    return {
        "bought": figures.lateness(first, entry.due),
        "cpu_ms_per_account": {
            "before": _per_account(meter.spent(entry.due - options.lead, entry.due), accounts),
            "entry": _per_account(meter.spent(entry.due, last), accounts),
            "held": _per_account(meter.spent(last + 5, entry.due + options.hold - 1), accounts),
        },
        "sold_after_bought_filled": waits(entries),
        "outcome": outcome,
        "problems": _problems(entries, arrivals, outcome, options.accounts),
    }


class Meter:
    """Processor seconds of processes and their children, sampled ten times a second.

    They show how many accounts one core can handle even if the machine is busy otherwise.
    """

    def __init__(self, pids: list[int]) -> None:
        self._pids = pids
        self._samples: list[tuple[float, float]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Meter:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join(5)

    def _run(self) -> None:
        tick = os.sysconf("SC_CLK_TCK")
        family, looked = set[int](), 0.0
        while not self._over.wait(0.1):
            if time.monotonic() - looked > LOOK_EVERY:
                family, looked = _family(self._pids), time.monotonic()
            used = sum(int(n) for pid in family for n in _stat(pid)[11:13])
            self._samples.append((time.time(), used / tick))

    def spent(self, since: float, until: float) -> float:
        """Seconds of all processes between two moments (unix seconds)."""
        within = [used for at, used in self._samples if since <= at <= until + 0.1]
        return within[-1] - within[0] if within else 0.0


def _family(pids: list[int]) -> set[int]:
    """The processes and all their descendants, from the system's table of parents."""
    parents: dict[int, int] = {}
    for place in Path("/proc").iterdir():
        if place.name.isdigit() and (fields := _stat(int(place.name))):
            parents[int(place.name)] = int(fields[1])
    family = set(pids)
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return family


def _stat(pid: int) -> list[str]:
    """Fields of a process from its state on; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _per_account(seconds: float, accounts: list[Any]) -> float:
    return round(1000 * seconds / len(accounts), 3)


def _problems(
    entries: list[dict[str, Any]],
    arrivals: list[dict[str, Any]],
    outcome: dict[str, Any],
    accounts: int,
) -> list[str]:
    problems = []
    if len({row["tag"] for row in arrivals}) != len(arrivals):
        problems.append("a tag arrived twice")
    if len(entries) != len(LEGS) * accounts:
        problems.append(f"{len(entries)} entries of {len(LEGS) * accounts}")
    if set(outcome["executions"]) != {"CLOSED"}:
        problems.append(f"not everything ended well: {outcome}")
    net: dict[tuple[str, str], int] = {}
    for row in arrivals:
        key = row["account"], row["symbol"]
        net[key] = net.get(key, 0) + (1 if row["side"] == "BUY" else -1) * row["quantity"]
    if any(net.values()):
        problems.append("positions left open")
    return problems


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=ACCOUNTS)
    parser.add_argument("--executors", type=int, default=EXECUTORS)
    parser.add_argument("--lead", type=float, default=LEAD, help="seconds until the entry")
    parser.add_argument("--hold", type=float, default=HOLD, help="seconds until the exit")
    parser.add_argument(
        "--answer-after", type=float, default=ANSWER_AFTER * 1000, help="ms for an order's answer"
    )
    parser.add_argument("--only", choices=("updates", "books"))
    options = parser.parse_args()
    runs: dict[str, dict[str, Any]] = {}
    with Installation(answer_after=options.answer_after / 1000) as installation:
        from bench import day

        day.open_market()
        accounts = day.make_subscribers(options.accounts)
        for name in ("updates", "books"):
            if options.only in (None, name):
                runs[name] = play(installation, accounts, options, updates=name == "updates")
                print(f"  {name}: {runs[name]['sold_after_bought_filled']}", flush=True)
                print(f"  ms of processor each: {runs[name]['cpu_ms_per_account']}", flush=True)
    print()
    rows = {f"sold legs, {name}": run["sold_after_bought_filled"] for name, run in runs.items()}
    print(figures.table(rows | {f"bought legs, {n}": run["bought"] for n, run in runs.items()}))
    targets = []
    if "updates" in runs:
        late = runs["updates"]["sold_after_bought_filled"]
        targets.append(Target("sold legs after the fill they wait for, p99", late.p99, WITHIN))
    targets += [
        Target(f"last bought leg after T, {name}", run["bought"].last, BEGUN_WITHIN)
        for name, run in runs.items()
    ]
    problems = [problem for run in runs.values() for problem in run["problems"]]
    for line in (
        *(target.line() for target in targets),
        *(f"FAIL  {problem}" for problem in problems),
    ):
        print(line)
    machine = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_at_end": os.getloadavg(),
    }
    result = {"machine": machine, "options": vars(options), **runs}
    path = VAR / "scale.json"
    path.write_text(json.dumps(result, indent=1, default=asdict) + "\n")
    all_kept = not problems and all(target.holds for target in targets)
    print("every promise kept" if all_kept else "NOT KEPT")
    sys.exit(0 if all_kept else 1)


if __name__ == "__main__":
    main()
