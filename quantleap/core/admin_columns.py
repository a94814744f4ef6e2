"""Columns and fields of the console for money, related rows and flags.

Each function returns a callable for ``list_display``, and for ``fields`` of a page without a form.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

from django.contrib.admin.utils import display_for_value
from django.db.models import Model
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from quantleap.core.dates import day_text
from quantleap.core.decimals import trimmed
from quantleap.core.money import RUPEE, grouped

NONE: Final = "–"

Column = Callable[[Any], "SafeString | str"]
# The stubs do not know that callables may replace names of columns.
Shown = Any


def in_rupees(amount: Decimal | None) -> str:
    """``₹1,17,882.00``; a dash for None."""
    return NONE if amount is None else grouped(amount, RUPEE)


def rupees(
    name: str, label: str = "", *, read: Callable[[Any], Decimal | None] | None = None
) -> Shown:
    """A right-aligned amount, grouped as in India. ``read`` computes it if it is no column of the
    table."""

    def column(row: Any) -> SafeString:
        amount = getattr(row, name) if read is None else read(row)
        return format_html('<span class="ql-money">{}</span>', in_rupees(amount))

    ordering = name if read is None else None
    return _with_heading(column, name, label, ordering=ordering, money=True)


def linked(name: str, label: str = "", *, shows: str = "") -> Shown:
    """A link to a related row, labelled by its name (or its attribute ``shows``); a dash if there
    is none."""

    def column(row: Any) -> SafeString | str:
        related = getattr(row, name)
        return (
            NONE if related is None else link_to(related, getattr(related, shows) if shows else "")
        )

    return _with_heading(column, name, label, ordering=None)


def share(name: str, label: str = "Share") -> Shown:
    """Basis points as a percentage: ``30 %``."""

    def column(row: Any) -> str:
        return f"{trimmed(Decimal(getattr(row, name)) / 100)} %"

    return _with_heading(column, name, label, ordering=name)


def plain(name: str, label: str = "") -> Shown:
    """A field as it is, without the help text of its form."""

    def column(row: Any) -> str:
        return str(display_for_value(getattr(row, name), NONE)) or NONE

    return _with_heading(column, name, label, ordering=name)


def lines(name: str, label: str = "") -> Shown:
    """A longer text with its line breaks, such as a mail."""

    def column(row: Any) -> SafeString:
        return format_html('<span class="ql-lines">{}</span>', getattr(row, name) or NONE)

    return _with_heading(column, name, label, ordering=None)


def mark(name: str, says: str, label: str = "") -> Shown:
    """A flag, as a text where it is set: most rows have none."""

    def column(row: Any) -> SafeString | str:
        return format_html('<span class="ql-mark">{}</span>', says) if getattr(row, name) else NONE

    return _with_heading(column, name, label, ordering=name)


def itself(name: str, label: str = "") -> Shown:
    """A link to the row's own page, for rows shown on another row's page."""

    def column(row: Any) -> SafeString | str:
        return link_to(row, getattr(row, name))

    return _with_heading(column, name, label, ordering=None)


def link_to(row: Model, text: object = "") -> SafeString | str:
    """A link to the page of a row; plain text if the row has no page."""
    options = row._meta
    try:
        url = reverse(f"admin:{options.app_label}_{options.model_name}_change", args=[row.pk])
    except NoReverseMatch:
        return str(text or row)
    return format_html('<a class="ql-link" href="{}">{}</a>', url, text or row)


def lists(links: Iterable[tuple[str, str, str]]) -> SafeString:
    """Links to filtered lists: ``(text, "app_model", "field=value")`` each."""
    return format_html_join(
        " · ",
        '<a class="ql-link" href="{}?{}">{}</a>',
        ((reverse(f"admin:{name}_changelist"), query, text) for text, name, query in links),
    )


def table(
    headers: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    money: int = 0,
    empty: str = "Nothing.",
) -> SafeString | str:
    """A small table inside a page; the last ``money`` columns are right-aligned."""
    cells = [[_cell(value) for value in row] for row in rows]
    if not cells:
        return empty
    styles = [""] * (len(headers) - money) + ["ql-right"] * money
    head = format_html_join("", '<th class="{}">{}</th>', zip(styles, headers, strict=True))
    body = format_html_join(
        "",
        "<tr>{}</tr>",
        (
            (format_html_join("", '<td class="{}">{}</td>', zip(styles, row, strict=True)),)
            for row in cells
        ),
    )
    return format_html(
        '<div class="ql-scroll" tabindex="0"><table class="ql-table"><tr>{}</tr>{}</table></div>',
        head,
        body,
    )


def _cell(value: object) -> object:
    """Dates in the console's format."""
    return display_for_value(value, NONE) if isinstance(value, dt.date) else value


def days(first: dt.date, last: dt.date) -> str:
    """A range of days, both included: ``4 Aug – 3 Sep 2026``."""
    return f"{day_text(first, year=first.year != last.year)} – {day_text(last)}"


class _Column:
    """The attributes that Django expects of a callable column. Its text becomes part of CSS
    classes.

    The name must not be that of a field, or the field's help text would be shown too.
    """

    do_not_call_in_templates = True

    def __init__(self, show: Column, name: str, label: str, ordering: str | None) -> None:
        self.show = show
        self.__name__ = name
        self.short_description = label
        if ordering is not None:
            self.admin_order_field = ordering

    def __call__(self, row: Any) -> SafeString | str:
        return self.show(row)

    def __str__(self) -> str:
        return self.__name__


def _with_heading(
    column: Column, name: str, label: str, *, ordering: str | None, money: bool = False
) -> Shown:
    heading = label or name.replace("_", " ").capitalize()
    return _Column(column, f"{name}_{'money' if money else 'shown'}", heading, ordering)
