"""Navigation, first page, search and environment badge of the console."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from quantleap.core import clock
from quantleap.core.client_ip import caller_address
from quantleap.core.dates import day_text
from quantleap.core.ports import Handlers
from quantleap.core.production_checks import is_production
from quantleap.core.request_context import staff_at


class ConsoleMiddleware:
    """Switches the console to IST, and records the address of its users for the audit log."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path.startswith(STAFF_PAGES):
            return self.get_response(request)
        address = caller_address(request)
        with timezone.override(clock.IST), staff_at(str(address) if address else None):
            return self.get_response(request)


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure of the first page. ``tone``: '' (plain), 'good', 'warn' or 'bad'; ``link`` an
    address."""

    title: str
    value: str
    note: str = ""
    link: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """A table cell, with an optional link, and a tone as in :class:`Tile`."""

    text: str
    link: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """A small table of a page; ``empty`` explains the absence of rows, ``all`` links to more
    rows."""

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    empty: str = "Nothing."
    all: Cell | None = None


#: The number of rows in a panel of the newest ones, and the limit for counting the rest.
NEWEST: Final = 5
_COUNTED: Final = 1000


def newest(
    title: str,
    rows: QuerySet[Any],
    address: Mapping[str, str | int],
    headers: tuple[str, ...],
    show: Callable[[Any], tuple[Cell, ...]],
    empty: str,
) -> Panel:
    """The newest few of ``rows``, their number, and a link to the list with all of them (2
    queries).

    ``address`` holds the query parameters of that list, for example ``{"customer__id__exact": 5}``.
    """
    shown = tuple(show(row) for row in rows.order_by("-pk")[:NEWEST])
    options = rows.model._meta
    url = reverse(f"admin:{options.app_label}_{options.model_name}_changelist")
    count = rows.order_by()[: _COUNTED + 1].count()
    words = f"All {count}" if count <= _COUNTED else f"More than {_COUNTED:,}"
    return Panel(title, headers, shown, empty, Cell(words, f"{url}?{urlencode(address)}"))


def page_of(row: Model) -> str:
    """The address of a row's page."""
    options = row._meta
    return reverse(f"admin:{options.app_label}_{options.model_name}_change", args=[row.pk])


def day_cell(day: dt.date | dt.datetime) -> Cell:
    """The date of a time in IST: ``4 Aug 2026``."""
    local = clock.ist_date(day) if isinstance(day, dt.datetime) else day
    return Cell(day_text(local))


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that needs a person today: what, why in one sentence, and where to go.

    ``count`` is how many there are of it; ``way_out`` names the page that ``link`` opens.
    """

    what: str
    why: str
    link: str
    way_out: str
    count: int = 1


class TodaySource(Protocol):
    """A room's part of the first page, in a constant number of queries.

    It must leave out what the person may not view. Every 'bad' tile and every alarm counts as
    something that needs a person.
    """

    def __call__(
        self, request: HttpRequest, now: dt.datetime
    ) -> Sequence[Tile | Panel | Alarm]: ...


#: Filled by the rooms in AppConfig.ready, in the order of the rooms.
TODAY: Final[Handlers[TodaySource]] = Handlers("console.today")


def today(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Context of the first page: what needs a person, then tiles and panels of all rooms."""
    now = clock.now()
    items = [item for source in TODAY.all() for item in source(request, now)]
    tiles = [item for item in items if isinstance(item, Tile)]
    alarms = [item for item in items if isinstance(item, Alarm)]
    alarms += [_alarm(tile) for tile in tiles if tile.tone == "bad"]
    panels = [item for item in items if isinstance(item, Panel)]
    return {
        **context,
        "now": now,
        "alarms": alarms,
        "tiles": [_attention(alarms), *tiles] if items else [],
        "panels": panels[::-1],  # what happened today before what is planned
    }


def _alarm(tile: Tile) -> Alarm:
    """A red tile as an entry of the list of what needs a person, so that the two never disagree."""
    return Alarm(f"{tile.title}: {tile.value}", tile.note, tile.link, "Open")


def _attention(alarms: Sequence[Alarm]) -> Tile:
    count = sum(alarm.count for alarm in alarms)
    if not count:
        return Tile("Attention", "0", "nothing here needs a person", "", "good")
    note = "things need a person" if count > 1 else "thing needs a person"
    return Tile("Attention", str(count), note, "#attention", "bad")


class Link(NamedTuple):
    """One line of the sidebar: a model's list. ``model`` is its label, such as
    ``core.AuditEntry``."""

    title: str
    icon: str
    model: str


CONSOLE: Final = "/admin/"
#: Paths that staff use: the console, and the page to which brokers redirect them after a login.
STAFF_PAGES: Final = (CONSOLE, "/broker-login/")

#: The groups of the sidebar in their order, and whether each can be folded.
GROUPS: Final[Mapping[str, bool]] = {
    "Strategies": False,
    "Trading day": False,
    "Partners": False,
    "Brokers": False,
    "Money": False,
    "System": True,
}


@dataclass(frozen=True, slots=True)
class Section:
    """Lines that a room adds to a group of the sidebar.

    ``place`` orders the sections of a group. A model without a page is left out.
    """

    group: str
    links: tuple[Link, ...]
    place: int = 0


#: Filled by the rooms in AppConfig.ready.
NAVIGATION: Final[Handlers[Section]] = Handlers("console.navigation")


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The sidebar as this person may see it."""
    groups: list[dict[str, Any]] = [
        {
            "items": [
                {"title": "Today", "icon": "dashboard", "link": reverse("admin:index")},
            ]
        }
    ]
    sections = sorted(NAVIGATION.all(), key=lambda section: section.place)
    for title, collapsible in GROUPS.items():
        links = (link for section in sections if section.group == title for link in section.links)
        items = [item for link in links if (item := _item(link, request)) is not None]
        if items:
            groups.append(
                {"title": title, "separator": True, "collapsible": collapsible, "items": items}
            )
    return groups


def _item(link: Link, request: HttpRequest) -> dict[str, Any] | None:
    try:
        model = apps.get_model(link.model)
    except LookupError:
        return None
    page = admin.site._registry.get(model)
    if page is None or not page.has_view_permission(request):
        return None
    options = model._meta
    url = reverse(f"admin:{options.app_label}_{options.model_name}_changelist")
    return {"title": link.title, "icon": link.icon, "link": url}


def search(request: HttpRequest) -> HttpResponse:
    """The pages whose sidebar name contains the search term (``s``); needs no database query.

    With ``extended`` for the palette that Ctrl+K opens. Wrapped in ``admin_view``.
    """
    term = request.GET.get("s", "").strip().casefold()
    if not term:
        return HttpResponse()
    results = [
        {**item, "description": group.get("title", "")}
        for group in navigation(request)
        for item in group["items"]
        if term in f"{item['title']} {group.get('title', '')}".casefold()
    ]
    extended = "extended" in request.GET
    return TemplateResponse(
        request,
        f"unfold/helpers/{'command' if extended else 'search'}_results.html",
        {"results": results, "page_obj": {"count": len(results)}, "page_counter": 0},
        headers={"HX-Trigger": "search"},
    )


def environment(_request: HttpRequest) -> list[str]:
    """The badge beside the title that identifies this installation."""
    if is_production(settings):
        live = ", ".join(settings.QUANTLEAP_LIVE_BROKERS)
        return [f"Live: {live}", "danger"] if live else ["Production", "warning"]
    if settings.QUANTLEAP_SIMULATOR_URL:
        return ["Simulated brokers", "info"]
    return [settings.QUANTLEAP_PROFILE.capitalize(), "info"]
