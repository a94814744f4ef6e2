"""How fast the brokers may be asked, as they document it and as it was seen. Pure.

=======  ============================  =============================================================
broker   limit                         source
=======  ============================  =============================================================
Kite     1 quote call a second, 10     https://kite.trade/docs/connect/v3/exceptions/#api-rate-limit
         other reads, 10 order calls
Kite     25 changes of one order       https://kite.trade/forum/discussion/9212
Kite     400 order calls a minute,     https://kite.trade/forum, staff in comments 52882 and 51478:
         5,000 orders a day, and 10    placing, changing and cancelling count together
         seconds without any after
         too many
Noren    10 calls a second and 120 a   Flattrade's refusal, "Order Recieved 11 in a current second
         minute, all operations        exceeds Limit 10 for user", HTTP 400 (marketcalls/openalgo,
         together                      broker/tradesmart/api/rate_limiter.py)
=======  ============================  =============================================================
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from brokers.simulator.sessions import ZERODHA

SECOND: Final = "second"
MINUTE: Final = "minute"
DAY: Final = "day"
#: A little below the window: a client that paces by its own clock is not punished for jitter.
JITTER: Final = dt.timedelta(milliseconds=50)
SPANS: Final = {
    SECOND: dt.timedelta(seconds=1),
    MINUTE: dt.timedelta(minutes=1),
    DAY: dt.timedelta(days=1),
}

ORDERS: Final = "orders"
PLACED: Final = "placed"
QUOTES: Final = "quotes"
READS: Final = "reads"
EVERYTHING: Final = "everything"
#: The text of a fault that plays a breach.
PLAYED: Final = {"received": 11, "window": SECOND, "limit": 10}


@dataclass(frozen=True, slots=True)
class Limits:
    """Calls of one client and window; 0 switches a limit off."""

    kite_quotes_per_second: int = 1
    kite_reads_per_second: int = 10
    kite_orders_per_second: int = 10
    kite_orders_per_minute: int = 400
    kite_orders_per_day: int = 5000
    kite_penalty_seconds: int = 10
    kite_changes_per_order: int = 25
    noren_calls_per_second: int = 10
    noren_calls_per_minute: int = 120

    def changed(self, numbers: Mapping[str, object]) -> Limits:
        """A copy with other numbers. ValueError for an unknown name or an invalid number."""
        for name, number in numbers.items():
            if name not in self.as_dict():
                raise ValueError(f"limits: one of {', '.join(self.as_dict())}")
            if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                raise ValueError(f"{name}: a whole number, 0 for no limit")
        return dataclasses.replace(self, **numbers)  # type: ignore[arg-type]

    def as_dict(self) -> dict[str, int]:
        """By name."""
        return dataclasses.asdict(self)

    def of(self, broker: str, kind: str) -> tuple[tuple[str, str, int], ...]:
        """The limits that count a call of ``kind``: scope, window and limit of each. Noren counts
        every kind together."""
        if broker != ZERODHA:
            return (
                (EVERYTHING, SECOND, self.noren_calls_per_second),
                (EVERYTHING, MINUTE, self.noren_calls_per_minute),
            )
        if kind == QUOTES:
            return ((QUOTES, SECOND, self.kite_quotes_per_second),)
        if kind == READS:
            return ((READS, SECOND, self.kite_reads_per_second),)
        orders = (
            (ORDERS, SECOND, self.kite_orders_per_second),
            (ORDERS, MINUTE, self.kite_orders_per_minute),
        )
        return orders if kind == ORDERS else (*orders, (PLACED, DAY, self.kite_orders_per_day))


@dataclass(frozen=True, slots=True)
class Breach:
    """The limit that a call exceeded; ``received`` calls in this window, this one included."""

    window: str
    limit: int
    received: int


@dataclass(frozen=True, slots=True)
class Counted:
    """A call of a watched client: when it arrived, its kind (ORDERS: a change or a cancel), and
    whether it was refused for exceeding a limit."""

    at: dt.datetime
    kind: str
    refused: bool


class Gate:
    """Counts the calls of every client against the current limits."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        #: Every call of the watched clients, in order of arrival.
        self.watched: dict[tuple[str, str], list[Counted]] = {}
        self._stamps: dict[tuple[str, str, str, str], deque[dt.datetime]] = {}
        self._penalty: dict[tuple[str, str], dt.datetime] = {}
        self.refused: Counter[tuple[str, str]] = Counter()

    def admit(self, broker: str, client_id: str, kind: str, at: dt.datetime) -> Breach | None:
        """Count a call that arrived ``at``, or return the limit that it exceeds; then it does not
        count.

        Kite refuses every order call for some seconds after one too many.
        """
        breach = self._judge(broker, client_id, kind, at)
        if breach is not None:
            self.refused[broker, client_id] += 1
        calls = self.watched.get((broker, client_id))
        if calls is not None:
            calls.append(Counted(at, kind, breach is not None))
        return breach

    def watch(self, broker: str, client_id: str) -> list[Counted]:
        """Record every call of this client from now on; returns what was recorded so far."""
        return self.watched.setdefault((broker, client_id), [])

    def _judge(self, broker: str, client_id: str, kind: str, at: dt.datetime) -> Breach | None:
        orders = broker == ZERODHA and kind in (ORDERS, PLACED)
        until = self._penalty.get((broker, client_id))
        if orders and until is not None and at < until:
            return Breach(SECOND, self.limits.kite_orders_per_second, 0)
        counted = [
            (self._recent(broker, client_id, scope, window, at), window, limit)
            for scope, window, limit in self.limits.of(broker, kind)
            if limit
        ]
        for stamps, window, limit in counted:
            if len(stamps) >= limit:
                if orders and window != DAY:
                    penalty = dt.timedelta(seconds=self.limits.kite_penalty_seconds)
                    self._penalty[(broker, client_id)] = at + penalty
                return Breach(window, limit, len(stamps) + 1)
        for stamps, _, _ in counted:
            stamps.append(at)
        return None

    def _recent(
        self, broker: str, client_id: str, scope: str, window: str, at: dt.datetime
    ) -> deque[dt.datetime]:
        stamps = self._stamps.setdefault((broker, client_id, scope, window), deque())
        span = SPANS[window] - JITTER
        while stamps and at - stamps[0] >= span:
            stamps.popleft()
        return stamps

    def clear(self) -> None:
        """Reset the counters; limits and watched clients stay."""
        for calls in self.watched.values():
            calls.clear()
        self._stamps.clear()
        self._penalty.clear()
        self.refused.clear()
