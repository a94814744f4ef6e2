"""Checks of two partners' runs in one real account, on the broker's own book. Pure.

The book names the application that placed an order: that, and not our stored data, assigns it to
the first or the second partner.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any, Final

from clients.demo.day import Day
from clients.demo.evidence import BookOrder
from clients.demo.pace import MOST, busiest, crowd
from clients.demo.twice import ACCOUNTS, CLIENTS, HALVES, Half, exit_at

Problems = Iterator[str]
Account = tuple[str, str]  # broker, client

#: So many processes must have had accounts, or the check proves nothing about two.
EXECUTORS: Final = 2


def two_partners_one_account(day: Day) -> Problems:
    """Opposite runs of two partners in one account: each exits its own units, both at one pace."""
    for account in ACCOUNTS:
        yield from _too_fast(day, account)
        yield from _strangers(day, account)
    for half in HALVES:
        yield from _apart(day, half)
    yield from _not_flat(day)
    busy = sum(bool(shards) for shards in day.evidence.twice.executors.values())
    if busy < EXECUTORS:
        yield f"{busy} executors had accounts, not {EXECUTORS}"


# -- the pace --------------------------------------------------------------------------------------
def _calls(day: Day, account: Account) -> list[dt.datetime]:
    """Times of all calls to place, change or cancel, including refused ones."""
    return [call.at for call in day.evidence.twice.calls.get(account, ()) if call.is_of_an_order]


def _too_fast(day: Day, account: Account) -> Problems:
    calls, orders = _calls(day, account), len(_orders(day, account))
    if len(calls) < max(1, orders):
        yield f"{account[1]}: {len(calls)} calls were counted for {orders} orders"
    excess = crowd(calls)
    if excess is not None:
        yield (
            f"{account[1]}: {excess.calls} calls in {excess.seconds:.2f} s; {MOST} a second may be"
        )


# -- units by partner
# -------------------------------------------------------------------------------
def _orders(day: Day, account: Account) -> list[BookOrder]:
    """All orders of an account, in order of arrival."""
    orders = [row for row in day.evidence.book if (row.broker, row.client_id) == account]
    return sorted(orders, key=lambda row: row.received_at)


def _of_half(day: Day, half: Half) -> list[BookOrder]:
    customer = half.customer
    rows = _orders(day, (customer.broker, customer.client_id))
    return [row for row in rows if row.app == customer.api_key]


def _strangers(day: Day, account: Account) -> Problems:
    apps = {half.customer.api_key for half in HALVES}
    for row in _orders(day, account):
        if row.app not in apps:
            yield f"{account[1]}: {row.tag} was placed by the app {row.app!r}"


def _apart(day: Day, half: Half) -> Problems:
    """It entered its quantity and exited exactly that; in between its position did not change."""
    customer, leg = half.customer, half.leg
    units = customer.lots(leg) * day.evidence.lot_size
    rows = _of_half(day, half)
    wrong = {row.symbol for row in rows} - {day.symbol(customer, leg)}
    if wrong:
        yield f"{half.name}: traded {', '.join(sorted(wrong))}"
    came = sum(row.filled for row in rows if row.side == leg.side)
    if came != units:
        yield f"{half.name}: entered {came} of {units} units"
    exits = [row for row in rows if row.side != leg.side]
    went = sum(row.filled for row in exits)
    if went != came:
        yield f"{half.name}: exits of {went} units for {came} that were entered"
    yield from _timeline(half, rows, units)
    yield from _too_early_or_late(half, exits, exit_at(day.story))


def _timeline(half: Half, rows: Sequence[BookOrder], units: int) -> Problems:
    held = 0
    for row in rows:
        held += row.filled if row.side == half.leg.side else -row.filled
        if not 0 <= held <= units:
            done = "reversed" if held < 0 else "grown"
            yield f"{half.name}: {done} by {row.tag}, to {held} of {units} units"
            return


def _too_early_or_late(half: Half, exits: Sequence[BookOrder], leaves: dt.datetime) -> Problems:
    early = [row for row in exits if row.received_at < leaves]
    late = len(exits) - len(early)
    if half.is_stopped and late:
        yield f"{half.name}: {late} exits at its exit time, and not by its stop"
    if not half.is_stopped and early:
        first = early[0]
        yield f"{half.name}: {first.tag} closed of it at {first.received_at:%H:%M:%S}, too early"


def _not_flat(day: Day) -> Problems:
    for (broker, client_id, symbol), quantity in day.evidence.net_positions.items():
        if quantity and client_id in CLIENTS:
            yield f"{client_id}: {quantity} {symbol} left at {broker}"


# -- figures ---------------------------------------------------------------------------------------
def twice_figures(day: Day) -> dict[str, Any]:
    """The figures of the report. The busiest second by account, without an allowance for jitter."""
    return {
        "executors": sum(bool(shards) for shards in day.evidence.twice.executors.values()),
        "busiest_second": {account[1]: busiest(_calls(day, account)) for account in ACCOUNTS},
    }
