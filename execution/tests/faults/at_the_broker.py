"""Scenarios a: what a broker does to orders and books."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from execution.tests.faults.judge import Right
from execution.tests.faults.stage import Scenario, Stage, Wait, nothing


def hidden_behind_504(stage: Stage) -> Iterator[Wait]:
    """One entry of everybody is accepted, answered with 504, and not in the book for 14 s."""
    stage.fault("hide", seconds=14, answer="status", count=1)
    yield 18


SCENARIOS: Final = (
    Scenario("a0", "nothing is wrong", nothing, Right(quiet=True)),
    Scenario(
        "a7",
        "504 after accepting, order hidden 14 s",
        hidden_behind_504,
        Right(doubles=True),
        hold=20,
    ),
)
