"""Brokers' texts and their causes: recorded texts, and every text of the simulator."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.base import Cause
from brokers.causes import cause_of, is_ambiguous
from brokers.simulator import messages
from brokers.simulator.rules import Reason


def _filled(text: str) -> str:
    """As it is said of the eleventh call of a second."""
    return text.replace("{received}", "11").replace("{window}", "second").replace("{limit}", "10")


_EVERY = [
    *((reason, text) for reason, (_, _, text) in messages.KITE_REFUSALS.items()),
    *((reason, text) for reason, pair in messages.KITE_REJECTIONS.items() for text in pair),
    *((reason, _filled(text)) for reason, (_, text) in messages.NOREN_REFUSALS.items()),
    *messages.NOREN_REJECTIONS.items(),
]
#: "Broker down" is carried by its HTTP status, or ambiguous (below).
SPOKEN = [(reason, text) for reason, text in _EVERY if reason is not Reason.BROKER_DOWN]


@pytest.mark.parametrize(("reason", "text"), SPOKEN, ids=lambda value: str(value)[:30])
def test_what_the_simulated_brokers_say_is_understood(reason: Reason, text: str) -> None:
    expected = {Cause[reason.cause]}
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
        "no database connection",
        "No Data received from OMS",
        'Error Occurred : 5 "no data"',
        'Error Occurred : 1 "unknown request"',
        "Exchange adapter is down",
        "RMS not reachable",
        "Something went wrong. Please try again later.",
    ],
)
def test_a_timeout_behind_the_door_is_ambiguous(text: str) -> None:
    assert is_ambiguous(text)


#: Refusals as brokers word them, with the cause a person would name. "RMS:" is the older order
#: system of Kite, Kotak and others, "RED:" Noren's; numbers and client ids are made up.
TAIL = "  for entity account-AB1234 across exchange across segment across product "
SAID: list[tuple[str, Cause]] = [
    # the first clause decides, not the boilerplate behind it
    (
        "RMS:Rule: Position limit including CNC exceeds ,Current:15, limit set:1" + TAIL,
        Cause.POSITION_LIMIT,
    ),
    ("RMS:Rule: Check Position limit exceeds" + TAIL, Cause.POSITION_LIMIT),
    ("RMS:MtoM Exceeds, Required:5000.00, Available:-12.50" + TAIL, Cause.RISK),
    (
        "RMS:Rule: Check T1 holdings including TT/BE/Z/T/TS ,No Holdings Present " + TAIL,
        Cause.RISK,
    ),
    ("RMS:Margin Exceeds,Required:95417.84, Available:74251.80" + TAIL, Cause.MARGIN),
    ("RMS:Rule: Check circuit limit including square off order exceeds" + TAIL, Cause.PRICE_BAND),
    ("RMS:Blocked for  nse_fo OPTIDX block type: ALL" + TAIL, Cause.RISK),
    ("RMS:Auto Square Off Block" + TAIL, Cause.RISK),
    ("RMS:A rule of tomorrow that nobody knows" + TAIL, Cause.RISK),
    ("Something new" + TAIL, Cause.OTHER),
    ("Insufficient funds. Check the product and the segment in your order book.", Cause.MARGIN),
    # Noren's risk engine names its rule in braces
    ("RED:RULE:{Check Peak Margin}Available:INR -99.00 Peak Margin:INR 5.00", Cause.MARGIN),
    ("RED:RULE:{Allow CAC credit but disallow collateral}Shortfall:INR 1.00", Cause.MARGIN),
    ("RED:Margin Shortfall:INR 65823.92 Available:INR 1.41 for C-AB1234 [RISK]", Cause.MARGIN),
    ("OEMS:RMS : Margin Exceeds : - Set Limit:[4] Total Required Margin:[5]", Cause.MARGIN),
    ("RED:RULE:{Check Holdings Including BTST}Eligible Sell:95 for C-AB1234", Cause.RISK),
    (
        "RED:RULE:{Check circuit limit including square off order}Current:INR 261.00 "
        "LowerCircuit:INR 261.65",
        Cause.PRICE_BAND,
    ),
    ("RED:RULE:{Option price check}Current:INR 5.00 Set:INR 2.00", Cause.PRICE_BAND),
    ("RED:RULE:{Check Freeze qty including square off order}Current:7800 Set:1801", Cause.FREEZE),
    ("RED:Block Type:NonSqoff Reason:Continuous Debit[ AB1234 ]", Cause.RISK),
    ("ONLY IOC ORDER ALLOWED IN RRM MODE", Cause.RISK),
    ("NON-COMPLIANT CLIENT CODE : AB1234", Cause.RISK),
    # a contract of its own, not a price
    (
        "Strike price is outside the allowed range. Try a strike closer to the spot price.",
        Cause.CONTRACT_RESTRICTED,
    ),
    ("Trading in this contract is restricted.", Cause.CONTRACT_RESTRICTED),
    ("Security is in ban period", Cause.CONTRACT_RESTRICTED),
    ("TRANSACTION NOT ALLOWED IN CURRENT INSTRUMENT STATE", Cause.CONTRACT_RESTRICTED),
    ("Order price is outside the permitted range", Cause.PRICE_BAND),
    ("The price is out of range", Cause.PRICE_BAND),
    # limits on size and value are no rate limits
    ("Order value exceeds limit set for the client", Cause.RISK),
    ("Buy exposure limit for options exceeded", Cause.RISK),
    ("Single order quantity exceeds limit", Cause.FREEZE),
    ("Quantity exceeds freeze quantity of the contract", Cause.FREEZE),
    ("Market wide position limit of the security is reached", Cause.POSITION_LIMIT),
    ("Order Recieved 11 in a current second exceeds Limit 10 for user", Cause.RATE_LIMIT),
    ("Throttle limit exceeded", Cause.RATE_LIMIT),
    ("Too many requests", Cause.RATE_LIMIT),
    ("Maximum allowed order requests exceeded.", Cause.DAILY_LIMIT),
    # the rest
    ("You need to add Rs. 138385.27 in your account to place this trade.", Cause.MARGIN),
    ("The segment NFO is not enabled for trading in this account.", Cause.SEGMENT),
    ("NSE_FO segment is inactive for this user", Cause.SEGMENT),
    ("Invalid `product`.", Cause.PRODUCT),
    ("Invalid Input : prd", Cause.PRODUCT),
    ("MIS product is blocked for this contract", Cause.PRODUCT),
    ("Invalid Input : Price is out of circuit limit", Cause.PRICE_BAND),
    ("17070 : The Price is out of the current execution range", Cause.PRICE_BAND),
    ("16419: This error code will be returned for invalid data in the packet.", Cause.INVALID),
    ("ORA:AMO is stopped", Cause.MARKET_CLOSED),
    ("Invalid AMO", Cause.INVALID),
    ("No IPs configured for this app. Add allowed IPs.", Cause.IP_NOT_REGISTERED),
    ("Session Expired :  Invalid Session Key", Cause.SESSION_EXPIRED),
    ("Invalid quantity. Enter a multiple of 65.", Cause.INVALID),
]


@pytest.mark.parametrize(("text", "cause"), SAID, ids=lambda value: str(value)[:40])
def test_what_brokers_were_seen_to_say_has_the_right_cause(text: str, cause: Cause) -> None:
    assert cause_of(text) is cause
    assert not is_ambiguous(text)


@given(st.sampled_from(SAID))
def test_boilerplate_behind_a_clause_changes_nothing(said: tuple[str, Cause]) -> None:
    text, cause = said
    assert cause_of(text + TAIL) is cause
    assert cause_of(text + " Please check product, segment and margin." + TAIL) in (
        cause,
        # where nothing was recognised, what follows is all there is
        *((Cause.MARGIN, Cause.OTHER) if cause is Cause.OTHER else ()),
    )


@given(st.text(max_size=200))
def test_any_text_has_a_cause(text: str) -> None:
    assert isinstance(cause_of(text), Cause)
