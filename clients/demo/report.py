"""The scorecard: ``report.json`` for machines, a table for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from clients.demo.checks import Verdict

ORDER: Final = (
    *("expected", "planned", "sent", "at_broker", "filled", "failed_by_cause", "duplicates"),
    *("lost", "unknown", "missed", "early", "lateness_ms", "exits", "net_position_after"),
    *("executors", "busiest_second"),
)
MONEY: Final = (
    *("invoices_expected", "invoices", "invoices_of_second_run", "invoice_total"),
    *("receivable_total", "ledger_sum", "payments", "paid_total", "commission_expected"),
    "commission_total",
)
TOLD: Final = ("webhooks_expected", "webhooks_delivered")
SHOWN_PROBLEMS: Final = 5


def as_json(verdict: Verdict, seconds: float) -> dict[str, Any]:
    """The report: figures, checks, problems by check (at most five each), seconds."""
    problems = {name: texts[:SHOWN_PROBLEMS] for name, texts in verdict.problems.items() if texts}
    return {
        **verdict.figures,
        "checks": verdict.checks,
        "problems": problems,
        "seconds": round(seconds, 1),
    }


def write(path: Path, report: dict[str, Any]) -> None:
    """Write ``report.json``."""
    path.write_text(json.dumps(report, indent=2, default=str) + "\n")


def lines(report: dict[str, Any]) -> Iterator[str]:
    """The scorecard as text."""
    yield ""
    yield "  Scorecard"
    yield "  " + "-" * 66
    for block in (ORDER, MONEY, TOLD):
        for name in block:
            yield f"  {name.replace('_', ' '):<24} {_words(report[name])}"
        yield ""
    for row in report["unready"]:
        notice = "webhook sent" if row["webhook"] else "NOT TOLD"
        yield f"  unready  {row['customer']:<26} {row['strategy']:<9} {row['cause']:<16} {notice}"
    yield ""
    for name, holds in report["checks"].items():
        yield f"  {'PASS' if holds else 'FAIL'}  {name.replace('_', ' ')}"
        yield from (f"          {line}" for line in report["problems"].get(name, ()))
    yield "  " + "-" * 66
    held = sum(report["checks"].values())
    yield f"  {held} of {len(report['checks'])} checks hold; {report['seconds']:.0f} s"


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number}" for name, number in value.items()) or "none"
    return str(value)
