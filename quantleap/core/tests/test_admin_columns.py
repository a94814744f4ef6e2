"""The output of the console's money columns."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from types import SimpleNamespace

import pytest

from quantleap.core.admin_columns import NONE, days, in_rupees, mark, plain, rupees, share, table


def test_money_is_grouped_and_named_for_the_style_sheet() -> None:
    column = rupees("total")
    shown = column(SimpleNamespace(total=Decimal("117882")))
    assert shown == '<span class="ql-money">₹1,17,882.00</span>'
    assert (str(column), column.short_description) == ("total_money", "Total")
    assert column.admin_order_field == "total"


def test_what_is_no_column_is_read_and_cannot_be_ordered_by() -> None:
    column = rupees("owed", "Outstanding", read=lambda row: row.total - row.paid)
    assert "₹1.50" in column(SimpleNamespace(total=Decimal("2.00"), paid=Decimal("0.50")))
    assert not hasattr(column, "admin_order_field")
    assert in_rupees(None) == NONE


@pytest.mark.parametrize(
    ("points", "shown"), [(3000, "30 %"), (10_000, "100 %"), (1250, "12.5 %"), (1, "0.01 %")]
)
def test_basis_points_are_percent(points: int, shown: str) -> None:
    assert share("bps")(SimpleNamespace(bps=points)) == shown


def test_a_mark_stands_only_where_it_says_something() -> None:
    column = mark("needs_review", "to review")
    assert "to review" in column(SimpleNamespace(needs_review=True))
    assert column(SimpleNamespace(needs_review=False)) == NONE


def test_markup_in_a_value_stays_text() -> None:
    assert plain("name")(SimpleNamespace(name="<b>x</b>")) == "<b>x</b>"  # escaped where it is put
    shown = table(("What",), [("<script>",)])
    assert "&lt;script&gt;" in shown
    assert "<script>" not in shown


def test_a_table_aligns_money_and_formats_dates() -> None:
    shown = table(("Day", "Rupees"), [(dt.date(2026, 11, 5), "₹1.00")], money=1)
    assert '<td class="">5 Nov 2026</td><td class="ql-right">₹1.00</td>' in shown
    assert table(("Day",), [], empty="Nobody.") == "Nobody."


def test_days_name_a_year_once() -> None:
    assert days(dt.date(2026, 8, 4), dt.date(2026, 9, 3)) == "4 Aug – 3 Sep 2026"
    assert days(dt.date(2026, 12, 21), dt.date(2027, 1, 20)) == "21 Dec 2026 – 20 Jan 2027"
