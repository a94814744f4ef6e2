"""What the flood benchmark promises is broken by a slow, a refused and an admitted call."""

from __future__ import annotations

import pytest

from bench.flood import Call, judge


def calls(ms: float = 10.0, good: int = 200, wrong: int = 401, cold: int = 200) -> list[Call]:
    """A hundred calls of each kind."""
    kinds = (("good", good), ("wrong", wrong), ("cold", cold))
    return [Call(kind, status, ms) for kind, status in kinds for _ in range(100)]


def broken(alone: list[Call], flooded: list[Call]) -> list[str]:
    return [target.name for target in judge(alone, flooded) if not target.holds]


def test_twice_as_slow_is_allowed_and_more_is_not() -> None:
    assert broken(calls(), calls(20.0)) == []
    assert broken(calls(), calls(20.1)) == [
        "good call beside the flood, p99",
        "first call of a key beside the flood, worst",
    ]


def test_a_first_call_that_waits_is_found() -> None:
    assert broken(calls(), [*calls(), Call("cold", 200, 2200.0)]) == [
        "first call of a key beside the flood, worst"
    ]


@pytest.mark.parametrize(
    ("flooded", "name"),
    [
        ([*calls(), Call("good", 401, 1.0)], "good calls refused"),
        ([*calls(), Call("cold", 401, 1.0)], "good calls refused"),
        ([*calls(), Call("good", 0, 1.0)], "good calls refused"),
        ([*calls(), Call("wrong", 200, 1.0)], "wrong secrets not refused"),
    ],
    ids=["good", "cold", "no-answer", "admitted"],
)
def test_one_wrong_status_in_hundreds_is_found(flooded: list[Call], name: str) -> None:
    assert broken(calls(), flooded) == [name]
