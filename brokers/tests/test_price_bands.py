"""Refusals that name the permitted prices, read into a band; and those that name none."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.base import BookState, Cause, PriceBand
from brokers.price_bands import band_of
from brokers.tests.dialects import Dialect, adapter_of, every_broker

D = Decimal
CIRCUIT = "RED:RULE:{Check circuit limit including square off order}Current:INR 2,400.00 "
#: Texts as brokers were seen to say them (brokers/price_bands.py has the sources); ids made up.
NAMED = [
    (
        "Your order price is lower than the current lower circuit limit of 70.65. "
        "Place an order within the daily range.",
        PriceBand(low=D("70.65")),
    ),
    (
        "Your order price is higher than the current upper circuit limit of 1,205. "
        "Place an order within the daily range.",
        PriceBand(high=D(1205)),
    ),
    (
        CIRCUIT + "LowerCircuit:INR\n1,590.05 UpperCircuit:INR 1,943.35:NSE.ACC-EQ for C-AB1234",
        PriceBand(D("1590.05"), D("1943.35")),
    ),
    (
        "RMS:Rule: Check circuit limit including square off order exceeds : Circuit breach, "
        "Order Price :1860.40,  Low Price Range:1682.20 High Price Range:1859.20",
        PriceBand(D("1682.20"), D("1859.20")),
    ),
    (
        "Order price is beyond the Limit Price Protection range. "
        "Place the order within 58.00 and 112.00.",
        PriceBand(D("58.00"), D("112.00")),
    ),
]
NOT_NAMED = [
    "17070 : The Price is out of the current LPP range",
    "17070 : The Price is out of the current execution range",
    "Price exceeds circuit limits for the instrument. Place an order within the daily range.",
    "Invalid Input : Price is out of circuit limit",
    "RMS:Rule: Check circuit limit including square off order exceeds  for entity account-AB1234",
]


@every_broker
@pytest.mark.parametrize(("text", "band"), NAMED, ids=lambda value: str(value)[:30])
def test_a_refused_exit_carries_the_named_band(
    dialect: Dialect, text: str, band: PriceBand
) -> None:
    """Bug: 1,728 attempts at prices that had been refused."""
    adapter = adapter_of(dialect)
    result = adapter.parse_place(dialect.refused(text))
    assert (result.cause, result.band) == (Cause.PRICE_BAND, band)
    field = "status_message" if dialect.kind == "zerodha" else "rejreason"
    for status in ("REJECTED", "CANCELED"):
        row = dialect.row("Q0123456789abA", status) | {field: text}
        (order,) = adapter.parse_order_book(dialect.book([row])).orders
        assert order.state in (BookState.REJECTED, BookState.CANCELLED)
        assert (order.cause, order.band) == (Cause.PRICE_BAND, band)


@every_broker
@pytest.mark.parametrize("text", NOT_NAMED)
def test_a_price_refusal_without_figures_is_no_band(dialect: Dialect, text: str) -> None:
    result = adapter_of(dialect).parse_place(dialect.refused(text))
    assert (result.cause, result.band) == (Cause.PRICE_BAND, None)


@every_broker
def test_figures_of_another_refusal_are_no_band(dialect: Dialect) -> None:
    """Control: only a refusal for the price is read for one."""
    text = "Insufficient funds. Required margin is between 10.00 and 20.00"
    result = adapter_of(dialect).parse_place(dialect.refused(text))
    assert (result.cause, result.band) == (Cause.MARGIN, None)
    row = dialect.row("Q0123456789abA", "CANCELED")
    (order,) = adapter_of(dialect).parse_order_book(dialect.book([row])).orders
    assert (order.cause, order.band) == (None, None)


@pytest.mark.parametrize(
    "text",
    [
        "lower circuit limit of 1234567890123",
        "lower circuit limit of 70.651234",
        "Low Price Range:120 High Price Range:100",
        "High Price Range:0.00",
        "within 112.00 and 58.00",
    ],
)
def test_figures_that_are_no_prices_are_no_band(text: str) -> None:
    assert band_of(text) is None


_pieces = st.sampled_from(
    [
        *("lower circuit limit of ", "High Price Range:", "UpperCircuit:INR ", "within ", " and "),
        *("LowerCircuit:", "between", "1,590.05", "70.65", "0", "-1", "1e9", "9" * 30, ",", "."),
    ]
)


@given(text=st.text(max_size=80) | st.lists(_pieces, max_size=10).map("".join))
def test_a_band_is_prices_in_order_or_nothing(text: str) -> None:
    band = band_of(text)
    if band is None:
        return
    assert band.low is not None or band.high is not None
    assert band.low is None or band.low >= 0
    assert band.high is None or band.high > 0
    if band.low is not None and band.high is not None:
        assert band.low <= band.high


@given(low=st.decimals(0, 10**6, places=2), width=st.decimals("0.01", 10**5, places=2))
def test_whatever_band_is_named_is_read(low: Decimal, width: Decimal) -> None:
    high = low + width
    text = f"{CIRCUIT}LowerCircuit:INR {low:,} UpperCircuit:INR {high:,}:NFO.X for C-AB1234"
    assert band_of(text) == PriceBand(low, high)
