"""Lateness figures, medians over runs, targets and their table. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Lateness:
    """Milliseconds after T of one run's orders, and how many came before T."""

    count: int
    early: int
    first: float
    p50: float
    p99: float
    last: float


def percentile(ordered: Sequence[float], share: float) -> float:
    """Nearest-rank percentile of a sorted sequence; ``share`` is 0..1."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def lateness(instants: Iterable[float], due: float) -> Lateness:
    """Figures of arrivals (unix seconds, at least one) of orders due at ``due``."""
    late = sorted((at - due) * 1000 for at in instants)
    return Lateness(
        count=len(late),
        early=sum(1 for value in late if value < 0),
        first=round(late[0], 3),
        p50=round(percentile(late, 0.5), 3),
        p99=round(percentile(late, 0.99), 3),
        last=round(late[-1], 3),
    )


def median_of(runs: Sequence[Lateness]) -> Lateness:
    """Median of every time; ``count`` is the minimum, ``early`` the maximum."""
    return Lateness(
        count=min(run.count for run in runs),
        early=max(run.early for run in runs),
        **{
            name: round(statistics.median(getattr(run, name) for run in runs), 3)
            for name in ("first", "p50", "p99", "last")
        },
    )


@dataclass(frozen=True, slots=True)
class Target:
    """One promise of docs/performance.md: ``figure`` compared with ``limit``."""

    name: str
    figure: float
    limit: float
    unit: str = "ms"
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether it is kept."""
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit

    def line(self) -> str:
        """The promise as one line of text."""
        sign = ">=" if self.at_least else "<="
        word = "PASS" if self.holds else "FAIL"
        return (
            f"{word}  {self.name:<46} {self.figure:>10.2f} {self.unit:<3} ({sign} {self.limit:g})"
        )

    def json(self) -> dict[str, Any]:
        """The promise for the result file."""
        return {**asdict(self), "holds": self.holds}


FIRST_MS: Final = 5.0
P99_MS: Final = 50.0
LAST_MS: Final = 75.0
LAST_OF_MANY_MS: Final = 250.0
P99_OF_MANY_MS: Final = 250.0
TASKS_RATIO: Final = 50.0
BARE_RATIO: Final = 2.0


def ratio(
    above: Sequence[Lateness], below: Sequence[Lateness], of: Callable[[Lateness], float]
) -> float:
    """Median over the rounds of one contestant's figure divided by the other's."""
    return statistics.median(of(a) / of(b) for a, b in zip(above, below, strict=True))


@dataclass(frozen=True, slots=True)
class RatioInterval:
    """The geometric mean of ratios, and its 95 % confidence interval."""

    middle: float
    low: float
    high: float


def ratio_intervals(ratios: Mapping[str, Sequence[float]]) -> dict[str, RatioInterval]:
    """Intervals of several series of ratios (at least two each) that scatter alike.

    The spread within a series is pooled over all series, because two or three pairs alone say
    little about it. The logarithms are assumed to be normal.
    """
    logs = {name: [math.log(ratio) for ratio in series] for name, series in ratios.items()}
    squares = sum(statistics.variance(series) * (len(series) - 1) for series in logs.values())
    spread = math.sqrt(squares / sum(len(series) - 1 for series in logs.values()))
    wide = statistics.NormalDist().inv_cdf(0.975) * spread
    intervals = {}
    for name, series in logs.items():
        middle, half = statistics.fmean(series), wide / math.sqrt(len(series))
        intervals[name] = RatioInterval(
            *(round(math.exp(value), 3) for value in (middle, middle - half, middle + half))
        )
    return intervals


def targets(
    ours: Sequence[Lateness],
    tasks: Sequence[Lateness],
    bare: Sequence[Lateness],
    *,
    subscribers: int,
) -> list[Target]:
    """The promises for one order of each subscriber, compared with medians."""
    middle = median_of(ours)
    return [
        Target("orders that arrived, least of all runs", middle.count, subscribers, "", True),
        Target("orders before T, most of all runs", middle.early, 0, ""),
        Target("first byte after T", middle.first, FIRST_MS),
        Target("p99", middle.p99, P99_MS),
        Target("last", middle.last, LAST_MS),
        Target(
            "one task per order / ours, last order",
            ratio(tasks, ours, _last),
            TASKS_RATIO,
            "x",
            True,
        ),
        Target("ours / bare sender, last order", ratio(ours, bare, _last), BARE_RATIO, "x"),
    ]


def larger_targets(
    orders: Lateness, many: Lateness, *, orders_count: int, subscribers: int
) -> list[Target]:
    """The promises for several orders on each account, and for many subscribers."""
    return [
        Target(f"{orders_count:,} orders that arrived", orders.count, orders_count, "", True),
        Target(f"{orders_count:,} orders, last", orders.last, LAST_OF_MANY_MS),
        Target(
            f"{subscribers:,} subscribers' orders that arrived", many.count, subscribers, "", True
        ),
        Target(f"{subscribers:,} subscribers, p99 of first legs", many.p99, P99_OF_MANY_MS),
        Target("orders before T in these", max(orders.early, many.early), 0, ""),
    ]


def _last(run: Lateness) -> float:
    return run.last


def table(rows: Mapping[str, Lateness]) -> str:
    """Aligned lines of figures by name."""
    times = ("first", "p50", "p99", "last")
    lines = [f"{'ms after T':<36}{'orders':>7}{'early':>6}" + "".join(f"{t:>10}" for t in times)]
    for name, row in rows.items():
        figures = "".join(f"{getattr(row, time):>10.2f}" for time in times)
        lines.append(f"{name:<36}{row.count:>7}{row.early:>6}{figures}")
    return "\n".join(lines)
