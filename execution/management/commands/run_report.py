"""``manage.py run_report --date YYYY-MM-DD [--json]``: the scorecards of a day's runs."""

from __future__ import annotations

import datetime as dt
import json
from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from execution.models import Run
from execution.selectors import Lateness, runs_of_day, scorecard
from quantleap.core import clock


def report(run: Run) -> dict[str, Any]:
    """The figures of one run; lateness in milliseconds after the entry second."""
    card = scorecard(run.pk)
    return {
        "run": run.public_id,
        "template_id": run.template.public_id,
        "template": run.template.name,
        "trade_date": run.trade_date.isoformat(),
        "entry_at": run.entry_at.isoformat(),
        "exit_at": run.exit_at.isoformat(),
        "status": run.status,
        "cause": run.cause,
        "executions": dict(card.executions),
        "orders": dict(card.orders),
        "planned": card.planned,
        "sent": card.sent,
        "causes": dict(card.causes),
        "lateness_ms": _lateness(card.first_byte),
        "answered_ms": _lateness(card.answered),
        "slippage": None if card.slippage is None else float(card.slippage),
        "realised_pnl": None if card.realised_pnl is None else float(card.realised_pnl),
    }


def _lateness(figures: Lateness) -> dict[str, float | int | None]:
    named = {
        "first": figures.first,
        "p50": figures.p50,
        "p95": figures.p95,
        "p99": figures.p99,
        "max": figures.maximum,
    }
    numbers = {name: None if value is None else float(value) for name, value in named.items()}
    return {"count": figures.count, **numbers}


class Command(BaseCommand):
    """Print scorecards; read-only."""

    help = "Scorecards of the runs of one trade date: planned, sent, filled, causes, lateness."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the day (default: today in Asia/Kolkata) and the output format."""
        parser.add_argument("--date", help="YYYY-MM-DD, default today (IST)")
        parser.add_argument("--json", action="store_true", help="machine-readable")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the scorecards, earliest entry first."""
        try:
            day = dt.date.fromisoformat(options["date"] or clock.ist_date(clock.now()).isoformat())
        except ValueError as error:
            raise CommandError(f"--date: {error}") from error
        runs = [report(run) for run in runs_of_day(day)]
        if options["json"]:
            self.stdout.write(json.dumps({"date": day.isoformat(), "runs": runs}, indent=2))
            return
        for run in runs:
            self._print(run)
        if not runs:
            self.stdout.write(f"no runs on {day}")

    def _print(self, run: Mapping[str, Any]) -> None:
        self.stdout.write(f"{run['template']} ({run['run']}): {run['status']} {run['cause']}")
        for name in ("executions", "orders", "causes", "lateness_ms"):
            words = ", ".join(f"{key} {value}" for key, value in run[name].items())
            self.stdout.write(f"  {name.replace('_', ' '):<12} {words or '-'}")
        self.stdout.write(f"  {'planned':<12} {run['planned']}, sent {run['sent']}")
