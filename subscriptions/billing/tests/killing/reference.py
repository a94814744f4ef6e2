"""The portfolio billed by one undisturbed run, against which everything is judged."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from quantleap.embedded.postgres import DATABASE
from subscriptions.billing.tests.killing import judge
from subscriptions.billing.tests.killing.cluster import Cluster, ClusterError

#: Days of the interruptions and of the last run: over the end of a financial year, with new
#: periods due on each.
DAYS: Final = tuple(dt.date(2026, 3, 28) + dt.timedelta(days=n) for n in range(6))
LAST: Final = DAYS[-1]


@dataclass
class Verdict:
    """What was found: empty ``problems`` is clean. Kills by what was killed."""

    problems: list[str] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    invoices: int = 0
    rolled_back: int = 0

    def add(self, other: Verdict) -> None:
        """Take in what another found."""
        self.problems += other.problems
        self.kills += other.kills
        self.invoices += other.invoices
        self.rolled_back += other.rolled_back

    def figures(self) -> dict[str, Any]:
        """For the report."""
        return {
            "kills": dict(self.kills),
            "invoices": self.invoices,
            "invoices_rolled_back": self.rolled_back,
        }


def refer(
    cluster: Cluster, *, seed: int, size: int, withheld: bool = True
) -> dict[judge.Key, tuple[Any, ...]]:
    """The invoices of an undisturbed run; then the portfolio stands as before it, unbilled.

    A copy of it is kept as the database ``portfolio``, and of what the run made as ``billed``.
    """
    cluster.copy("empty", DATABASE)
    cluster.tell("load", seed=seed, size=size, last=LAST, withheld=withheld)
    cluster.copy(DATABASE, "portfolio")
    if cluster.run_job("bill", LAST, chunk=1000)["status"] != 0:
        raise ClusterError("the undisturbed run failed")
    reference = judge.invoices(cluster.ask)
    problems = judge.judge(cluster.ask, reference)
    if problems or not reference:
        raise ClusterError(f"the undisturbed run is not clean: {problems}")
    cluster.copy(DATABASE, "billed")
    cluster.copy("portfolio", DATABASE)
    return reference
