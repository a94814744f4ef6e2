"""The platform's quotes: staff-owned feed accounts, the primary first, spares for what it lacks.

:class:`FeedQuotes` implements marketplace's ``QuoteSource`` port. It reads the feeds and names from
the database, and passes the request to the feeds' own loop (:mod:`brokers.feed_loop`), where every
login has one pace and one websocket for all callers (:mod:`brokers.feed_login`). The first feed has
300 ms before the next one is asked as well. A quote that is older than the age limit does not count
(docs/adr/0031), nor does one from the future.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import structlog
from django.conf import settings

from brokers import clock_skew, sealed_credentials, shared_pace, transport_sync
from brokers.base import Cause, QuoteRow
from brokers.endpoints import endpoints, is_enabled
from brokers.errors import CredentialsUnreadable
from brokers.feed_login import SPOT, Feed, Line, Names
from brokers.feed_loop import FeedLoop, feed_loop
from brokers.models import FeedAccount
from brokers.pace import Urgency
from brokers.registry import get_adapter
from brokers.selectors import instrument_names
from marketplace.ports import Market, Need, Quote
from quantleap.core import clock
from quantleap.core.dates import moment_text

log = structlog.get_logger(__name__)

#: How far ahead of our clock an exchange time may be before it counts as invalid.
CLOCK_SLACK: Final = dt.timedelta(seconds=2)
#: Seconds to wait for one feed before the next one is asked as well.
FIRST_SECONDS: Final = 0.3
#: Seconds that a request may take: a limit of one call a second, plus an answer's transit time.
PATIENCE: Final = {Need.TRADE: 1.6, Need.RISK: 1.6, Need.PAGE: 3.0}
#: Seconds between two writes of a feed's state to its row.
REPORT_SECONDS: Final = 5.0


def spot_key(underlying: str) -> str:
    """Our key of an index level."""
    return f"{SPOT}{underlying}"


def contract_key(contract_id: int) -> str:
    """Our key of a contract's quote."""
    return f"contract:{contract_id}"


# -- loading (database) ----------------------------------------------------------------------
def load_feeds(now: dt.datetime) -> Sequence[Feed]:
    """Active feed accounts with a live session, the primary first (one query).

    An account that cannot be decrypted is omitted: a spare may replace it.
    """
    accounts = FeedAccount.objects.filter(is_active=True, token_expires_at__gt=now).exclude(
        access_token=""
    )
    ordered = sorted(accounts, key=lambda a: (a.role != FeedAccount.Role.PRIMARY, a.pk))
    opened = (_opened(account) for account in ordered if is_enabled(account.broker))
    return [feed for feed in opened if feed is not None]


def _opened(account: FeedAccount) -> Feed | None:
    try:
        session = sealed_credentials.session_of(account)
    except CredentialsUnreadable:
        return None  # logged by the code that noticed it
    addresses = endpoints(account.broker)
    return Feed(account.name, account.broker, addresses.api, session, account.pk, addresses.stream)


def load_names(
    brokers: Iterable[str], *, underlyings: Collection[str] = (), contract_ids: Collection[int] = ()
) -> Mapping[str, Names]:
    """Names by broker kind and key, of indices and contracts (one query per kind)."""
    names_by_broker: dict[str, Names] = {}
    for kind in sorted(set(brokers)):
        adapter = get_adapter(kind)
        spots = {spot_key(name): adapter.index_instrument(name) for name in underlyings}
        names = {key: name for key, name in spots.items() if name is not None}
        if contract_ids:
            known = instrument_names(kind, contract_ids)
            names |= {contract_key(pk): name for pk, name in known.items()}
        names_by_broker[kind] = names
    return names_by_broker


@dataclass(frozen=True, slots=True)
class Level:
    """A feed's answer about an index: the exchange's time (UTC), or None with the reason.

    ``ended`` says that the broker no longer accepts the session.
    """

    at: dt.datetime | None = None
    problem: str = ""
    ended: bool = False


def read_level(account: FeedAccount, underlying: str = "NIFTY") -> Level:
    """Ask one logged-in feed account once for an index level, of any age."""
    if not is_enabled(account.broker):
        return Level(problem=f"this installation does not talk to {account.broker}")
    adapter, base_url = get_adapter(account.broker), endpoints(account.broker).api
    key, name = spot_key(underlying), adapter.index_instrument(underlying)
    if name is None:
        return Level(problem=f"{account.broker} has no level of {underlying}")
    session = sealed_credentials.session_of(account)
    ((keys, request),) = adapter.quotes(session, {key: name})
    _wait_for_slot(Feed(account.name, account.broker, base_url, session))
    try:
        response = transport_sync.send(request, base_url=base_url)
    except transport_sync.TransportError as error:
        return Level(problem=f"the broker did not answer ({error.message})")
    read = adapter.parse_quotes(response, keys, {key: name})
    if read.ok and key in read.quotes:
        return Level(at=read.quotes[key].at)
    return Level(
        problem=read.message or "the broker gave no price",
        ended=read.cause == Cause.SESSION_EXPIRED,
    )


def _wait_for_slot(feed: Feed) -> None:
    """Sleep until the login's limits allow a request, or until it would be too late."""
    windows = get_adapter(feed.broker).capabilities.windows
    until = clock.monotonic() + PATIENCE[Need.PAGE]
    while (wait := shared_pace.take_slot(feed.login, windows, Urgency.LAST)) > 0:
        if clock.monotonic() + wait > until:
            return
        time.sleep(wait)


# -- judging ages (pure) -----------------------------------------------------------------
def fresh(row: QuoteRow, *, now: dt.datetime, max_age: dt.timedelta) -> bool:
    """Whether the exchange's time of ``row`` is within the age limit at ``now``."""
    return now - max_age <= row.at <= now + CLOCK_SLACK


@dataclass(frozen=True, slots=True)
class Ages:
    """The time of a request, and the ages (seconds) at which a price is wanted, or still returned.

    A price that no feed has younger is returned up to ``most``; the caller checks its ``at``.
    """

    asked: dt.datetime
    wanted: dt.timedelta
    most: dt.timedelta


@dataclass(frozen=True, slots=True)
class Report:
    """What was learnt about one feed account."""

    pk: int
    quote_at: dt.datetime | None
    problem: str
    samples: Sequence[float]


@dataclass(frozen=True, slots=True)
class Found:
    """Quotes by key, the time of the answer, and what each feed lacks, as text."""

    quotes: Mapping[str, Quote]
    at: dt.datetime
    trouble: str
    reports: Sequence[Report]


# -- asking (on the feeds' loop) -------------------------------------------------------------
async def collect(
    loop: FeedLoop,
    feeds: Sequence[Feed],
    names: Mapping[str, Names],
    keys: Collection[str],
    ages: Ages,
    need: Need,
) -> Found:
    """The first feed's quotes; after 300 ms the next one is asked for what is missing.

    A quote's age is checked when the answer arrives. The caller gives up after :data:`PATIENCE`;
    the feeds continue, and a late answer serves the next request.
    """
    question = _Question(keys, ages, need)
    pending: set[asyncio.Task[None]] = set()
    for feed in feeds:
        missing = question.missing()
        if not missing:
            break
        line = loop.line(feed)
        question.lines.append(line)
        asked = {key: name for key, name in names.get(feed.broker, {}).items() if key in missing}
        if not asked:
            continue
        pending.add(asyncio.create_task(line.fetch(asked, Urgency(need), question.until)))
        if line.waits(Urgency(need)) <= FIRST_SECONDS or feed is feeds[-1]:
            _, pending = await asyncio.wait(pending, timeout=FIRST_SECONDS)
    while pending and question.missing() and (left := question.until - clock.monotonic()) > 0:
        _, pending = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
    return question.found()


class _Question:
    """One request in progress, and the lines that were asked."""

    def __init__(self, keys: Collection[str], ages: Ages, need: Need) -> None:
        self._keys = keys
        self._ages = ages
        self._need = need
        self._began = clock.monotonic()
        self.until = self._began + PATIENCE[need]
        self.lines: list[Line] = []

    def now(self) -> dt.datetime:
        """The current time on the caller's clock."""
        return self._ages.asked + dt.timedelta(seconds=clock.monotonic() - self._began)

    def quotes(self) -> dict[str, Quote]:
        """By key: the quote of the first feed that is young enough, otherwise the youngest."""
        now = self.now()
        quotes: dict[str, Quote] = {}
        for line in self.lines:
            for key in self._keys:
                heard = line.heard.get(key)
                if heard is None or not fresh(heard.row, now=now, max_age=self._ages.most):
                    continue
                known = quotes.get(key)
                is_young = known is not None and known.at >= now - self._ages.wanted
                if known is None or (not is_young and heard.row.at > known.at):
                    quotes[key] = as_quote(heard.row, line.feed.name)
        return quotes

    def missing(self) -> set[str]:
        """Keys without a quote that is young enough."""
        oldest = self.now() - self._ages.wanted
        return {*self._keys} - {k for k, quote in self.quotes().items() if quote.at >= oldest}

    def found(self) -> Found:
        """The current result."""
        quotes, missing = self.quotes(), self.missing()
        reasons = [f"{line.feed.name}: {self._why(line, missing)}" for line in self.lines]
        return Found(
            quotes=quotes,
            at=self.now(),
            trouble="; ".join(reasons) if missing else "",
            reports=[_report(line) for line in self.lines],
        )

    def _why(self, line: Line, missing: Collection[str]) -> str:
        off = clock_skew.words(line.skew.samples)
        if off:
            return off
        if line.problem:
            return line.problem
        heard = [line.heard[key].row.at for key in missing if key in line.heard]
        if heard:
            return f"its last price is of {moment_text(max(heard), seconds=True, year=False)}"
        wait = line.waits(Urgency(self._need))
        return f"may be asked again in {wait:.1f} s" if wait > 0 else "gave no price in time"


def _report(line: Line) -> Report:
    return Report(line.feed.pk, line.newest, line.problem, tuple(line.skew.samples))


def as_quote(row: QuoteRow, source: str) -> Quote:
    """A broker's quote in the form of the port; ``source`` names the feed."""
    return Quote(
        last=row.last_price,
        bid=row.bid,
        ask=row.ask,
        at=row.at,
        source=source,
        traded_at=row.traded_at,
        lowest=row.band.low if row.band else None,
        highest=row.band.high if row.band else None,
    )


# -- the port --------------------------------------------------------------------------------
class FeedQuotes:
    """Marketplace's ``QuoteSource`` over the feed accounts (executor, console).

    A quote within ``wanted_age`` is taken from the first feed that has it; if no feed has one, the
    youngest within ``max_age`` is returned and the caller checks its ``at``. By default the ages
    are the limits for entries and risk rules (settings).
    """

    def __init__(
        self, wanted_age: dt.timedelta | None = None, max_age: dt.timedelta | None = None
    ) -> None:
        self._wanted_age = wanted_age
        self._max_age = max_age
        self._levels: dict[str, Decimal] = {}
        self._reported: dict[int, float] = {}

    def read(
        self,
        underlyings: Collection[str],
        contract_ids: Collection[int],
        *,
        now: dt.datetime,
        need: Need = Need.PAGE,
    ) -> Market:
        """Levels and quotes in one request; what no feed knows is omitted.

        Waits up to :data:`PATIENCE` seconds, in the caller's thread.
        """
        keys = [*map(spot_key, underlyings), *map(contract_key, contract_ids)]
        feeds = load_feeds(now)
        if not keys or not feeds:
            return Market({}, {}, now, "" if feeds else "no feed account is logged in")
        names = load_names(
            {feed.broker for feed in feeds}, underlyings=underlyings, contract_ids=contract_ids
        )
        loop, ages = feed_loop(), self._ages(now, need)
        answer = loop.run(collect(loop, feeds, names, keys, ages, need), PATIENCE[need])
        if need is not Need.PAGE:
            self._report(answer.reports, now)
        quotes = answer.quotes
        spots = {name: quotes[key] for name in underlyings if (key := spot_key(name)) in quotes}
        self._levels |= {name: quote.last for name, quote in spots.items()}
        return Market(
            spots=spots,
            quotes={pk: quotes[key] for pk in contract_ids if (key := contract_key(pk)) in quotes},
            at=answer.at,
            trouble=answer.trouble,
        )

    def last_level(self, underlying: str) -> Decimal | None:
        """The last known level, however old; asks nobody."""
        return self._levels.get(underlying)

    def spot(self, underlyings: Collection[str], *, now: dt.datetime) -> Mapping[str, Quote]:
        """Index levels by underlying symbol, for a page; what no feed knows is omitted."""
        return self.read(underlyings, (), now=now).spots

    def quotes(
        self, contract_ids: Collection[int], *, now: dt.datetime, need: Need = Need.PAGE
    ) -> Mapping[int, Quote]:
        """Quotes by contract id; what no feed knows is omitted."""
        return self.read((), contract_ids, now=now, need=need).quotes

    def _ages(self, now: dt.datetime, need: Need) -> Ages:
        entry = _seconds(settings.QUANTLEAP_QUOTE_MAX_AGE_ENTRY)
        risk = _seconds(settings.QUANTLEAP_QUOTE_MAX_AGE_RISK)
        wanted_age = self._wanted_age or (risk if need is Need.RISK else entry)
        return Ages(now, wanted_age, self._max_age or risk)

    def _report(self, reports: Sequence[Report], now: dt.datetime) -> None:
        """Write to the feed accounts what the engine has learnt, so that nobody has to ask for
        it."""
        for report in reports:
            if clock.monotonic() - self._reported.get(report.pk, -1e9) < REPORT_SECONDS:
                continue
            self._reported[report.pk] = clock.monotonic()
            known = {"quote_at": report.quote_at} if report.quote_at is not None else {}
            off = clock_skew.words(report.samples)
            FeedAccount.objects.filter(pk=report.pk).update(
                read_at=now,
                used_at=now,
                problem=(off or report.problem)[:200],
                clock_samples=[round(sample, 3) for sample in report.samples],
                **known,
            )
            if off:
                log.error("feed_clock_off", feed=report.pk, skew=clock_skew.median(report.samples))


def _seconds(value: float) -> dt.timedelta:
    return dt.timedelta(seconds=value)


PLATFORM_QUOTES: Final = FeedQuotes()
