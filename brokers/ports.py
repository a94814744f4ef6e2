"""Ports through which brokers calls the rooms above it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final, Protocol

from quantleap.core.ports import Handlers, Port


@dataclass(frozen=True, slots=True)
class RemovalEffect:
    """The effect of removing an account on the trading day.

    ``next_entry_affected`` is false if the next entry was already committed: the row decides, not
    the clock, by I7 (no entry outside its window). ``deferred`` is true if open positions are being
    exited first (``EXIT_NOW``): :func:`brokers.services.accounts.finish_removal` then erases the
    credentials after the last exit.
    """

    next_entry_affected: bool = True
    deferred: bool = False


class AccountRemoval(Protocol):
    """Withdraws what would still trade on an account; runs in the removal's transaction.

    Raises :class:`brokers.errors.OpenPositions` (409) if the account holds open positions and
    ``exit_now`` is false.
    """

    def __call__(self, account_id: int, *, exit_now: bool, now: dt.datetime) -> RemovalEffect: ...


class AccountUnlink(Protocol):
    """Removes an account from everything that refers to it (allocations); same transaction."""

    def __call__(self, account_id: int, *, now: dt.datetime) -> None: ...


class QuotesReserved(Protocol):
    """Whether an entry is about to ask for its prices, so that others should not ask just now.

    Brokers limit how many quotes a second one account may request.
    """

    def __call__(self, now: dt.datetime) -> bool: ...


def _never(now: dt.datetime) -> bool:
    del now
    return False


class _NothingTrades:
    """Default without an execution room: nothing trades."""

    def __call__(self, account_id: int, *, exit_now: bool, now: dt.datetime) -> RemovalEffect:
        del account_id, exit_now, now
        return RemovalEffect()


ACCOUNT_REMOVAL: Final[Port[AccountRemoval]] = Port("brokers.account_removal", _NothingTrades())
ACCOUNT_UNLINK: Final[Handlers[AccountUnlink]] = Handlers("brokers.account_unlink")
QUOTES_RESERVED: Final[Port[QuotesReserved]] = Port("brokers.quotes_reserved", _never)
