"""Which contract lists are needed, which are current, and when the next attempt is due.

Kite writes its list once a day and recommends fetching it at about half past eight
(https://kite.trade/docs/connect/v3/market-quotes/#instruments); Noren's is available by then too.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from django.http import HttpRequest
from django.urls import reverse

from brokers.endpoints import is_enabled
from brokers.models import ContractListImport
from brokers.registry import get_adapter, live_kinds
from marketplace.calendar import TradingCalendar
from marketplace.selectors import exchanges_traded, load_calendar
from quantleap.core import clock
from quantleap.core.console import Tile
from quantleap.core.dates import day_text
from quantleap.core.json_cache import CacheUnavailable, recall, remember

#: IST; by then the brokers' lists of the day are available.
IMPORT_FROM: Final = dt.time(8, 30)
#: Time between two attempts, before the open and after it.
RETRY: Final = dt.timedelta(minutes=2)
RETRY_LATE: Final = dt.timedelta(minutes=10)
#: An import that has not ended after this time has lost its worker.
LOST: Final = dt.timedelta(minutes=10)
TITLE: Final = "Contract lists"
_DEFAULT_EXCHANGE: Final = "NFO"

#: Broker and exchange.
ListKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class ListState:
    """State of one list: the day of the newest import, and the newest attempt."""

    key: ListKey
    newest: dt.date | None
    last: ContractListImport | None

    @property
    def is_open(self) -> bool:
        """Whether an attempt waits or runs."""
        return self.last is not None and self.last.state in ContractListImport.OPEN

    @property
    def name(self) -> str:
        """Its readable name: ``Zebu NFO``."""
        return list_name(self.key)


def list_name(key: ListKey) -> str:
    """A readable name: ``Zebu NFO``."""
    return f"{key[0].capitalize()} {key[1]}"


def offered_lists() -> list[ListKey]:
    """Every list that can be requested: all exchanges of every enabled broker."""
    return sorted(
        (kind, exchange)
        for kind in live_kinds()
        if is_enabled(kind)
        for exchange in get_adapter(kind).capabilities.derivative_exchanges
    )


def wanted_lists() -> list[ListKey]:
    """The lists to fetch every day, of every enabled broker (two queries).

    NFO, every exchange on which published templates trade, and every list imported before.
    """
    exchanges = exchanges_traded() | {_DEFAULT_EXCHANGE}
    before = set(
        ContractListImport.objects.filter(state=ContractListImport.State.DONE)
        .order_by()
        .values_list("broker", "exchange")
        .distinct()
    )
    return [key for key in offered_lists() if key[1] in exchanges or key in before]


def list_states() -> list[ListState]:
    """Every wanted list with its newest import and its newest attempt (four small queries)."""
    rows = ContractListImport.objects.order_by("broker", "exchange", "-id")
    tries = rows.distinct("broker", "exchange")
    last = {(row.broker, row.exchange): row for row in tries}
    done = rows.filter(state=ContractListImport.State.DONE).distinct("broker", "exchange")
    newest: Mapping[ListKey, dt.date] = {(row.broker, row.exchange): row.trade_date for row in done}
    return [ListState(key, newest.get(key), last.get(key)) for key in wanted_lists()]


def is_import_time(calendar: TradingCalendar, now: dt.datetime) -> bool:
    """Whether today's lists should be available or be fetched: on a trading day, from 08:30 to the
    close."""
    day = clock.ist_date(now)
    session = calendar.session(day, special_ok=True)
    return session is not None and clock.at_ist(day, IMPORT_FROM) <= now < session.closes


def is_due(state: ListState, calendar: TradingCalendar, now: dt.datetime) -> bool:
    """Whether a list should be fetched now: it is not today's, none is being fetched, and the last
    attempt is long enough ago."""
    day = clock.ist_date(now)
    if state.newest == day or state.is_open or not is_import_time(calendar, now):
        return False
    last = state.last
    if last is None or last.finished_at is None or last.trade_date != day:
        return True
    session = calendar.session(day, special_ok=True)
    before_open = session is not None and now < session.opens
    return now - last.finished_at >= (RETRY if before_open else RETRY_LATE)


def contract_lists_today(request: HttpRequest, now: dt.datetime) -> Sequence[Tile]:
    """The first page's tile; nothing for users who may not view contract lists."""
    if not request.user.has_perm("brokers.view_contractlistimport"):
        return []
    return [contract_tile(list_states(), load_calendar(), now)]


def contract_tile(states: Sequence[ListState], calendar: TradingCalendar, now: dt.datetime) -> Tile:
    """Red on a trading day from 08:30 to the close unless every list is today's."""
    link = reverse("admin:brokers_contractlistimport_changelist")
    day = clock.ist_date(now)
    missing = [state for state in states if state.newest is None]
    old = [state for state in states if state.newest != day]
    if not states:
        return Tile(TITLE, "No broker", "no broker is enabled yet", link, "warn")
    if not old:
        return Tile(TITLE, "Today's", ", ".join(state.name for state in states), link, "good")
    if is_import_time(calendar, now) or missing:
        worst = (missing or old)[0]
        value = "None" if missing else "Not today's"
        return Tile(TITLE, value, f"{worst.name}: {_why(worst)}; import it now", link, "bad")
    oldest = min(state.newest for state in states if state.newest is not None)
    ahead = calendar.session(day, special_ok=True)
    if ahead is not None and now < clock.at_ist(day, IMPORT_FROM):
        note = f"imported from {IMPORT_FROM:%H:%M} IST on"
    else:
        note = "the next is fetched before the next session opens"
    return Tile(TITLE, day_text(oldest, year=False), note, link)


def _why(state: ListState) -> str:
    """Why a list is not today's: what is happening to it, or what went wrong."""
    last = state.last
    if last is not None and state.is_open:
        return progress_of(last.pk) or "waits for a worker"
    if last is not None and last.state == ContractListImport.State.FAILED:
        return last.problem.rstrip(".")
    return f"last of {day_text(state.newest, year=False)}" if state.newest else "never imported"


def progress_of(import_id: int) -> str:
    """The progress of a running import, as text; '' if it is unknown (the cache may be lost)."""
    try:
        return str(recall(_progress_key(import_id)) or "")
    except CacheUnavailable:
        return ""


def tell_progress(import_id: int, text: str) -> None:
    """Report the progress; without a cache nobody sees it, and the import continues."""
    remember(_progress_key(import_id), text, int(LOST.total_seconds()))


def _progress_key(import_id: int) -> str:
    return f"contract-list-import:{import_id}"
