"""Shared parts of the trading day's pages: kill switch button, pagination, filters."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from unfold.enums import ActionVariant

from execution.selectors import engaged_switches
from quantleap.core.admin import action

PER_PAGE: Final = 25


class KillButtonMixin:
    """Adds a button to the kill switch's confirmation page, and the pages' stylesheet."""

    class Media:
        css = {"all": ("execution/day.css",)}

    actions_list: tuple[str, ...] = ("stop_entries",)
    actions_detail: tuple[str, ...] = ("stop_entries_here",)

    def has_kill_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may engage the kill switch."""
        return request.user.has_perm("execution.add_killswitch")

    @action(
        description="Stop all new entries",
        url_path="stop-entries",
        permissions=["kill"],
        icon="dangerous",
        variant=ActionVariant.DANGER,
    )
    def stop_entries(self, request: HttpRequest) -> HttpResponse:
        """Redirect to the confirmation page."""
        return HttpResponseRedirect(reverse("admin:execution_killswitch_add"))

    @action(
        description="Stop all new entries",
        url_path="stop-entries-here",
        permissions=["kill"],
        icon="dangerous",
        variant=ActionVariant.DANGER,
    )
    def stop_entries_here(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Redirect to the confirmation page."""
        return HttpResponseRedirect(reverse("admin:execution_killswitch_add"))


def kill_context(template_id: int | None = None) -> dict[str, Any]:
    """Context with the engaged switches that apply, and the URLs to engage one (2 queries)."""
    add = reverse("admin:execution_killswitch_add")
    return {
        "engaged": [
            shown
            for shown in engaged_switches()
            if template_id is None or shown.switch.target_id in (None, template_id)
        ],
        "kill_platform_url": add,
        "kill_template_url": f"{add}?template={template_id}" if template_id else "",
    }


class Page:
    """One page of a list, without a count query; its links keep the other query parameters.

    Reads keys first, then full rows (2 queries): joining a run's 20,000 orders to show 25 of them
    would take most of the page's time.
    """

    def __init__(self, request: HttpRequest, queryset: QuerySet[Any], prefix: str) -> None:
        text = request.GET.get(f"{prefix}_page", "1")
        self.number = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 1
        self.number = max(1, self.number)
        start = (self.number - 1) * PER_PAGE
        keys = list(queryset.values_list("pk", flat=True)[start : start + PER_PAGE + 1])
        by_key = {row.pk: row for row in queryset.filter(pk__in=keys[:PER_PAGE]).order_by()}
        self.rows = [by_key[key] for key in keys[:PER_PAGE] if key in by_key]
        self.has_next = len(keys) > PER_PAGE
        self._request = request
        self._prefix = prefix

    def _url(self, number: int) -> str:
        parameters = {key: value for key, value in self._request.GET.items() if value}
        return f"?{urlencode({**parameters, f'{self._prefix}_page': number})}#{self._prefix}"

    @property
    def next_url(self) -> str:
        """URL of the next page; '' on the last one."""
        return self._url(self.number + 1) if self.has_next else ""

    @property
    def previous_url(self) -> str:
        """URL of the previous page; '' on the first one."""
        return self._url(self.number - 1) if self.number > 1 else ""


def wide(text: str) -> str:
    """A sentence in a cell that stays wide enough to read; a dash for none."""
    return format_html('<div class="qd-wide">{}</div>', text) if text else "-"


def chosen(request: HttpRequest, name: str, allowed: tuple[str, ...] | list[str]) -> str:
    """The value of query parameter ``name`` if it is in ``allowed``, else ''."""
    value = request.GET.get(name, "")
    return value if value in allowed else ""
