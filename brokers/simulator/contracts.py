"""One synthetic contract list for a day, in both brokers' own file formats.

Rules of the exchanges since 1 September 2025 (NSE/FAOP/68747): on NSE (segment NFO) NIFTY
expires weekly on Tuesday and monthly on the last Tuesday, BANKNIFTY and FINNIFTY monthly only; on
BSE (BFO) SENSEX expires weekly on Thursday and monthly on the last Thursday. An expiry on a closed
day moves to the trading day before. File formats: Kite's instruments CSV
(https://kite.trade/docs/connect/v3/market-quotes/#instruments) and Noren's masters; those of BFO
call the strike's column ``Strike``, name the product ``BSXOPT`` or ``BSXFUT``, and write trading
symbols as Kite does.
"""

from __future__ import annotations

import calendar
import datetime as dt
import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

TUESDAY: Final = 1
THURSDAY: Final = 3
STRIKES_EACH_SIDE: Final = 40
NEXT_WEEKLIES: Final = 5
MONTHLIES: Final = 3
NFO: Final = "NFO"
BFO: Final = "BFO"
EXCHANGES: Final = (NFO, BFO)
#: Kite's number of a segment, the last byte of an instrument token (pykiteconnect, EXCHANGE_MAP).
KITE_SEGMENTS: Final = {NFO: 2, BFO: 5}
TOKEN_SPACE: Final = 16_000_000
TOKEN_BASE: Final = 30_000

KITE_COLUMNS: Final = (
    "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,"
    "lot_size,instrument_type,segment,exchange"
)
NOREN_COLUMNS: Final = (
    "Exchange,Token,LotSize,Symbol,TradingSymbol,Expiry,Instrument,OptionType,{strike},TickSize,"
)
NOREN_STRIKE: Final = {NFO: "StrikePrice", BFO: "Strike"}
KITE_MONTH_CODES: Final = "123456789OND"
OPTION_TICK: Final = Decimal("0.05")


@dataclass(frozen=True, slots=True)
class Underlying:
    """What the exchange fixes for one index. ``lot_size`` and ``freeze_quantity`` in units.

    ``exchange`` is the segment of the derivatives, ``spot_exchange`` where the index is quoted;
    ``noren_product`` Noren's product codes of options and futures.
    """

    name: str
    base_spot: int
    strike_step: int
    lot_size: int
    freeze_quantity: int
    weekly: bool
    future_tick: Decimal
    kite_index: str
    kite_token: int
    noren_index: str
    noren_token: int
    iv: float
    exchange: str = NFO
    spot_exchange: str = "NSE"
    expiry_weekday: int = TUESDAY
    noren_product: tuple[str, str] = ("", "")

    def product_of(self, kind: str) -> str:
        """Noren's product code of a CE, PE or FUT."""
        return self.noren_product[kind == "FUT"] or self.name


UNDERLYINGS: Final[Mapping[str, Underlying]] = {
    u.name: u
    for u in (
        Underlying(
            name="NIFTY",
            base_spot=25_000,
            strike_step=50,
            lot_size=65,
            freeze_quantity=1800,
            weekly=True,
            future_tick=Decimal("0.10"),
            kite_index="NIFTY 50",
            kite_token=256265,
            noren_index="Nifty 50",
            noren_token=26000,
            iv=0.13,
        ),
        Underlying(
            name="BANKNIFTY",
            base_spot=56_000,
            strike_step=100,
            lot_size=30,
            freeze_quantity=600,
            weekly=False,
            future_tick=Decimal("0.20"),
            kite_index="NIFTY BANK",
            kite_token=260105,
            noren_index="Nifty Bank",
            noren_token=26009,
            iv=0.15,
        ),
        Underlying(
            name="FINNIFTY",
            base_spot=26_500,
            strike_step=50,
            lot_size=60,
            freeze_quantity=1200,
            weekly=False,
            future_tick=Decimal("0.10"),
            kite_index="NIFTY FIN SERVICE",
            kite_token=257801,
            noren_index="Nifty Fin Service",
            noren_token=26037,
            iv=0.14,
        ),
        Underlying(
            name="SENSEX",
            base_spot=82_000,
            strike_step=100,
            lot_size=20,
            freeze_quantity=1000,
            weekly=True,
            future_tick=OPTION_TICK,
            kite_index="SENSEX",
            kite_token=265,
            noren_index="SENSEX",
            noren_token=1,
            iv=0.13,
            exchange=BFO,
            spot_exchange="BSE",
            expiry_weekday=THURSDAY,
            noren_product=("BSXOPT", "BSXFUT"),
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Contract:
    """One future or option. ``kind`` is CE, PE or FUT; ``strike`` rupees, 0 for FUT."""

    underlying: str
    expiry: dt.date
    monthly: bool
    kind: str
    strike: int
    lot_size: int
    freeze_quantity: int
    tick: Decimal
    token: int
    exchange: str = NFO

    @property
    def kite_symbol(self) -> str:
        """Kite's tradingsymbol: YYMMM for monthlies, YY + month code + DD for weeklies."""
        return kite_symbol(self.underlying, self.expiry, self.monthly, self.kind, self.strike)

    @property
    def noren_symbol(self) -> str:
        """Noren's TradingSymbol: name, DDMMMYY, C/P/F, strike; on BFO written as Kite does."""
        if self.exchange == BFO:
            return self.kite_symbol
        return noren_symbol(self.underlying, self.expiry, self.kind, self.strike)

    @property
    def kite_token(self) -> int:
        """Kite's instrument token: exchange token and segment in one number."""
        return self.token * 256 + KITE_SEGMENTS[self.exchange]


def kite_symbol(underlying: str, expiry: dt.date, monthly: bool, kind: str, strike: int) -> str:
    """E.g. NIFTY25AUG24400CE (monthly), NIFTY2580724400CE (weekly), NIFTY25AUGFUT."""
    if monthly:
        date_part = expiry.strftime("%y%b").upper()
    else:
        date_part = f"{expiry:%y}{KITE_MONTH_CODES[expiry.month - 1]}{expiry:%d}"
    return f"{underlying}{date_part}{'' if kind == 'FUT' else strike}{kind}"


def noren_symbol(underlying: str, expiry: dt.date, kind: str, strike: int) -> str:
    """E.g. NIFTY28AUG25C24400, NIFTY28AUG25F."""
    date_part = expiry.strftime("%d%b%y").upper()
    return f"{underlying}{date_part}{kind[0]}{'' if kind == 'FUT' else strike}"


def is_trading_day(day: dt.date, closed_days: frozenset[dt.date]) -> bool:
    """Whether ``day`` is Monday to Friday and not in ``closed_days``."""
    return day.weekday() < 5 and day not in closed_days


def previous_trading_day(day: dt.date, closed_days: frozenset[dt.date]) -> dt.date:
    """``day`` if the exchange trades on it, otherwise the last trading day before."""
    while not is_trading_day(day, closed_days):
        day -= dt.timedelta(days=1)
    return day


def last_weekday(year: int, month: int, weekday: int) -> dt.date:
    """The last Tuesday (1), Thursday (3) or other day of a month, holiday or not."""
    last = dt.date(year, month, calendar.monthrange(year, month)[1])
    return last - dt.timedelta(days=(last.weekday() - weekday) % 7)


def monthly_expiries(
    day: dt.date, closed_days: frozenset[dt.date], weekday: int = TUESDAY
) -> list[dt.date]:
    """The next monthly expiries, ``day`` included, moved off closed days."""
    expiries: list[dt.date] = []
    year, month = day.year, day.month
    while len(expiries) < MONTHLIES:
        expiry = previous_trading_day(last_weekday(year, month, weekday), closed_days)
        if expiry >= day:
            expiries.append(expiry)
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    return expiries


def weekly_expiries(
    day: dt.date, closed_days: frozenset[dt.date], weekday: int = TUESDAY
) -> list[dt.date]:
    """The next Tuesdays' (or ``weekday``'s) expiries, ``day`` included, moved off closed days."""
    expiries: list[dt.date] = []
    nominal = day + dt.timedelta(days=(weekday - day.weekday()) % 7)
    while len(expiries) < NEXT_WEEKLIES:
        expiry = previous_trading_day(nominal, closed_days)
        if expiry >= day:
            expiries.append(expiry)
        nominal += dt.timedelta(days=7)
    return expiries


class ContractList:
    """All contracts of a day, by either broker's symbol or by exchange token."""

    def __init__(self, day: dt.date, contracts: Sequence[Contract]) -> None:
        self.day = day
        self.contracts = contracts
        self.by_kite_symbol = {c.kite_symbol: c for c in contracts}
        self.by_noren_symbol = {c.noren_symbol: c for c in contracts}
        self.by_token = {c.token: c for c in contracts}

    def __len__(self) -> int:
        return len(self.contracts)

    def of(self, exchange: str) -> list[Contract]:
        """The contracts of one segment: NFO or BFO."""
        return [c for c in self.contracts if c.exchange == exchange]

    def kite_csv(self, exchange: str = NFO) -> str:
        """Kite's instruments file of one segment."""
        return "\n".join([KITE_COLUMNS, *self._kite_rows(exchange)]) + "\n"

    def kite_dump(self) -> str:
        """Kite's whole instruments file: the indices, then every segment."""
        indices = [
            f"{u.kite_token},{u.kite_token >> 8},{u.kite_index},{u.kite_index},"
            f"0,,0,0,0,EQ,INDICES,{u.spot_exchange}"
            for u in UNDERLYINGS.values()
        ]
        rows = [row for exchange in EXCHANGES for row in self._kite_rows(exchange)]
        return "\n".join([KITE_COLUMNS, *indices, *rows]) + "\n"

    def _kite_rows(self, exchange: str) -> Iterator[str]:
        for c in self.of(exchange):
            yield (
                f"{c.kite_token},{c.token},{c.kite_symbol},{c.underlying},0.0,{c.expiry},"
                f"{float(c.strike)},{float(c.tick)},{c.lot_size},{c.kind},"
                f"{exchange}-{'FUT' if c.kind == 'FUT' else 'OPT'},{exchange}"
            )

    def noren_txt(self, exchange: str = NFO) -> str:
        """Noren's master of one segment; every line ends in a comma, as in the real file."""
        lines = [NOREN_COLUMNS.format(strike=NOREN_STRIKE[exchange])]
        lines += [
            f"{exchange},{c.token},{c.lot_size},{UNDERLYINGS[c.underlying].product_of(c.kind)},"
            f"{c.noren_symbol},{c.expiry.strftime('%d-%b-%Y').upper()},"
            f"{'FUTIDX,XX' if c.kind == 'FUT' else 'OPTIDX,' + c.kind},{c.strike},{c.tick},"
            for c in self.of(exchange)
        ]
        return "\n".join(lines) + "\n"

    def noren_zip(self, exchange: str = NFO) -> bytes:
        """``NFO_symbols.txt`` or ``BFO_symbols.txt``, zipped as the broker publishes it."""
        buffer = io.BytesIO()
        written = (self.day.year, self.day.month, self.day.day, 8, 0, 0)
        info = zipfile.ZipInfo(f"{exchange}_symbols.txt", written)
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(info, self.noren_txt(exchange), zipfile.ZIP_DEFLATED)
        return buffer.getvalue()


def generate(
    day: dt.date,
    closed_days: frozenset[dt.date] = frozenset(),
    spots: Mapping[str, float] | None = None,
    freeze: Mapping[str, int] | None = None,
) -> ContractList:
    """The contract list of ``day``.

    ``spots`` centres the strikes (rupees by underlying; default: each index's base level),
    ``freeze`` gives freeze quantities in units (default: those of August 2026). The same arguments
    give the same list, tokens included, and a contract keeps its token from day to day except for
    a rare collision.
    """
    contracts: list[Contract] = []
    taken: set[int] = set()
    for underlying in UNDERLYINGS.values():
        spot = (spots or {}).get(underlying.name, underlying.base_spot)
        limit = (freeze or {}).get(underlying.name, underlying.freeze_quantity)
        for kind, strike, expiry, monthly in _shapes(day, closed_days, underlying, spot):
            token = _token(noren_symbol(underlying.name, expiry, kind, strike), taken)
            contracts.append(
                Contract(
                    underlying=underlying.name,
                    expiry=expiry,
                    monthly=monthly,
                    kind=kind,
                    strike=strike,
                    lot_size=underlying.lot_size,
                    freeze_quantity=limit,
                    tick=underlying.future_tick if kind == "FUT" else OPTION_TICK,
                    token=token,
                    exchange=underlying.exchange,
                )
            )
    return ContractList(day, contracts)


def _shapes(
    day: dt.date, closed_days: frozenset[dt.date], underlying: Underlying, spot: float
) -> Iterator[tuple[str, int, dt.date, bool]]:
    weekday = underlying.expiry_weekday
    monthlies = monthly_expiries(day, closed_days, weekday)
    weeklies = weekly_expiries(day, closed_days, weekday) if underlying.weekly else []
    for expiry in monthlies:
        yield "FUT", 0, expiry, True
    step = underlying.strike_step
    centre = round(spot / step) * step
    for expiry in sorted({*weeklies, *monthlies}):
        # a weekly slot whose day is the month's last belongs to the monthly series
        monthly = expiry in monthlies
        for k in range(-STRIKES_EACH_SIDE, STRIKES_EACH_SIDE + 1):
            for kind in ("CE", "PE"):
                yield kind, centre + k * step, expiry, monthly


def _token(symbol: str, taken: set[int]) -> int:
    token = TOKEN_BASE + zlib.crc32(symbol.encode()) % TOKEN_SPACE
    while token in taken:
        token += 1
    taken.add(token)
    return token
