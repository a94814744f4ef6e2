"""How long discovery and arming take, and with how many queries, at 10 and at 10,000 subscribers.

``python -m bench.arming``: an installation of its own below ``var/bench``, no executor. Promises
(docs/performance.md): discovery is at most 2 queries whatever the number; arming 10,000 takes
less than 2 s. Writes ``var/bench/arming.json``; exit status 1 when a promise is not kept.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from bench.figures import Target
from bench.installation import VAR, Installation

ARM_SECONDS: Final = 2.0
PRODUCTION_LEAD: Final = 120.0
DISCOVERY_QUERIES: Final = 2


def measure(counts: list[int], repeats: int) -> list[dict[str, Any]]:
    """Figures by number of subscribers."""
    with Installation(answer_after=0):
        from bench import day

        day.open_market()
        return [_measure_one(count, repeats) for count in counts]


def _measure_one(count: int, repeats: int) -> dict[str, Any]:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from bench import day
    from execution.arming import arm_due
    from execution.models import Execution
    from execution.tests.factories import make_accounts, make_partner
    from execution.timing import from_settings
    from quantleap.core import clock
    from quantleap.core.tenancy import Environment
    from subscriptions.selectors import active_allocations

    accounts = make_accounts(
        count, partner=make_partner(), brokers=("zerodha",), prefix=f"A{count}X"
    )
    timing = dataclasses.replace(from_settings(), arm_lead=PRODUCTION_LEAD)
    arming, discovery, queries = [], [], set()
    for _ in range(repeats):
        entry = day.schedule(accounts, PRODUCTION_LEAD / 2)
        begun = time.perf_counter()
        with CaptureQueriesContext(connection) as captured:
            allocations = active_allocations(entry.template.pk, Environment.LIVE)
        discovery.append(time.perf_counter() - begun)
        queries.add(len(captured))
        assert len(allocations) == count
        begun = time.perf_counter()
        runs = arm_due(now=clock.now(), timing=timing, skip=_of_another_template(entry.template.pk))
        arming.append(time.perf_counter() - begun)
        armed = Execution.objects.filter(run__in=runs, status="ARMED").count()
        assert armed == count, f"{armed} of {count} armed"
    return {
        "subscribers": count,
        "discovery_queries": max(queries),
        "discovery_s": round(statistics.median(discovery), 4),
        "arming_s": round(statistics.median(arming), 4),
    }


def _of_another_template(template_id: int) -> Callable[[Any], bool]:
    return lambda due: bool(due.template_id != template_id)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subscribers", type=int, nargs="+", default=[10, 10_000])
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    rows = measure(options.subscribers, options.repeats)
    judged = []
    for row in rows:
        count = f"{row['subscribers']:,} subscribers"
        judged += [
            Target(f"discovery of {count}", row["discovery_queries"], DISCOVERY_QUERIES, "queries"),
            Target(f"discovery of {count}, time", row["discovery_s"], ARM_SECONDS, "s"),
            Target(f"arming {count}", row["arming_s"], ARM_SECONDS, "s"),
        ]
    for target in judged:
        print(target.line())
    result = {"rows": rows, "targets": [target.json() for target in judged]}
    (VAR / "arming.json").write_text(json.dumps(result, indent=1) + "\n")
    sys.exit(0 if all(target.holds for target in judged) else 1)


if __name__ == "__main__":
    main()
