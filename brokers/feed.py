"""The platform's quotes: staff-owned feed accounts, the primary first, spares for what it lacks.

Two doors to the same thing: :class:`FeedQuotes` (synchronous; marketplace's ``QuoteSource`` port)
and :func:`fetch` (asynchronous, for the executor, on sessions and names loaded beforehand so that
the second before an entry needs no database). A quote older than the age limit is no quote
(execution.md section 4); one from the future likewise.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import aiohttp
import structlog
from django.conf import settings

from brokers import aio, http, vault
from brokers.base import BrokerInstrument, Cause, HttpRequest, QuoteRead, QuoteRow, Session
from brokers.endpoints import endpoints, is_enabled
from brokers.errors import CredentialsUnreadable
from brokers.models import FeedAccount
from brokers.registry import get_adapter
from brokers.selectors import instrument_names
from marketplace.ports import Quote

log = structlog.get_logger(__name__)

#: How far ahead of our clock an exchange time may be before it is nonsense.
CLOCK_SLACK = dt.timedelta(seconds=2)
#: Quote calls of one feed that may be under way at once (Noren takes one instrument a call).
CONCURRENCY = 10

#: Names of what is asked for, by our key: one mapping per broker kind.
Names = Mapping[str, BrokerInstrument]


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed account that is logged in, in the clear."""

    name: str
    broker: str
    base_url: str
    session: Session


def spot_key(underlying: str) -> str:
    """Our key of an index level."""
    return f"spot:{underlying}"


def contract_key(contract_id: int) -> str:
    """Our key of a contract's quote."""
    return f"contract:{contract_id}"


# -- loading (database) ----------------------------------------------------------------------
def load_feeds(now: dt.datetime) -> Sequence[Feed]:
    """Active feed accounts with a living session, the primary first (one query).

    One that cannot be read is left out: a spare may take its place.
    """
    accounts = FeedAccount.objects.filter(is_active=True, token_expires_at__gt=now).exclude(
        access_token=""
    )
    ordered = sorted(accounts, key=lambda a: (a.role != FeedAccount.Role.PRIMARY, a.pk))
    opened = (_opened(account) for account in ordered if is_enabled(account.broker))
    return [feed for feed in opened if feed is not None]


def _opened(account: FeedAccount) -> Feed | None:
    try:
        session = vault.session_of(account)
    except CredentialsUnreadable:
        return None  # logged where it was noticed
    return Feed(account.name, account.broker, endpoints(account.broker).api, session)


def load_names(
    brokers: Iterable[str], *, underlyings: Collection[str] = (), contract_ids: Collection[int] = ()
) -> Mapping[str, Names]:
    """Names by broker kind and key, of indices and contracts (one query per kind)."""
    found: dict[str, Names] = {}
    for kind in sorted(set(brokers)):
        adapter = get_adapter(kind)
        spots = {spot_key(name): adapter.index_instrument(name) for name in underlyings}
        names = {key: name for key, name in spots.items() if name is not None}
        if contract_ids:
            known = instrument_names(kind, contract_ids)
            names |= {contract_key(pk): name for pk, name in known.items()}
        found[kind] = names
    return found


@dataclass(frozen=True, slots=True)
class Level:
    """What one feed says of an index: the exchange's time (UTC), or None and why, in words.

    ``ended`` says that the broker no longer honours the session.
    """

    at: dt.datetime | None = None
    problem: str = ""
    ended: bool = False


def read_level(account: FeedAccount, underlying: str = "NIFTY") -> Level:
    """Ask one logged-in feed account for an index level, once; however old it is, it is given."""
    if not is_enabled(account.broker):
        return Level(problem=f"this installation does not talk to {account.broker}")
    adapter, base_url = get_adapter(account.broker), endpoints(account.broker).api
    key, name = spot_key(underlying), adapter.index_instrument(underlying)
    if name is None:
        return Level(problem=f"{account.broker} has no level of {underlying}")
    ((keys, request),) = adapter.quotes(vault.session_of(account), {key: name})
    try:
        response = http.send(request, base_url=base_url)
    except http.TransportError as error:
        return Level(problem=f"the broker did not answer ({error.message})")
    read = adapter.parse_quotes(response, keys, {key: name})
    if read.ok and key in read.quotes:
        return Level(at=read.quotes[key].at)
    return Level(
        problem=read.message or "the broker gave no price",
        ended=read.cause == Cause.SESSION_EXPIRED,
    )


# -- judging (pure) --------------------------------------------------------------------------
def fresh(row: QuoteRow, *, now: dt.datetime, max_age: dt.timedelta) -> bool:
    """Whether the exchange's time of ``row`` is within the age limit at ``now``."""
    return now - max_age <= row.at <= now + CLOCK_SLACK


def _accept(
    feed: Feed, read: QuoteRead, now: dt.datetime, max_age: dt.timedelta
) -> dict[str, Quote]:
    if not read.ok:
        log.warning("feed_read_failed", feed=feed.name, cause=read.cause, detail=read.message)
    return {
        key: Quote(
            last=row.last_price,
            bid=row.bid,
            ask=row.ask,
            at=row.at,
            source=feed.name,
            traded_at=row.traded_at,
        )
        for key, row in read.quotes.items()
        if fresh(row, now=now, max_age=max_age)
    }


def _plan(
    feed: Feed, names: Names, missing: Collection[str]
) -> Sequence[tuple[Sequence[str], HttpRequest]]:
    wanted = {key: names[key] for key in missing if key in names}
    return get_adapter(feed.broker).quotes(feed.session, wanted) if wanted else ()


# -- asynchronous door -----------------------------------------------------------------------
async def fetch(
    client: aiohttp.ClientSession,
    feeds: Sequence[Feed],
    names: Mapping[str, Names],
    keys: Collection[str],
    *,
    now: dt.datetime,
    max_age: dt.timedelta,
) -> dict[str, Quote]:
    """Quotes by key from the first feed that has a fresh one; missing keys are missing.

    ``now`` is when the question is asked. A feed that fails raises nothing: the next one is asked.
    """
    found: dict[str, Quote] = {}
    for feed in feeds:
        missing = [key for key in keys if key not in found]
        if not missing:
            break
        feed_names = names.get(feed.broker, {})
        gate = asyncio.Semaphore(CONCURRENCY)
        answers = await asyncio.gather(
            *(
                _ask(client, gate, feed, feed_names, batch, request)
                for batch, request in _plan(feed, feed_names, missing)
            )
        )
        for read in answers:
            found |= _accept(feed, read, now, max_age)
    return found


async def _ask(
    client: aiohttp.ClientSession,
    gate: asyncio.Semaphore,
    feed: Feed,
    names: Names,
    keys: Sequence[str],
    request: HttpRequest,
) -> QuoteRead:
    async with gate:
        try:
            response = await aio.send(client, request, base_url=feed.base_url)
        except http.TransportError as error:
            return QuoteRead(ok=False, message=error.message)
    return get_adapter(feed.broker).parse_quotes(response, keys, names)


# -- synchronous door ------------------------------------------------------------------------
class FeedQuotes:
    """Marketplace's ``QuoteSource`` over the feed accounts (executor's resolution, consoles).

    A quote within ``wanted_age`` is taken from the first feed that has it; where no feed has one,
    the youngest within ``max_age`` is given and the caller judges its ``at``. The ages are the
    entry's and the risk rules' limits (settings) when not given. Connections are kept between
    calls, one per thread and feed; several requests of one question run side by side.
    """

    def __init__(
        self, wanted_age: dt.timedelta | None = None, max_age: dt.timedelta | None = None
    ) -> None:
        self._wanted_age = wanted_age
        self._max_age = max_age
        self._lines = threading.local()
        self._pool = ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="feed")

    def spot(self, underlyings: Collection[str], *, now: dt.datetime) -> Mapping[str, Quote]:
        """Index levels by underlying symbol; what no feed knows is left out."""
        found = self._fetch(now, underlyings=underlyings)
        return {name: found[key] for name in underlyings if (key := spot_key(name)) in found}

    def quotes(self, contract_ids: Collection[int], *, now: dt.datetime) -> Mapping[int, Quote]:
        """Quotes by contract id; what no feed knows is left out."""
        found = self._fetch(now, contract_ids=contract_ids)
        return {pk: found[key] for pk in contract_ids if (key := contract_key(pk)) in found}

    def _fetch(
        self,
        now: dt.datetime,
        *,
        underlyings: Collection[str] = (),
        contract_ids: Collection[int] = (),
    ) -> dict[str, Quote]:
        feeds = load_feeds(now)
        names = load_names(
            {feed.broker for feed in feeds}, underlyings=underlyings, contract_ids=contract_ids
        )
        keys = [*map(spot_key, underlyings), *map(contract_key, contract_ids)]
        wanted = now - (self._wanted_age or _seconds(settings.QUANTLEAP_QUOTE_MAX_AGE_ENTRY))
        max_age = self._max_age or _seconds(settings.QUANTLEAP_QUOTE_MAX_AGE_RISK)
        found: dict[str, Quote] = {}
        for feed in feeds:
            missing = [key for key in keys if key not in found or found[key].at < wanted]
            for read in self._reads(feed, names[feed.broker], missing):
                for key, quote in _accept(feed, read, now, max_age).items():
                    if key not in found or quote.at > found[key].at:
                        found[key] = quote
        return found

    def _reads(self, feed: Feed, names: Names, missing: Collection[str]) -> Iterable[QuoteRead]:
        """Answers to one feed's requests: a single one in this thread, several in the pool's."""
        plan = _plan(feed, names, missing)
        ask = functools.partial(self._ask, feed, names)
        if len(plan) <= 1:
            return [ask(keys, request) for keys, request in plan]
        return self._pool.map(lambda part: ask(*part), plan)

    def _ask(
        self, feed: Feed, names: Names, keys: Sequence[str], request: HttpRequest
    ) -> QuoteRead:
        try:
            response = self._line(feed).send(request, base_url=feed.base_url)
        except http.TransportError as error:
            return QuoteRead(ok=False, message=error.message)
        return get_adapter(feed.broker).parse_quotes(response, keys, names)

    def _line(self, feed: Feed) -> http.Line:
        """This thread's kept connection to a feed's broker."""
        lines: dict[str, http.Line] = self._lines.__dict__
        if feed.base_url not in lines:
            lines[feed.base_url] = http.Line()
        return lines[feed.base_url]


def _seconds(value: float) -> dt.timedelta:
    return dt.timedelta(seconds=value)


PLATFORM_QUOTES = FeedQuotes()
