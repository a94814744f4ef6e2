"""What one hostile account costs the others: entries and exits of 200 with and without it.

``python -m bench.isolation`` starts an installation of its own below ``var/bench``. For each manner
of a hostile broker (``execution.tests.hostile``, and one that swallows SYNs) an executor plays the
same short day of ``--entries`` strategies in turn with and without the hostile account.

The p99 of 199 orders is the last but one of them, some 5 ms after T. It moves by a quarter from one
entry to the next with nothing hostile near, from one process to the next by as much, and with the
machine, within minutes, by more. So a day with the hostile account is compared only with the day
without it that was played just before or after: the medians of their entries give one ratio. The
geometric mean of all ratios must be within a tenth. One manner alone has too few pairs for that: it
fails when even the lower end of its 95 % interval is above a tenth, with the spread between the
pairs of a manner taken over all manners. The others' exits of each manner leave at most 250 ms
later than in the same pair's control. Writes ``var/bench/isolation.json`` with every single figure;
exit status 1 when a promise is not kept.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from bench import figures
from bench.figures import Lateness, Target
from bench.installation import VAR, Installation, python

CONNECT: Final = "hanging_connect"
LEAD: Final = 11.0
#: Maximum seconds for the subscriptions of one strategy.
PREPARE: Final = 0.5
RUN_SECONDS: Final = 60.0
#: Maximum ratio of the other accounts' p99 at entry, with and without the hostile account.
RATIO: Final = 1.10
#: Milliseconds by which the other accounts' exits may be later than in the control.
EXIT_MS: Final = 250.0


@dataclasses.dataclass
class Played:
    """The healthy accounts' orders of one day, by entry, and the problems."""

    entries: list[Lateness] = dataclasses.field(default_factory=list)
    exits: list[Lateness] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)

    def line(self) -> str:
        """Medians as text."""
        entries = " ".join(f"{entry.p99:.1f}" for entry in self.entries)
        exits = " ".join(f"{leaving.last:.0f}" for leaving in self.exits)
        return f"entries p99 {entries} ms, exits last {exits} {self.problems}"


class Bench:
    """Healthy accounts at the sink, hostile ones at brokers of their own."""

    def __init__(
        self, installation: Installation, subscribers: int, manners: Sequence[str]
    ) -> None:
        from bench import day
        from brokers.models import BrokerInstrument
        from execution.tests.factories import log_in, make_accounts, make_partner
        from quantleap.core import clock

        self.installation, self._day = installation, day
        day.open_market()
        names = list(BrokerInstrument.objects.all())
        for name in names:
            name.pk, name.broker = None, "zebu"
        BrokerInstrument.objects.bulk_create(names)
        self._healthy = day.make_subscribers(subscribers - 1)
        accounts = make_accounts(len(manners), partner=make_partner(), prefix="X", now=clock.now())
        log_in(accounts, lambda _broker, client_id: f"token{client_id}", clock.now())
        self.hostile = dict(zip(manners, accounts, strict=True))

    @contextmanager
    def executor(self, manner: str) -> Iterator[None]:
        """A fresh executor whose second broker behaves in this manner."""
        self._clear()
        with self._enemy(manner) as url, self.installation.executor(QUANTLEAP_ZEBU_API=url):
            yield

    @contextmanager
    def _enemy(self, manner: str) -> Iterator[str]:
        if manner == CONNECT:
            from brokers.tests.loopback import Swallower

            with Swallower() as swallower:
                yield f"http://127.0.0.1:{swallower.port}"
            return
        client_id = self.hostile[manner].client_id
        with subprocess.Popen(
            python("-m", "execution.tests.hostile", f"{client_id}={manner}"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                yield process.stdout.readline().strip()
            finally:
                process.stdin.close()
                process.wait(20)

    @staticmethod
    def _clear() -> None:
        """Close what the previous hostile account has left open."""
        from execution.models import Execution, OrderIntent
        from quantleap.core import clock

        left = Execution.objects.exclude(status__in=Execution.TERMINAL)
        orders = OrderIntent.objects.filter(execution__in=left)
        # Planned orders that were never sent exist nowhere; the outcome of the others is unknown.
        unfinished = orders.exclude(state__in=OrderIntent.FINAL)
        unfinished.filter(sends=0).update(state="MISSED", final_at=clock.now())
        unfinished.exclude(sends=0).update(state="ESCALATED", final_at=clock.now())
        left.update(status="FAILED", cause="OTHER", closed_at=clock.now())

    def play(self, entries: int, manner: str = "") -> Played:
        """One short day with ``entries`` entries, a second apart; the exits follow the last entry.

        With the hostile account of this manner in each of them, if given. One entry before them,
        with all accounts, is not counted: a fresh process is late.
        """
        sink, day = self.installation.sink, self._day
        sink.reset()
        accounts = [*self._healthy, *([self.hostile[manner]] if manner else [])]
        hold = day.HOLD.total_seconds() + entries
        start = time.time() + LEAD + PREPARE * entries
        scheduled = [
            day.schedule(accounts, start + number - time.time(), hold=hold)
            for number in range(entries + 1)
        ]
        problems = self._wait(scheduled, scheduled[-1].due + hold + RUN_SECONDS - time.time())
        arrivals = sink.arrivals()
        played = Played(problems=problems)
        for entry in scheduled[1:]:
            tags = self._tags(entry)
            for name, due, into in (
                ("entries", entry.due, played.entries),
                ("exits", entry.due + hold, played.exits),
            ):
                instants = [row["at"] for row in arrivals if row["tag"] in tags[name]]
                if not instants:
                    raise RuntimeError(f"no {name} arrived: {problems}")
                if len(instants) != len(self._healthy):
                    problems.append(f"{len(instants)} {name} of {len(self._healthy)}")
                into.append(figures.lateness(instants, due))
        return played

    @staticmethod
    def _tags(entry: Any) -> dict[str, set[str]]:
        """Tags of all entries and of all exits of an entry's run."""
        from execution.models import OrderIntent

        orders = OrderIntent.objects.filter(run__template=entry.template)
        return {
            "entries": set(orders.filter(purpose="ENTRY").values_list("tag", flat=True)),
            "exits": set(orders.exclude(purpose="ENTRY").values_list("tag", flat=True)),
        }

    def _wait(self, scheduled: Sequence[Any], seconds: float) -> list[str]:
        """Wait until the healthy accounts are closed; returns their problems."""
        from execution.models import Execution

        templates = [entry.template for entry in scheduled]
        theirs = Execution.objects.filter(run__template__in=templates, account__in=self._healthy)
        deadline = time.monotonic() + seconds
        while theirs.filter(status="CLOSED").count() < len(scheduled) * len(self._healthy):
            if time.monotonic() > deadline:
                left = (
                    theirs.exclude(status="CLOSED")
                    .order_by()
                    .values_list("status", "cause")
                    .distinct()
                )
                return [f"not closed: {list(left)}"]
            time.sleep(0.2)
        return []


def measure(options: argparse.Namespace) -> dict[str, dict[str, list[Played]]]:
    """Days by manner, with and without the hostile account."""
    days_by_manner: dict[str, dict[str, list[Played]]] = {}
    with Installation(answer_after=options.answer_after / 1000) as installation:
        bench = Bench(installation, options.subscribers, options.manners)
        for manner in options.manners:
            days = days_by_manner[manner] = {"control": [], "hostile": []}
            for number in range(options.runs):
                for name in ("control", "hostile") if number % 2 == 0 else ("hostile", "control"):
                    # Each day has its own process: otherwise what a hostile account leaves open
                    # would affect the next day's control.
                    with bench.executor(manner):
                        played = bench.play(options.entries, manner if name == "hostile" else "")
                    days[name].append(played)
                    print(f"  {manner} {name}: {played.line()}", flush=True)
    return days_by_manner


def entry_ratios(days: Mapping[str, Sequence[Played]]) -> list[float]:
    """For each pair of days, the entries' median p99 with the hostile account over that without."""
    return [
        _median_p99(hostile) / _median_p99(control)
        for control, hostile in zip(days["control"], days["hostile"], strict=True)
    ]


def _median_p99(played: Played) -> float:
    return statistics.median(entry.p99 for entry in played.entries)


def exit_delay(days: Mapping[str, Sequence[Played]]) -> float:
    """Delay in ms of the others' last exits against the control; median of the pairs."""
    return statistics.median(
        statistics.median(leg.last for leg in hostile.exits)
        - statistics.median(leg.last for leg in control.exits)
        for control, hostile in zip(days["control"], days["hostile"], strict=True)
    )


def judge(
    intervals: Mapping[str, figures.RatioInterval], days: Mapping[str, Mapping[str, Any]]
) -> list[Target]:
    """Compare the days of :func:`measure` and the intervals of their ratios with the promises."""
    every = statistics.geometric_mean(
        ratio for manner_days in days.values() for ratio in entry_ratios(manner_days)
    )
    judged = [Target("every manner: entries, p99", every, RATIO, "x")]
    for manner, interval in intervals.items():
        judged.append(Target(f"{manner}: entries, p99, at least", interval.low, RATIO, "x"))
        later = exit_delay(days[manner])
        judged.append(Target(f"{manner}: last exit, later than control", later, EXIT_MS))
    return judged


def report(options: argparse.Namespace, days: Mapping[str, Any]) -> bool:
    """Print and write the figures; returns whether every promise is kept."""
    rows: dict[str, Lateness] = {}
    problems: list[str] = []
    for manner, pair in days.items():
        for name, series in pair.items():
            for what in ("entries", "exits"):
                every = [figure for played in series for figure in getattr(played, what)]
                rows[f"{manner}, {what}, {name}"] = figures.median_of(every)
            problems += [f"{manner}: {problem}" for played in series for problem in played.problems]
    intervals = figures.ratio_intervals({name: entry_ratios(pair) for name, pair in days.items()})
    judged = judge(intervals, days)
    print()
    print(figures.table(rows))
    print()
    for manner, interval in intervals.items():
        print(f"{manner:<16} entries, p99: {interval.middle:.2f} times the control's", end="")
        print(f" (95 %: {interval.low:.2f} to {interval.high:.2f})")
    print()
    for target in judged:
        print(target.line())
    for problem in problems:
        print("FAIL ", problem)
    result = {
        "subscribers": options.subscribers,
        "runs": options.runs,
        "entries": options.entries,
        "answer_after_ms": options.answer_after,
        "load_at_end": os.getloadavg(),
        "medians": rows,
        "ratios": intervals,
        "targets": [target.json() for target in judged],
        "problems": problems,
        "all": days,
    }
    path = VAR / "isolation.json"
    path.write_text(json.dumps(result, indent=1, default=_plain) + "\n")
    print(f"\nwritten to {path.relative_to(VAR.parent.parent)}")
    return not problems and all(target.holds for target in judged)


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value)


def _pairs(text: str) -> int:
    """The number of pairs, at least two: the spread cannot be estimated from one."""
    if (pairs := int(text)) < 2:
        raise argparse.ArgumentTypeError("at least two pairs of days")
    return pairs


def main() -> None:
    """Command line."""
    from execution.tests.hostile import Manner

    every = [CONNECT, *Manner]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subscribers", type=int, default=200)
    parser.add_argument("--runs", type=_pairs, default=2, help="pairs of days, per manner")
    parser.add_argument("--entries", type=int, default=8, help="a day")
    parser.add_argument("--manners", nargs="+", choices=every, default=every)
    parser.add_argument("--answer-after", type=float, default=50.0, help="ms, of the sink")
    options = parser.parse_args()
    all_kept = report(options, measure(options))
    print("every promise kept" if all_kept else "NOT KEPT")
    sys.exit(0 if all_kept else 1)


if __name__ == "__main__":
    main()
