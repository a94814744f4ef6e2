"""Brokers' words and what they mean: recorded texts, and every text that the simulator speaks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.base import Cause
from brokers.causes import cause_of, is_ambiguous
from brokers.simulator import messages
from brokers.simulator.rules import Reason

_EVERY = [
    *((reason, text) for reason, (_, _, text) in messages.KITE_REFUSALS.items()),
    *((reason, text) for reason, pair in messages.KITE_REJECTIONS.items() for text in pair),
    *((reason, text) for reason, (_, text) in messages.NOREN_REFUSALS.items()),
    *messages.NOREN_REJECTIONS.items(),
]
#: "Broker down" is carried by its HTTP status, or ambiguous (below).
SPOKEN = [(reason, text) for reason, text in _EVERY if reason is not Reason.BROKER_DOWN]
#: Refusals of ours that brokers do not word apart from any other invalid input.
GENERIC = {Reason.SYMBOL, Reason.LOT, Reason.TICK, Reason.UNPROTECTED}


@pytest.mark.parametrize(("reason", "text"), SPOKEN, ids=lambda value: str(value)[:30])
def test_what_the_simulated_brokers_say_is_understood(reason: Reason, text: str) -> None:
    expected = {Cause.INVALID} if reason in GENERIC else {Cause[reason.name]}
    if reason is Reason.PRODUCT:
        expected.add(Cause.INVALID)  # "Invalid `product`." is both
    assert cause_of(text) in expected


@pytest.mark.parametrize(
    "text",
    [
        "Insufficient funds. Required margin is 95417.84 but available margin is 74251.80. "
        "Check the orderbook for open orders.",
        "RMS:Margin Exceeds,Required:95417.84, Available:74251.80 for entity account-AB1234",
        "Markets are closed right now. Use GTT for placing long standing orders",
        "No IPs configured for this app.",
    ],
)
def test_a_plain_refusal_is_not_ambiguous(text: str) -> None:
    assert not is_ambiguous(text)


@pytest.mark.parametrize(
    "text",
    [
        "Server Timeout :",
        "Request timed out",
        "The OMS took too long to respond",
        "Couldn't connect to the OMS",
        "Connection reset by peer",
        "Gateway Time-out",
    ],
)
def test_a_timeout_behind_the_door_is_ambiguous(text: str) -> None:
    assert is_ambiguous(text)


@given(st.text(max_size=200))
def test_any_text_has_a_cause(text: str) -> None:
    assert isinstance(cause_of(text), Cause)
