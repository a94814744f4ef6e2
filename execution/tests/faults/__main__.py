"""Command line of ``make faults``; exit status 1 when anything was not right."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import django

from execution.tests.faults.database import own_database
from quantleap.embedded.state import PROJECT_ROOT

VAR = PROJECT_ROOT / "var" / "faults"


def main() -> int:
    """Play, print, write."""
    parser = argparse.ArgumentParser(prog="execution.tests.faults", description=__doc__)
    parser.add_argument("--scenario", default="", help="names, comma separated; all without it")
    parser.add_argument("--list", action="store_true", help="only say which there are")
    parser.add_argument("--together", type=int, default=6, help="how many at a time (6)")
    parser.add_argument("--accounts", type=int, help="of each dialect, for all scenarios")
    parser.add_argument("--limit", action="append", default=[], help="NAME=N of the simulator")
    parser.add_argument("--json", type=Path, default=VAR / "report.json")
    options = parser.parse_args()
    if options.list:
        return _list()
    with own_database(VAR / "servers"):
        # what these import needs Django set up
        from execution.tests.faults import catalogue, report
        from execution.tests.faults.ground import ground
        from execution.tests.faults.play import play

        try:
            scenarios = catalogue.chosen(options.scenario)
        except ValueError as error:
            parser.error(str(error))
        with ground(options.limit) as playground:
            rows = play(
                playground,
                scenarios,
                together=options.together,
                accounts=options.accounts,
                tell=_say,
            )
        report.write(rows, options.json)
        _say(report.table(rows))
        return 0 if all(row.verdict.is_right for row in rows) else 1


def _list() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "quantleap.settings.test")
    django.setup()
    from execution.tests.faults import catalogue

    for scenario in catalogue.EVERYTHING:
        _say(f"{scenario.name:8} {scenario.what}")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
