"""Two executors whose clocks differ: nobody is missed, and no lease is taken early."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from execution.clock_offset import in_words
from execution.tests.killing.rounds import KillInstallation

#: Python runs it in every process that finds it, before anything else: the whole process's wall.
WRONG_CLOCK = """
import os, time
_true, _wrong = time.time, float(os.environ["WRONG_CLOCK"])
time.time = lambda: _true() + _wrong
"""
PATIENCE = 120.0


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Poll, bounded."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def set_clock(installation: KillInstallation, folder: Path, wrong: float) -> None:
    """The second worker's clock and its executor's, from its next start on."""
    parts = installation.supervisor._parts
    parts["executor2"] = dataclasses.replace(
        parts["executor2"], environment={"PYTHONPATH": str(folder), "WRONG_CLOCK": str(wrong)}
    )


def is_named(installation: KillInstallation, wrong: float) -> bool:
    """Whether some executor's clock is known to be that far off (seconds)."""
    offsets = installation.ask("clocks")["offsets"].values()
    return any(abs(offset - wrong * 1000) < 250 for offset in offsets)


def is_over(installation: KillInstallation, template: int) -> bool:
    """Whether a template's run has ended, in whatever way."""
    return installation.ask("state", template=template)["status"] in ("CLOSED", "MISSED")


@pytest.mark.process
def test_executors_whose_clocks_differed_missed_everybody(tmp_path: Path) -> None:
    """Seen: 3 and 9 s apart half of the customers were MISSED (NO_QUOTE), 12 s apart all of them,
    and the one with the fast clock took the other's leases."""
    (tmp_path / "sitecustomize.py").write_text(WRONG_CLOCK)
    installation = KillInstallation(tmp_path / "clocks")
    set_clock(installation, tmp_path, 3.0)
    with installation:
        for wrong in (3.0, 9.0, 12.0):
            if wrong != 3.0:
                installation.supervisor.stop_process("executor2")
                set_clock(installation, tmp_path, wrong)
                installation.supervisor.start_process("executor2")

            wait_until(
                partial(is_named, installation, wrong), f"a clock {wrong} s ahead is measured"
            )
            template = installation.ask("round", lead=8.0, hold=6.0)["template"]
            wait_until(partial(is_over, installation, template), "the run is over")
            state = installation.ask("state", template=template)
            assert state["executions"] == {"CLOSED": installation.subscribers}, (wrong, state)
            clocks = installation.ask("clocks")
            right = [pid for pid, offset in clocks["offsets"].items() if abs(offset) < 250]
            assert set(clocks["owners"]) == set(right), (wrong, clocks)
        assert not installation.positions()


@pytest.mark.parametrize(
    ("offset", "words"),
    [
        (3200, "3.2 s ahead of the database's"),
        (-300, "300 ms behind the database's"),
    ],
)
def test_an_offset_is_said_in_words(offset: int, words: str) -> None:
    assert in_words(offset) == words
