"""The scorecards of a day from a shell."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from brokers.tests.factories import make_contract
from execution.tests.rows import enter, make_execution, make_run
from marketplace.tests.factories import TEST_DAY, make_short_straddle
from subscriptions.tests.factories import make_subscription

pytestmark = pytest.mark.django_db


def report(*arguments: str) -> str:
    out = io.StringIO()
    call_command("run_report", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def _day() -> None:
    """One run: one subscriber filled after 12 and 15 ms, one refused for margin."""
    template = make_short_straddle()
    run = make_run(template)
    contracts = [make_contract(strike=25_000, option_type=kind) for kind in ("CE", "PE")]
    filled = make_execution(run, make_subscription(template))
    enter(filled, contracts)
    refused = make_execution(run, make_subscription(template), "FAILED", cause="MARGIN")
    enter(refused, contracts, "REJECTED", late_ms=20, cause="MARGIN")


def figures(day: str) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = json.loads(report("--json", "--date", day))["runs"]
    return runs


@pytest.mark.usefixtures("_day")
def test_figures_for_machines() -> None:
    (run,) = figures(TEST_DAY.isoformat())
    assert (run["planned"], run["sent"]) == (4, 4)
    assert run["orders"] == {"FILLED": 2, "REJECTED": 2}
    assert run["causes"] == {"MARGIN": 2}
    assert run["executions"] == {"OPEN": 1, "FAILED": 1}
    assert run["lateness_ms"]["count"] == 4
    assert (run["lateness_ms"]["first"], run["lateness_ms"]["max"]) == (12.0, 23.0)


@pytest.mark.usefixtures("_day")
def test_figures_for_people() -> None:
    text = report("--date", TEST_DAY.isoformat())
    assert "planned      4, sent 4" in text
    assert "MARGIN 2" in text


def test_a_day_without_runs() -> None:
    assert figures("2026-09-09") == []
    assert report("--date", "2026-09-09") == "no runs on 2026-09-09\n"


def test_what_is_not_a_date_is_refused() -> None:
    with pytest.raises(CommandError, match="--date"):
        report("--date", "tomorrow")
