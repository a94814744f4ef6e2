"""What a control passes on, and how the scorecards of two runs become one."""

from __future__ import annotations

from pathlib import Path

import pytest

from clients.demo.checks import CHECKS
from clients.demo.controls import CONTROLS, Outcome, main, row
from clients.demo.run import worst_lateness

LOG = Path("story.log")


def test_every_control_names_a_check() -> None:
    names = {check.__name__ for check in CHECKS}
    assert {check for check in CONTROLS.values() if check} <= names
    assert CONTROLS["none"] == ""


@pytest.mark.parametrize(
    ("fault", "failed", "passed"),
    [
        ("none", (), True),
        ("none", ("in_time",), False),
        ("none", None, False),
        ("skip_exit", ("flat_after_exit",), True),
        ("skip_exit", (), False),
        ("skip_exit", ("all_final", "flat_after_exit"), False),
        ("skip_exit", None, False),
    ],
)
def test_exactly_its_check(fault: str, failed: tuple[str, ...] | None, passed: bool) -> None:
    outcome = Outcome(fault, failed, 12.0, LOG)
    assert outcome.passed is passed
    assert row(outcome).endswith("ok" if passed else "FAIL")


def test_an_unknown_control_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["sleep"])
    assert "unknown: sleep" in capsys.readouterr().err


def test_the_later_run_counts() -> None:
    early = {"first": 0.2, "p50": 1.0, "p99": 9.0, "max": 12.0}
    late = {"first": 0.4, "p50": 3.0, "p99": 7.0, "max": 8.0}
    silent = dict.fromkeys(early)
    runs = [{"lateness_ms": figures} for figures in (early, late, silent)]
    assert worst_lateness(runs) == {"first": 0.2, "p50": 3.0, "p99": 9.0, "max": 12.0}
    assert worst_lateness([]) == dict.fromkeys(early)
