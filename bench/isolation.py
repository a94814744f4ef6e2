"""What one hostile account costs the others: entries and exits of 200 with and without it.

``python -m bench.isolation`` starts an installation of its own below ``var/bench``. For each manner
of a hostile broker (``execution.tests.hostile``, and one that swallows SYNs) an executor plays the
same short day of ``--entries`` strategies in turn with and without the hostile account.

The p99 of 199 orders is the last but one of them, some 5 ms after T, and moves by a quarter from
one entry to the next with nothing hostile near. So every entry second is one figure; the median of
all with a hostile account must be within a tenth of the median of all without. One manner alone has
too few for that: it fails when even the lower end of its ratio's 95 % interval is above a tenth,
against the controls of every manner, which are all the same day. The others' exits of each manner
leave at most 250 ms later than the control's. Writes ``var/bench/isolation.json`` with every single
figure; exit status 1 when a promise is not kept.
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
from bench.house import VAR, House, python

CONNECT: Final = "hanging_connect"
LEAD: Final = 11.0
#: Seconds that the subscriptions of one strategy take at most.
PREPARE: Final = 0.5
RUN_SECONDS: Final = 60.0
#: Entries of the others at p99, hostile over control.
RATIO: Final = 1.10
#: Milliseconds by which the others' exits may be later than in the control.
EXIT_MS: Final = 250.0


@dataclasses.dataclass
class Played:
    """The healthy accounts' orders of one day, by entry; and what went wrong."""

    entries: list[Lateness] = dataclasses.field(default_factory=list)
    exits: list[Lateness] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)

    def line(self) -> str:
        """Medians, for people."""
        entries = " ".join(f"{entry.p99:.1f}" for entry in self.entries)
        exits = " ".join(f"{leaving.last:.0f}" for leaving in self.exits)
        return f"entries p99 {entries} ms, exits last {exits} {self.problems}"


class Bench:
    """Healthy accounts at the sink, hostile ones at brokers of their own."""

    def __init__(self, house: House, subscribers: int, manners: Sequence[str]) -> None:
        from bench import day
        from brokers.models import BrokerInstrument
        from execution.tests.factories import log_in, make_accounts, make_partner
        from quantleap.core import clock

        self.house, self._day = house, day
        day.open_market()
        names = list(BrokerInstrument.objects.all())
        for name in names:
            name.pk, name.broker = None, "zebu"
        BrokerInstrument.objects.bulk_create(names)
        self._healthy = day.make_subscribers(subscribers - 1)
        made = make_accounts(len(manners), partner=make_partner(), prefix="X", now=clock.now())
        log_in(made, lambda _broker, client_id: f"token{client_id}", clock.now())
        self.hostile = dict(zip(manners, made, strict=True))

    @contextmanager
    def executor(self, manner: str) -> Iterator[None]:
        """A fresh executor whose second broker is of this manner."""
        self._clear()
        with self._enemy(manner) as url, self.house.executor(QUANTLEAP_ZEBU_API=url):
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
        """What the hostile account of before has left open is nobody's."""
        from execution.models import Execution, OrderIntent
        from quantleap.core import clock

        left = Execution.objects.exclude(status__in=Execution.TERMINAL)
        orders = OrderIntent.objects.filter(execution__in=left)
        # What was planned and has not been sent is nowhere; of the rest nobody knows.
        unfinished = orders.exclude(state__in=OrderIntent.FINAL)
        unfinished.filter(sends=0).update(state="MISSED", final_at=clock.now())
        unfinished.exclude(sends=0).update(state="ESCALATED", final_at=clock.now())
        left.update(status="FAILED", cause="OTHER", closed_at=clock.now())

    def play(self, entries: int, manner: str = "") -> Played:
        """One short day of so many entries, a second apart; the exits follow when all have entered.

        With the hostile account of this manner in each of them, if one is named. An entry before
        them, with everybody in it, is not counted: a fresh process is late.
        """
        sink, day = self.house.sink, self._day
        sink.reset()
        accounts = [*self._healthy, *([self.hostile[manner]] if manner else [])]
        hold = day.HOLD.total_seconds() + entries
        start = time.time() + LEAD + PREPARE * entries
        made = [
            day.schedule(accounts, start + number - time.time(), hold=hold)
            for number in range(entries + 1)
        ]
        problems = self._wait(made, made[-1].due + hold + RUN_SECONDS - time.time())
        arrivals = sink.arrivals()
        played = Played(problems=problems)
        for entry in made[1:]:
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

    def _wait(self, made: Sequence[Any], seconds: float) -> list[str]:
        """Until the healthy are closed; what is wrong with them."""
        from execution.models import Execution

        templates = [entry.template for entry in made]
        theirs = Execution.objects.filter(run__template__in=templates, account__in=self._healthy)
        deadline = time.monotonic() + seconds
        while theirs.filter(status="CLOSED").count() < len(made) * len(self._healthy):
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
    found: dict[str, dict[str, list[Played]]] = {}
    with House(answer_after=options.answer_after / 1000) as house:
        bench = Bench(house, options.subscribers, options.manners)
        for manner in options.manners:
            days = found[manner] = {"control": [], "hostile": []}
            for number in range(options.runs):
                for name in ("control", "hostile") if number % 2 == 0 else ("hostile", "control"):
                    # Each day has a process of its own: what a hostile account leaves open would
                    # be in the next day's control as well.
                    with bench.executor(manner):
                        played = bench.play(options.entries, manner if name == "hostile" else "")
                    days[name].append(played)
                    print(f"  {manner} {name}: {played.line()}", flush=True)
    return found


def judge(found: Mapping[str, Mapping[str, Sequence[Played]]]) -> list[Target]:
    """The promises, from the days of :func:`measure`."""
    p99: dict[str, dict[str, list[float]]] = {
        manner: {
            name: [entry.p99 for played in series for entry in played.entries]
            for name, series in days.items()
        }
        for manner, days in found.items()
    }
    control = [figure for days in p99.values() for figure in days["control"]]
    hostile = [figure for days in p99.values() for figure in days["hostile"]]
    every = statistics.median(hostile) / statistics.median(control)
    judged = [Target("every manner: entries, p99", every, RATIO, "x")]
    for manner, days in found.items():
        low, _high = figures.ratio_interval(p99[manner]["hostile"], control)
        judged.append(Target(f"{manner}: entries, p99, at least", low, RATIO, "x"))
        last = {
            name: statistics.median(leg.last for played in series for leg in played.exits)
            for name, series in days.items()
        }
        later = last["hostile"] - last["control"]
        judged.append(Target(f"{manner}: last exit, later than control", later, EXIT_MS))
    return judged


def report(options: argparse.Namespace, found: Mapping[str, Any]) -> bool:
    """Print and write the figures; whether every promise is kept."""
    rows: dict[str, Lateness] = {}
    ratios: dict[str, Any] = {}
    problems: list[str] = []
    control = [entry.p99 for days in found.values() for p in days["control"] for entry in p.entries]
    for manner, days in found.items():
        for name, series in days.items():
            for what in ("entries", "exits"):
                every = [figure for played in series for figure in getattr(played, what)]
                rows[f"{manner}, {what}, {name}"] = figures.median_of(every)
            problems += [f"{manner}: {problem}" for played in series for problem in played.problems]
        hostile = [entry.p99 for played in days["hostile"] for entry in played.entries]
        low, high = figures.ratio_interval(hostile, control)
        middle = statistics.median(hostile) / statistics.median(control)
        ratios[manner] = {"ratio": round(middle, 3), "low": round(low, 3), "high": round(high, 3)}
    judged = judge(found)
    print()
    print(figures.table(rows))
    print()
    for manner, found_ratio in ratios.items():
        print(f"{manner:<16} entries, p99: {found_ratio['ratio']:.2f} times the control's", end="")
        print(f" (95 %: {found_ratio['low']:.2f} to {found_ratio['high']:.2f})")
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
        "ratios": ratios,
        "targets": [target.json() for target in judged],
        "problems": problems,
        "all": found,
    }
    path = VAR / "isolation.json"
    path.write_text(json.dumps(result, indent=1, default=_plain) + "\n")
    print(f"\nwritten to {path.relative_to(VAR.parent.parent)}")
    return not problems and all(target.holds for target in judged)


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value)


def main() -> None:
    """Command line."""
    from execution.tests.hostile import Manner

    every = [CONNECT, *Manner]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subscribers", type=int, default=200)
    parser.add_argument("--runs", type=int, default=2, help="days with and without, per manner")
    parser.add_argument("--entries", type=int, default=8, help="a day")
    parser.add_argument("--manners", nargs="+", choices=every, default=every)
    parser.add_argument("--answer-after", type=float, default=50.0, help="ms, of the sink")
    options = parser.parse_args()
    kept = report(options, measure(options))
    print("every promise kept" if kept else "NOT KEPT")
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
