"""An executor that is frozen among its orders, and thaws beside its successor.

`make freeze-rounds` plays fifty random rounds, ten exact and two late ones; here two exact ones,
one before an entry's byte and one before an exit's, one that thaws when its run is over, and
QUANTLEAP_FREEZE_ROUNDS random ones.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from execution.tests.freezing.rounds import FreezeInstallation, play

pytestmark = pytest.mark.process
ROUNDS = int(os.environ.get("QUANTLEAP_FREEZE_ROUNDS", "0"))


def test_a_frozen_executor_thawed_and_sent_beside_its_successor(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**6)
    with FreezeInstallation(tmp_path / "freeze") as installation:
        verdict = play(installation, ROUNDS, 2, seed, late=1)
    assert verdict.problems == [], verdict.figures
    # The control: what was frozen before its byte did leave when it thawed, and was judged.
    assert verdict.figures["duplicates"] >= 2
    assert verdict.figures["open_because_late"] == 1
