"""Two days and the night between them, played for real: what CI sees of ``make week``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from clients.demo.installation import ROOT


@pytest.mark.process
def test_one_executor_lives_through_two_days_and_a_night(tmp_path: Path) -> None:
    """Seen: on day 2 of a week 20 of 20 FAILED SESSION_EXPIRED, though all had logged in."""
    done = subprocess.run(
        (sys.executable, "-m", "clients.week.run", "--short", "--base-dir", str(tmp_path)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    days = json.loads((tmp_path / "report.json").read_text())["days"]
    assert [day["date"] for day in days] == ["2026-09-10", "2026-09-11"]
    assert all(all(day["checks"].values()) for day in days)
    assert days[0]["executors"] == days[1]["executors"]
    assert days[1]["by_hand"] == 1
