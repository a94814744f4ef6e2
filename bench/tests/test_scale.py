"""What is measured: from the last bought fill of an account to its own sold legs."""

from __future__ import annotations

from typing import Any

from bench.scale import waits


def row(account: str, side: str, at: float, filled_at: float) -> dict[str, Any]:
    return {"account": account, "side": side, "at": at, "filled_at": filled_at}


def test_a_sold_leg_waits_for_its_own_accounts_last_bought_fill() -> None:
    measured = waits(
        [
            row("one", "BUY", 10.0, 10.15),
            row("one", "BUY", 10.0, 10.25),
            row("one", "SELL", 10.3, 10.45),
            row("two", "BUY", 10.0, 10.1),
            row("two", "SELL", 10.4, 10.5),
        ]
    )
    assert (measured.count, measured.early) == (2, 0)
    assert (round(measured.first), round(measured.last)) == (50, 300)


def test_one_that_left_before_it_is_early() -> None:
    measured = waits([row("one", "BUY", 10.0, 10.15), row("one", "SELL", 10.1, 10.2)])
    assert measured.early == 1
