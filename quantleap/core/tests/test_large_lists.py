"""Large lists: search, messages without a match, depth, queries."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.filters import AllValuesFieldListFilter, RelatedFieldListFilter
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from quantleap.core import large_lists as lists
from quantleap.core.audit import SYSTEM, record
from quantleap.core.large_lists import SizedListMixin, about, found_by, values_of
from quantleap.core.models import AuditEntry, StaffUser

AUDIT = "/admin/core/auditentry/"
#: Filters that offer the rows of a small table.
SMALL = {"underlying", "contract__underlying"}


def large() -> list[Any]:
    return [page for page in admin.site._registry.values() if isinstance(page, SizedListMixin)]


def list_of(page: Any) -> str:
    return reverse(f"admin:{page.opts.app_label}_{page.opts.model_name}_changelist")


def text(answer: Any) -> str:
    return " ".join(answer.content.decode().split())


@pytest.fixture
def staff(db: None) -> Client:
    client = Client()
    client.force_login(StaffUser.objects.create_superuser("staff"))
    return client


def act(action: str, target: str = "sub_1") -> None:
    record(actor=SYSTEM, action=action, target_type="subscription", target_id=target)


# -- every large list -----------------------------------------------------------------------------
def test_every_large_list_explains_its_search(
    staff: Client,
) -> None:
    """And what to do if nothing matches."""
    tried = 0
    for page in large():
        if not page.searches:
            continue
        shown = text(staff.get(list_of(page), {"q": "zzqqxx"}))
        assert "match “zzqqxx”" in shown, page
        assert shown.count("The search finds") == 2, page
        assert page.searches[0].words in shown.replace("&#x27;", "'"), page
        assert "Show all" in shown, page
        tried += 1
    assert tried >= 18


def test_every_large_list_goes_back_so_far_and_says_so(staff: Client) -> None:
    for page in large():
        deep = text(staff.get(list_of(page), {"p": str(lists.MOST_PAGES + 1)}))
        assert "Too far back" in deep, page
        assert "Filter or search for older ones" in deep, page


def test_no_large_list_scans_its_table(staff: Client) -> None:
    """Neither for its filters nor for its length."""
    for page in large():
        with CaptureQueriesContext(connection) as seen:
            assert staff.get(list_of(page)).status_code == 200, page
        asked = [query["sql"] for query in seen.captured_queries]
        values = [sql for sql in asked if 'SELECT DISTINCT "' in sql and "WHERE" not in sql]
        assert not values, page
        whole = [sql for sql in asked if "COUNT(*)" in sql and "LIMIT" not in sql]
        assert not [sql for sql in whole if page.opts.db_table in sql], page
        assert len(asked) <= 14, (page, len(asked))


def test_no_filter_of_a_large_list_offers_all_values_or_all_rows() -> None:
    request = RequestFactory().get("/")
    request.user = StaffUser(is_superuser=True, is_active=True)
    for page in large():
        for entry in page.get_list_filter(request):
            field, kind = entry if isinstance(entry, tuple) else (entry, None)
            if kind is None and isinstance(field, str):
                model_field = page.model._meta.get_field(field.partition("__")[0])
                plain = not model_field.is_relation and not model_field.flatchoices
                assert field in SMALL or not model_field.is_relation, (page, field)
                assert not plain or not isinstance(model_field, _texts()), (page, field)
            elif kind is not None and issubclass(kind, RelatedFieldListFilter):
                assert "Autocomplete" in kind.__name__, (page, field)
            elif kind is not None:
                assert not issubclass(kind, AllValuesFieldListFilter), (page, field)


def _texts() -> tuple[type, ...]:
    from django.db import models

    return (models.CharField, models.TextField)


# -- search ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("sub_4711", 1), ("sub_47", 2), ("47", 0), ("system", 3), ("paused", 1), ("PAUSED", 1),
        ("subscription.", 2), ("%", 0), ("_", 0), ("sub_4711\0", 0),
    ],
)  # fmt: skip
def test_audit_search_by_id_prefix_and_action(staff: Client, term: str, expected: int) -> None:
    act("subscription.paused", "sub_4711")
    act("subscription.resumed", "sub_4712")
    act("key.revoked", "key_1")
    rows, more = found_by(AuditEntry.objects.all(), _searches(AuditEntry), term)
    assert (rows.count(), more) == (expected, False)


def _searches(model: Any) -> Any:
    return admin.site._registry[model].searches  # type: ignore[attr-defined]  # ours


def test_every_beginning_is_read_along_an_index_of_its_own(staff: Client) -> None:
    """26000047 of a broker's growing numbers: a million rows were read, and took 367 ms."""
    tried = 0
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_bitmapscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
    for page in large():
        for search in page.searches:
            condition = search.condition("4711")
            if condition.rows is None or condition.along is None:
                continue
            rows = page.model._default_manager.filter(condition.rows)
            plan = rows.order_by(condition.along).values("pk")[:5000].explain()
            assert "Scan Backward using" in plan, (page, search.words, plan)
            assert "Sort" not in plan, (page, search.words, plan)
            tried += 1
    assert tried >= 12


def test_more_than_is_shown_is_said(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        act("subscription.paused", f"sub_{number}")
    monkeypatch.setattr(lists, "MOST_FOUND", 3)
    shown = staff.get(AUDIT, {"q": "sub_"})
    assert "More rows match “sub_” than are shown" in text(shown)
    assert "sub_0" not in text(shown), "the oldest one is left out"
    assert "More rows match" not in text(staff.get(AUDIT, {"q": "sub_3"}))


def test_no_match_offers_ways_out(staff: Client) -> None:
    act("subscription.paused")
    page = text(staff.get(AUDIT, {"q": "nobody", "actor_kind__exact": "STAFF"}))
    assert "No audit entries match “nobody” and the filters." in page
    assert 'href="?actor_kind__exact=STAFF" class="ql-link">Clear the search' in page
    assert 'href="?q=nobody" class="ql-link">Clear the filters' in page


# -- pages and sizes ------------------------------------------------------------------------------
def test_pages_follow_each_other_without_a_gap(
    staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        act("subscription.paused", f"sub_{number}")
    page = admin.site._registry[AuditEntry]
    monkeypatch.setattr(page, "list_per_page", 2)
    seen: list[str] = []
    for number in (1, 2, 3):
        answer = staff.get(AUDIT, {"p": str(number)})
        changelist = answer.context["cl"]
        seen += [row.target_id for row in changelist.result_list]
        assert changelist.paginator.has_next == (number < 3)
        assert ('rel="next"' in text(answer)) == (number < 3)
        assert ('rel="prev"' in text(answer)) == (number > 1)
    assert seen == ["sub_4", "sub_3", "sub_2", "sub_1", "sub_0"]
    assert "Rows 5–5" in text(staff.get(AUDIT, {"p": "3"}))
    monkeypatch.setattr(lists, "MOST_PAGES", 2)
    last = text(staff.get(AUDIT, {"p": "2"}))
    assert "The list goes back 4 rows. Filter or search for older ones." in last
    assert 'rel="next"' not in last


def test_a_list_says_how_long_it_is(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        act("subscription.paused", f"sub_{number}")
    assert "3 audit entries" in text(staff.get(AUDIT))
    assert "1 audit entry" in text(staff.get(AUDIT, {"q": "sub_1"}))
    monkeypatch.setattr(lists, "_estimate", lambda model: 1_043_211)
    assert "about 1,000,000 audit entries" in text(staff.get(AUDIT))
    monkeypatch.setattr(lists, "_estimate", lambda model: -1)
    monkeypatch.setattr(lists, "COUNTED", 2)
    assert about(AuditEntry.objects.all(), whole_table=True) == "more than 2"


def test_a_list_is_sorted_by_no_column_without_an_index(staff: Client) -> None:
    for number in range(3):
        act("subscription.paused", f"sub_{number}")
    rows = staff.get(AUDIT, {"o": "5"}).context["cl"].result_list
    assert [row.target_id for row in rows] == ["sub_2", "sub_1", "sub_0"]


@pytest.mark.django_db
def test_values_are_found_by_jumping_along_an_index() -> None:
    for name in ("b", "a", "b", "c", "a"):
        act(name)
    with CaptureQueriesContext(connection) as seen:
        assert values_of(AuditEntry, "action") == [("a", "a"), ("b", "b"), ("c", "c")]
    assert len(seen) == 1
