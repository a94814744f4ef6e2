"""The interface of every broker adapter: frozen values in, frozen values out, no sockets.

An adapter is *sans-IO*: it turns our order into an :class:`HttpRequest` and a broker's
:class:`HttpResponse` into an outcome. Others move the bytes (the prepared sender at the entry
second, ``requests`` in a service, aiohttp in a poller, a test), so all of them exercise the same
code.

Quantities are units (lots x lot size), prices rupees per unit as ``Decimal``, times UTC.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from brokers.instrument_rows import InstrumentStream
from brokers.pace import Window


class Side(enum.StrEnum):
    """The direction of an order."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def opposite(self) -> Side:
        """The side that closes a position opened by this one."""
        return Side.SELL if self is Side.BUY else Side.BUY

    @property
    def sign(self) -> int:
        """+1 for BUY, -1 for SELL: the sign of the position an order leaves behind."""
        return 1 if self is Side.BUY else -1


class Product(enum.StrEnum):
    """Margin product: INTRADAY is Kite's MIS, CARRY its NRML."""

    INTRADAY = "INTRADAY"
    CARRY = "CARRY"


class OrderType(enum.StrEnum):
    """The types that we send; brokers have refused plain MARKET orders since April 2026."""

    LIMIT = "LIMIT"
    MARKET_WITH_PROTECTION = "MARKET_WITH_PROTECTION"


class Outcome(enum.StrEnum):
    """What an answer (or its absence) proves about a sent order.

    Only REFUSED and NOT_SENT prove that the order does not exist: I3 (no second send without
    proof).
    """

    ACCEPTED = "ACCEPTED"
    REFUSED = "REFUSED"
    NOT_SENT = "NOT_SENT"
    UNKNOWN = "UNKNOWN"


class Cause(enum.StrEnum):
    """Normalised reasons for a refusal or failure, described in ``execution/descriptions.py``.

    - POSITION_LIMIT: the account or the market may hold no more of this contract or index.
    - RISK: any other limit or block of the broker's risk desk for this client.
    - CONTRACT_RESTRICTED: this contract (a far strike, a banned or blocked one), at any price.
    - APP_NOT_PERMITTED: the broker has not permitted our application to do this; for the operator.
    - DAILY_LIMIT: the broker accepts no more orders of this account today.
    """

    MARGIN = "MARGIN"
    POSITION_LIMIT = "POSITION_LIMIT"
    RISK = "RISK"
    PRICE_BAND = "PRICE_BAND"
    CONTRACT_RESTRICTED = "CONTRACT_RESTRICTED"
    FREEZE = "FREEZE"
    SESSION_EXPIRED = "SESSION_EXPIRED"
    IP_NOT_REGISTERED = "IP_NOT_REGISTERED"
    SEGMENT = "SEGMENT"
    PRODUCT = "PRODUCT"
    APP_NOT_PERMITTED = "APP_NOT_PERMITTED"
    RATE_LIMIT = "RATE_LIMIT"
    DAILY_LIMIT = "DAILY_LIMIT"
    MARKET_CLOSED = "MARKET_CLOSED"
    BROKER_DOWN = "BROKER_DOWN"
    INVALID = "INVALID"
    OTHER = "OTHER"


class BookState(enum.StrEnum):
    """State of an order in the broker's book. OTHER is not final: keep polling."""

    SUBMITTED = "SUBMITTED"
    OPEN = "OPEN"
    TRIGGER_PENDING = "TRIGGER_PENDING"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    OTHER = "OTHER"

    @property
    def is_terminal(self) -> bool:
        """Whether the broker will never change this order again."""
        return self in (BookState.FILLED, BookState.CANCELLED, BookState.REJECTED)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request, complete except for the host. ``path`` starts with ``/`` and includes the
    query."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """One answer as received. ``headers`` keys are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Credentials:
    """What an account needs before login. Never logged: ``repr`` hides the secrets."""

    client_id: str
    api_key: str = field(repr=False)
    api_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Session:
    """A logged-in account, sufficient for any authenticated request."""

    client_id: str
    api_key: str = field(repr=False)
    access_token: str = field(repr=False)
    algo_id: str = ""


@dataclass(frozen=True, slots=True)
class LoginResult:
    """The broker's answer to a token exchange; ``error`` is its text if it refused.

    ``client_id`` is empty if the answer names no owner: then the code must ask for the token's
    owner (:meth:`BrokerAdapter.owner`) before relying on it. ``lives_for`` and ``ends_at`` (UTC)
    are the token's lifetime as the broker states it, in the form in which it does.
    """

    access_token: str = field(default="", repr=False)
    client_id: str = ""
    error: str = ""
    unknown: bool = False
    lives_for: dt.timedelta | None = None
    ends_at: dt.datetime | None = None

    def expiry(self, now: dt.datetime, day_ends: dt.datetime) -> dt.datetime:
        """When this token, obtained at ``now``, expires: at ``day_ends``, or sooner if the broker
        says so."""
        by_broker = None if self.lives_for is None else now + self.lives_for
        return min(at for at in (day_ends, self.ends_at, by_broker) if at is not None)


@dataclass(frozen=True, slots=True)
class OwnerRead:
    """The owner of a session, or the broker's text (``error``) why it does not say.

    ``unknown`` if there was no readable answer.
    """

    client_id: str = ""
    error: str = ""
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class BrokerInstrument:
    """A broker's name for a contract."""

    exchange: str
    symbol: str
    token: str


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """One order to place. ``quantity`` in units, ``price`` in rupees per unit (LIMIT only)."""

    tag: str
    instrument: BrokerInstrument
    side: Side
    quantity: int
    product: Product
    order_type: OrderType = OrderType.LIMIT
    price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class PriceChange:
    """A new limit price, in rupees per unit, for an order that rests at the broker.

    ``quantity`` is the order's own in units, including what has filled: a change never touches it.
    """

    broker_order_id: str
    instrument: BrokerInstrument
    quantity: int
    price: Decimal


@dataclass(frozen=True, slots=True)
class PriceBand:
    """Between which prices (rupees per unit, both included) orders of a contract are accepted now.

    A side that the broker did not name is None; one of them is always set. Bands move, so a band is
    good for the next try only.
    """

    low: Decimal | None = None
    high: Decimal | None = None


@dataclass(frozen=True, slots=True)
class SendResult:
    """What the answer to a place, change or cancel call proves.

    ``retryable`` is true only if a documented code, status (HTTP 429) or, with its own status, a
    whole documented sentence says that another try may be accepted, never because of words in a
    text; the caller still sends at most three times. ``message`` is the broker's own text. ``band``
    is the permitted band, if a refusal for the price names one.
    """

    outcome: Outcome
    broker_order_id: str = ""
    cause: Cause | None = None
    message: str = ""
    code: str = ""
    retryable: bool = False
    band: PriceBand | None = None


@dataclass(frozen=True, slots=True)
class OrderReport:
    """One order in a broker's book. Quantities in units; price 0 if nothing has filled.

    ``quantity`` is the order's current one at the broker, where somebody may have changed it, and
    ``price`` its current limit in rupees per unit (None: not given). ``band`` is the permitted
    band, if a rejection for the price names one.
    """

    broker_order_id: str
    tag: str
    state: BookState
    quantity: int
    filled_quantity: int
    average_price: Decimal
    symbol: str = ""
    exchange: str = ""
    side: Side | None = None
    product: Product | None = None
    message: str = ""
    cause: Cause | None = None
    band: PriceBand | None = None
    price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class NetPosition:
    """Net open quantity (units, signed) of one contract and product at the broker.

    ``last_price`` in rupees per unit, of unknown age; None if the broker gives none.
    """

    exchange: str
    symbol: str
    product: Product | None
    quantity: int
    last_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class BookRead:
    """A *successful* order-book read, or a failed one that proves nothing (``ok`` false).

    ``orders`` has every order once, in its latest state, however the broker lists it.
    """

    ok: bool
    orders: Sequence[OrderReport] = ()
    cause: Cause | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class PositionRead:
    """A successful position read, or a failed one, which never counts as flat."""

    ok: bool
    positions: Sequence[NetPosition] = ()
    cause: Cause | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class QuoteRow:
    """One instrument's prices in rupees, with their two ages (UTC, the exchange's time).

    ``at`` is the time of the quote: bid, ask, and that ``last_price`` is still the last one.
    ``traded_at`` is the time of the trade that made ``last_price``; None if the broker does not
    give it, or the trade was not today as far as the broker says. For an index, which nobody
    trades, both are the same. The server's clock in an answer is neither. ``band`` is the day's
    circuit limits, if given.
    """

    key: str
    last_price: Decimal
    bid: Decimal | None
    ask: Decimal | None
    at: dt.datetime
    traded_at: dt.datetime | None = None
    band: PriceBand | None = None


@dataclass(frozen=True, slots=True)
class QuoteRead:
    """Answer to a quotes request: rows by the requested key; missing keys are absent."""

    ok: bool
    quotes: Mapping[str, QuoteRow] = field(default_factory=dict)
    cause: Cause | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a broker supports, and how fast it may be called.

    ``windows`` are all its rate limits, over all calls of one login. ``quote_batch`` is how many
    instruments one quote call takes. ``visibility_delay`` is how long, in seconds, an accepted
    order may be missing from the book; absence is never proven before that. ``cool_down`` is how
    long, in seconds, the broker refuses everything after a breach of its limits if its answer does
    not say. ``login_code`` is the name of the code in the redirect's address. ``changes_per_order``
    is how often the price of one resting order may be changed; 0: never.
    """

    kind: str
    label: str
    windows: tuple[Window, ...] = (Window(1.0, 10),)
    quote_batch: int = 1
    book_reads_per_second: Decimal = Decimal(1)
    visibility_delay: Decimal = Decimal(10)
    cool_down: Decimal = Decimal(1)
    market_with_protection: bool = False
    returns_login_state: bool = False
    login_code: str = "code"
    max_tag_length: int = 20
    derivative_exchanges: tuple[str, ...] = ("NFO", "BFO")
    position_products: bool = True
    changes_per_order: int = 0


class BrokerAdapter(Protocol):
    """The interface that every broker implements. All methods are pure; none raises on a hostile
    answer."""

    capabilities: Capabilities

    # -- login -------------------------------------------------------------------------------
    def login_url(self, login_base: str, credentials: Credentials, state: str) -> str:
        """Browser address at which the account holder logs in for the day."""

    def token_request(self, credentials: Credentials, code: str) -> HttpRequest:
        """Exchange of the redirect's code for today's access token."""

    def parse_token(self, response: HttpResponse) -> LoginResult:
        """Access token, or the broker's refusal in its own words."""

    def token_expiry(self, now: dt.datetime) -> dt.datetime:
        """When a token obtained at ``now`` (UTC) expires at the latest, in UTC."""

    def owner(self, session: Session) -> HttpRequest:
        """Request for the owner of a session; ``session.client_id`` is who we believe it to be."""

    def parse_owner(self, response: HttpResponse) -> OwnerRead:
        """The client id in the broker's answer, or why it names none."""

    # -- orders ------------------------------------------------------------------------------
    def place_order(self, session: Session, order: OrderRequest) -> HttpRequest:
        """Request that places ``order``."""

    def parse_place(self, response: HttpResponse) -> SendResult:
        """Outcome of a place answer: ACCEPTED, REFUSED (documented refusals only) or UNKNOWN."""

    def change_order(self, session: Session, change: PriceChange) -> HttpRequest:
        """Request that gives an open order another price."""

    def parse_change(self, response: HttpResponse) -> SendResult:
        """Outcome of a change answer. REFUSED proves nothing about the order itself, and ACCEPTED
        proves no price: only the book says where the order rests."""

    def cancel_order(self, session: Session, broker_order_id: str) -> HttpRequest:
        """Request that cancels an open order."""

    def parse_cancel(self, response: HttpResponse) -> SendResult:
        """Outcome of a cancel answer. REFUSED proves nothing about the order itself."""

    def order_book(self, session: Session) -> HttpRequest:
        """Request for today's whole order book of the account."""

    def parse_order_book(self, response: HttpResponse) -> BookRead:
        """The book, or a failed read."""

    def positions(self, session: Session) -> HttpRequest:
        """Request for the account's net positions."""

    def parse_positions(self, response: HttpResponse) -> PositionRead:
        """Net positions, or a failed read."""

    # -- market data -------------------------------------------------------------------------
    def quotes(
        self, session: Session, instruments: Mapping[str, BrokerInstrument]
    ) -> Sequence[tuple[Sequence[str], HttpRequest]]:
        """Requests that together quote ``instruments`` (our key -> name), each with its keys.

        An index is requested by the instrument that :meth:`index_instrument` returns.
        """

    def parse_quotes(
        self,
        response: HttpResponse,
        keys: Sequence[str],
        instruments: Mapping[str, BrokerInstrument],
    ) -> QuoteRead:
        """Quotes of one answer, by our keys."""

    def index_instrument(self, underlying: str) -> BrokerInstrument | None:
        """This broker's name for the spot index, or None."""

    # -- instruments -------------------------------------------------------------------------
    def instruments_path(self, exchange: str) -> str:
        """Path of the day's instrument file of ``exchange`` below the broker's base address."""

    def parse_instruments(self, lines: Iterable[str]) -> InstrumentStream:
        """Index futures and options of an instrument file; invalid rows are skipped and counted."""


def position_delta(reports: Iterable[OrderReport]) -> int:
    """Net filled units over ``reports`` (buys positive)."""
    return sum(r.filled_quantity * r.side.sign for r in reports if r.side is not None)
