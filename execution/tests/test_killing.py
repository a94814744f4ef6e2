"""Processes die by ``kill -9`` while orders leave; the broker's book stays clean.

``make kill-rounds`` plays twenty rounds; here a few, and a control that shows the judgement can
fail: with I2 (written before it is sent) switched off, a killed executor leaves orders at the
broker that nobody knows.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from execution.tests.killing.rounds import KillInstallation, play

pytestmark = pytest.mark.process
ROUNDS = int(os.environ.get("QUANTLEAP_KILL_ROUNDS", "2"))


def test_kill_rounds_are_clean(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**6)
    with KillInstallation(tmp_path / "kill") as installation:
        verdict = play(installation, ROUNDS, seed)
    assert verdict.problems == []


def test_without_the_commit_before_sending_the_judgement_fails(tmp_path: Path) -> None:
    with KillInstallation(tmp_path / "kill", fault="skip_commit") as installation:
        verdict = play(
            installation,
            1,
            seed=1,
            victims=("executors",),
            moment=0,
            after_first_order=True,
            patience=3,
        )
    assert any("without an intent" in problem for problem in verdict.problems)
