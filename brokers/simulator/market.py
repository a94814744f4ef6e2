"""A synthetic market that is a pure function of seed and time, plus requested moves.

Spot is value noise (seeded, several time scales) around a base level; premiums are Black (1976) on
the forward with a mild smile; bid and ask are rounded to the tick away from the middle. Nothing is
stepped, so any time can be queried in any order.

Rupees are floats inside the formulas and ``Decimal`` on a tick at every edge.
"""

from __future__ import annotations

import datetime as dt
import math
import zlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from brokers.simulator.contracts import UNDERLYINGS, Contract
from brokers.simulator.facts import Facts, Hours
from quantleap.core.clock import IST

TICK_SECONDS: Final = 0.2
RATE: Final = 0.06
YEAR_SECONDS: Final = 365.0 * 86400.0
SMILE: Final = 4.0
# value noise: period in seconds -> share of the spot at noise factor 1 (a calm day)
NOISE_SCALES: Final = ((7200.0, 0.0012), (1200.0, 0.0004), (180.0, 0.00012), (20.0, 0.00003))


@dataclass(frozen=True, slots=True)
class Quote:
    """Prices of one instrument in rupees at one market tick; ``theoretical`` is unrounded."""

    last: Decimal
    bid: Decimal
    ask: Decimal
    theoretical: float


@dataclass(frozen=True, slots=True)
class Ohlc:
    """Day's open, high, low and the previous close in rupees."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal


@dataclass(frozen=True, slots=True)
class _Displacement:
    """Offset of the spot in rupees, sliding linearly from ``start`` to ``end`` (unix seconds)."""

    start: float
    end: float
    before: float
    after: float

    def at(self, t: float) -> float:
        if t >= self.end:
            return self.after
        if t <= self.start:
            return self.before
        return self.before + (self.after - self.before) * (t - self.start) / (self.end - self.start)


def black(forward: float, strike: float, years: float, iv: float, kind: str) -> float:
    """Undiscounted Black (1976) price in rupees; intrinsic value at or after expiry."""
    sign = 1.0 if kind == "CE" else -1.0
    deviation = iv * math.sqrt(years) if years > 0 else 0.0
    if deviation <= 0:
        return max(sign * (forward - strike), 0.0)
    d1 = math.log(forward / strike) / deviation + deviation / 2
    d2 = d1 - deviation
    return max(sign * (forward * _cdf(sign * d1) - strike * _cdf(sign * d2)), 0.0)


def _cdf(x: float) -> float:
    return 0.5 * (1.0 + math.erf(x / math.sqrt(2.0)))


def tick_down(value: float, tick: Decimal) -> Decimal:
    """Largest multiple of ``tick`` not above ``value`` (rupees)."""
    return tick * math.floor(value / float(tick) + 1e-9)


def tick_up(value: float, tick: Decimal) -> Decimal:
    """Smallest multiple of ``tick`` not below ``value`` (rupees)."""
    return tick * math.ceil(value / float(tick) - 1e-9)


class Market:
    """Spot and premiums for a seed. ``at`` arguments are aware datetimes or unix seconds."""

    def __init__(self, seed: int = 1, facts: Facts | None = None) -> None:
        self.seed = seed
        self.facts = facts or Facts()
        self.noise = 1.0
        self.iv = {name: u.iv for name, u in UNDERLYINGS.items()}
        self._displacement = dict.fromkeys(UNDERLYINGS, _Displacement(0.0, 0.0, 0.0, 0.0))
        self._cache: dict[int, Quote] = {}
        self._cache_tick = -1.0
        self._closes: dict[dt.date, float] = {}

    # -- time ------------------------------------------------------------------------------------
    def is_open(self, now: dt.datetime) -> bool:
        """Whether a session of the F&O segment, ordinary or special, runs at ``now``."""
        wall = now.astimezone(IST)
        session = self.facts.session(wall.date())
        return session is not None and session.opens <= wall.time() < session.closes

    def market_time(self, now: dt.datetime) -> float:
        """Unix seconds of the last market tick at ``now``: prices do not move out of session."""
        wall = now.astimezone(IST)
        if self.is_open(now):
            return math.floor(now.timestamp() / TICK_SECONDS + 1e-6) * TICK_SECONDS
        day = wall.date()
        session = self.facts.session(day)
        if session is not None and wall.time() >= session.closes:
            return dt.datetime.combine(day, session.closes, IST).timestamp()
        return self._close(self.facts.last_trading_day(day))

    # -- prices ----------------------------------------------------------------------------------
    def spot(self, underlying: str, t: float) -> float:
        """Index level in rupees at unix second ``t``."""
        return self._path(underlying, t) + self._displacement[underlying].at(t)

    def forward(self, underlying: str, expiry: dt.date, t: float) -> float:
        """Fair future in rupees for ``expiry`` at unix second ``t``."""
        return self.spot(underlying, t) * math.exp(RATE * self._years(expiry, t))

    def quote(self, contract: Contract, t: float) -> Quote:
        """Bid, ask and last of a contract at unix second ``t`` (cached for the newest tick)."""
        if t != self._cache_tick:
            self._cache.clear()
            self._cache_tick = t
        quote = self._cache.get(contract.token)
        if quote is None:
            quote = self._cache[contract.token] = self._quote(contract, t)
        return quote

    def ohlc(self, contract: Contract, t: float) -> Ohlc:
        """The day so far, from samples of the path (open, now, and points between)."""
        wall = dt.datetime.fromtimestamp(t, IST)
        session = self.facts.session(wall.date()) or Hours()
        start = dt.datetime.combine(wall.date(), session.opens, IST).timestamp()
        points = [start + (t - start) * k / 8 for k in range(9)]
        prices = [self._quote(contract, p).last for p in points]
        close = self._close(self.facts.last_trading_day(wall.date()))
        return Ohlc(prices[0], max(prices), min(prices), self._quote(contract, close).last)

    def previous_close(self, contract: Contract, t: float) -> tuple[Decimal, float]:
        """Price in rupees at the last close before the day of ``t``, and its unix second."""
        closed = self._close(self.facts.last_trading_day(dt.datetime.fromtimestamp(t, IST).date()))
        return self._quote(contract, closed).last, closed

    def _quote(self, contract: Contract, t: float) -> Quote:
        tick = contract.tick
        fair = self._fair(contract, t)
        half_spread = max(float(tick) / 2, fair * (0.0001 if contract.kind == "FUT" else 0.0015))
        bid = max(tick_down(fair - half_spread, tick), tick)
        ask = max(tick_up(fair + half_spread, tick), bid + tick)
        last = min(max(tick * round(fair / float(tick)), bid), ask)
        return Quote(last=last, bid=bid, ask=ask, theoretical=fair)

    def _fair(self, contract: Contract, t: float) -> float:
        forward = self.forward(contract.underlying, contract.expiry, t)
        if contract.kind == "FUT":
            return forward
        years = self._years(contract.expiry, t)
        moneyness = math.log(contract.strike / forward)
        base = self.iv[contract.underlying]
        iv = min(base + SMILE * base * moneyness * moneyness, 2 * base)
        return math.exp(-RATE * years) * black(forward, contract.strike, years, iv, contract.kind)

    def _years(self, expiry: dt.date, t: float) -> float:
        return max(self._close(expiry) - t, 0.0) / YEAR_SECONDS

    def _close(self, day: dt.date) -> float:
        """Unix second at which the ordinary session of a day ends."""
        closing = self._closes.get(day)
        if closing is None:
            closes = self.facts.ordinary_hours(day).closes
            closing = self._closes[day] = dt.datetime.combine(day, closes, IST).timestamp()
        return closing

    def _path(self, underlying: str, t: float) -> float:
        base = UNDERLYINGS[underlying].base_spot
        share = 0.0
        for period, amplitude in NOISE_SCALES:
            position = t / period
            cell = math.floor(position)
            f = position - cell
            left = self._hash(underlying, period, cell)
            right = self._hash(underlying, period, cell + 1)
            share += amplitude * (left + (right - left) * f * f * (3 - 2 * f))
        return base * (1.0 + self.noise * share)

    def _hash(self, underlying: str, period: float, cell: int) -> float:
        """Pseudo-random number in [-1, 1) for one cell of one noise scale."""
        raw = zlib.crc32(b"%d|%s|%d|%d" % (self.seed, underlying.encode(), period, cell))
        mixed = (raw * 2654435761) & 0xFFFFFFFF
        return mixed / 2147483648.0 - 1.0

    # -- control ---------------------------------------------------------------------------------
    def move(
        self,
        underlying: str,
        *,
        now: float,
        spot: float | None = None,
        shift: float = 0.0,
        ramp_seconds: float = 0.0,
    ) -> float:
        """Move the spot to ``spot``, or by ``shift`` rupees, over ``ramp_seconds``; returns the
        target.

        The noise continues around the new level. ``now`` in unix seconds.
        """
        current = self._displacement[underlying].at(now)
        end = now + ramp_seconds
        target = spot - self._path(underlying, end) if spot is not None else current + shift
        self._displacement[underlying] = _Displacement(now, end, current, target)
        self._cache_tick = -1.0
        return self._path(underlying, end) + target

    def set_iv(self, underlying: str, iv: float) -> None:
        """Set the at-the-money implied volatility (a year, 0.13 = 13 %)."""
        self.iv[underlying] = iv
        self._cache_tick = -1.0

    def set_noise(self, factor: float) -> None:
        """Scale the path's own movement; 0 leaves only the requested moves."""
        self.noise = factor
        self._cache_tick = -1.0

    def reset(self) -> None:
        """Remove every move; the path of the seed remains."""
        self.noise = 1.0
        self.iv = {name: u.iv for name, u in UNDERLYINGS.items()}
        self._displacement = dict.fromkeys(UNDERLYINGS, _Displacement(0.0, 0.0, 0.0, 0.0))
        self._cache_tick = -1.0
