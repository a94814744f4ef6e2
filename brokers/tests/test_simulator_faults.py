"""Which call a fault strikes, and what the control port refuses to arm."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.simulator.faults import FaultError, Faults
from brokers.tests.driven_simulator import TEN_O_CLOCK


def strike(faults: Faults, operation: str = "place", **call: str) -> str | None:
    known = {"broker": "zebu", "client_id": "Z1", "tag": "Q1", "symbol": "S", "side": "BUY"}
    fault = faults.strike(operation, TEN_O_CLOCK, **(known | call))
    return fault.id if fault else None


@given(count=st.integers(1, 5), calls=st.integers(0, 8))
def test_a_fault_strikes_the_first_n(count: int, calls: int) -> None:
    faults = Faults()
    fault = faults.arm({"kind": "refuse", "count": count})
    struck = [strike(faults, tag=f"Q{n}") for n in range(calls)]
    assert struck == [fault.id] * min(count, calls) + [None] * max(calls - count, 0)
    assert [hit["tag"] for hit in fault.hits] == [f"Q{n}" for n in range(min(count, calls))]


def test_without_a_count_it_strikes_for_ever() -> None:
    faults = Faults()
    fault = faults.arm({"kind": "rate_limit", "count": None})
    assert {strike(faults) for _ in range(50)} == {fault.id}


def test_one_clients_faults_end_and_the_others_stay() -> None:
    faults = Faults()
    for client_id in ("Z1", "Z2"):
        faults.arm({"kind": "refuse", "match": {"client_id": client_id}})
    faults.clear(["Z1"])
    assert [fault.match["client_id"] for fault in faults.all] == ["Z2"]
    assert (strike(faults), strike(faults, client_id="Z2")) == (None, "fault_2")
    faults.clear()
    assert strike(faults, client_id="Z2") is None


@pytest.mark.parametrize("key", ["broker", "client_id", "tag", "symbol", "side"])
def test_a_match_must_be_exact(key: str) -> None:
    faults = Faults()
    fault = faults.arm({"kind": "refuse", "match": {key: "wanted"}})
    assert strike(faults) is None
    assert strike(faults, **{key: "wanted"}) == fault.id


def test_a_call_takes_one_fault_the_oldest_first() -> None:
    faults = Faults()
    first = faults.arm({"kind": "delay", "seconds": 1, "count": 1})
    second = faults.arm({"kind": "html_502", "count": 1})
    assert [strike(faults), strike(faults), strike(faults)] == [first.id, second.id, None]


def test_a_fault_strikes_its_own_operation_only() -> None:
    faults = Faults()
    fault = faults.arm({"kind": "html_502", "op": "book"})
    assert strike(faults, "place") is None
    assert strike(faults, "book") == fault.id


@pytest.mark.parametrize(
    ("description", "named"),
    [
        ({}, "kind"),
        ({"kind": "earthquake"}, "kind"),
        ({"kind": "hide", "seconds": 1, "op": "book"}, "op"),
        ({"kind": "refuse", "op": "sing"}, "op"),
        ({"kind": "refuse", "match": {"colour": "red"}}, "match"),
        ({"kind": "refuse", "match": "all"}, "match"),
        ({"kind": "refuse", "count": 0}, "count"),
        ({"kind": "refuse", "count": "1"}, "count"),
        ({"kind": "hide"}, "seconds"),
        ({"kind": "lag", "op": "positions"}, "seconds"),
        ({"kind": "lag", "op": "book", "seconds": 1}, "op"),
        ({"kind": "delay", "seconds": -1}, "seconds"),
        ({"kind": "hide", "seconds": 1, "answer": "maybe"}, "answer"),
        ({"kind": "partial_fill", "fraction": 1}, "fraction"),
        ({"kind": "status_after_accept", "status": 9}, "status"),
        ({"kind": "reject", "cause": "MOOD"}, "cause"),
    ],
)
def test_what_cannot_be_armed(description: dict[str, Any], named: str) -> None:
    faults = Faults()
    with pytest.raises(FaultError, match=named):
        faults.arm(description)
    assert faults.all == []


def test_cleared_faults_are_gone() -> None:
    faults = Faults()
    faults.arm({"kind": "refuse"})
    faults.clear()
    assert strike(faults) is None
