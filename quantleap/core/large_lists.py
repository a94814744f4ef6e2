"""Lists that grow with time: indexed search, estimated counts, paging without counting.

A page of 50 rows costs the same out of a million rows as out of a hundred: rows are selected by
their keys and loaded afterwards; a search queries one index after another without joins; the
choices of a filter are known beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from django.contrib.admin import SimpleListFilter
from django.core.paginator import EmptyPage, Page
from django.db import connection
from django.db.models import F, Model, OrderBy, Q, QuerySet
from django.http import HttpRequest

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin
    from django.contrib.admin.views.main import ChangeList
    from django.core.paginator import Paginator

    _DropdownFilter = SimpleListFilter
    _ModelAdmin = ModelAdmin[Any]  # a mixin: at run time the page itself is a ModelAdmin
else:
    _ModelAdmin = object
    from unfold.contrib.filters.admin import DropdownFilter as _DropdownFilter
    from unfold.paginator import InfinitePaginator as Paginator
    from unfold.views import ChangeList

#: The last page of a list. To find older rows, people filter or search.
MOST_PAGES: Final = 200
#: Limit of rows per kind of search; beyond it the page asks for a longer search term.
MOST_FOUND: Final = 1000
#: Tables with fewer rows (by PostgreSQL's statistics) are counted exactly.
COUNTED: Final = 10_000


# -- search --------------------------------------------------------------------------------------
class Backwards(OrderBy):
    """Descending order along an index with ``varchar_pattern_ops``: for growing numbers the newest
    first.

    This order makes PostgreSQL use that index whatever its statistics say. Otherwise it assumes
    that matches of a prefix are evenly spread, and reads the table until it has enough.
    """

    #: Django looks for the word DESC in every order, to distinguish two orders of the same column.
    template = "%(expression)s USING ~>~ /* DESC */"


class Condition(NamedTuple):
    """The filter for a search term (None: no row matches); ``more``: it covers too few of the
    matching rows.

    ``along`` is the order in which an index has the rows.
    """

    rows: Q | None
    more: bool = False
    along: OrderBy | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """One kind of search: ``words`` for the person, ``condition`` for a term (None: not
    applicable).

    One index of the list's own table must be able to answer the condition.
    """

    words: str
    condition: Callable[[str], Condition]


def begins(
    field: str,
    words: str,
    *,
    fold: Callable[[str], str] = str,
    partial: bool = False,
    bytewise: bool = False,
) -> Search:
    """Rows whose ``field`` begins with the term; ``fold`` normalises the term as the column does.

    The column needs an index with ``varchar_pattern_ops`` (a unique CharField has one). If that
    index excludes empty texts (``partial``), the query has to say that it wants none. A column of
    collation C (``bytewise``) needs only its plain index.
    """
    filled = ~Q(**{field: ""}) if partial else Q()

    def condition(term: str) -> Condition:
        rows = Q(**{f"{field}__startswith": fold(term)}) & filled
        return Condition(rows, along=F(field).desc() if bytewise else Backwards(F(field)))

    return Search(words, condition)


def exactly(field: str, words: str, *, fold: Callable[[str], str] = str) -> Search:
    """Rows whose ``field`` equals the term."""
    return Search(words, lambda term: Condition(Q(**{field: fold(term)})))


def through(field: str, find: Callable[[str], Iterable[Any]], words: str) -> Search:
    """Rows whose ``field`` is one of the values that ``find`` returns, at most :data:`MOST_FOUND`
    of them.

    ``find`` searches another table quickly; nothing is joined.
    """

    def condition(term: str) -> Condition:
        values = list(islice(find(term), MOST_FOUND + 1))
        rows = Q(**{f"{field}__in": values[:MOST_FOUND]}) if values else None
        return Condition(rows, len(values) > MOST_FOUND)

    return Search(words, condition)


def found_by(
    queryset: QuerySet[Any], searches: Sequence[Search], term: str
) -> tuple[QuerySet[Any], bool]:
    """The rows of ``queryset`` that match one of ``searches``, and whether there are more of them.

    Takes one query per kind of search, plus those of :func:`through`.
    """
    keys: set[Any] = set()
    more = False
    for search in searches if term.isprintable() else ():
        condition = search.condition(term)
        more = more or condition.more
        if condition.rows is None:
            continue
        rows = _newest(queryset.filter(condition.rows), condition.along)
        more = more or len(rows) > MOST_FOUND
        keys.update(rows[:MOST_FOUND])
    return (queryset.filter(pk__in=keys) if keys else queryset.none()), more


def _newest(matches: QuerySet[Any], along: OrderBy | None) -> list[Any]:
    """Keys of the newest rows, one more than can be shown.

    Rows are selected first and sorted afterwards: if asked for the newest directly, PostgreSQL
    reads the table backwards and assumes that matches are evenly spread, which those of a prefix
    never are.
    """
    some = matches.order_by(*([along] if along else [])).values("pk")[: _FENCE * MOST_FOUND]
    keys = matches.model._default_manager.filter(pk__in=some).order_by("-pk")
    return list(keys.values_list("pk", flat=True)[: MOST_FOUND + 1])


_FENCE: Final = 5


def first_keys(rows: QuerySet[Any]) -> Iterable[Any]:
    """Keys for :func:`through`: as many as it can use, and one more if there are more."""
    return rows.order_by().values_list("pk", flat=True)[: MOST_FOUND + 1]


# -- pages ---------------------------------------------------------------------------------------
class SizedPaginator(Paginator):  # type: ignore[type-arg]  # generic in its stubs only
    """Pages without a count; beyond :data:`MOST_PAGES` there are none, and the page says so."""

    template_name = "console/list_pages.html"
    too_deep = False
    number = 1
    shown = 0
    has_more = False

    def page(self, number: Any) -> Any:
        """The rows of one page: keys first, then the rows with everything they show (2 queries)."""
        self.number = self.validate_number(number)
        self.too_deep = self.number > MOST_PAGES
        rows: list[Any] = []
        if not self.too_deep:
            first = (self.number - 1) * self.per_page
            keys = self._keys(first)
            self.has_more = len(keys) > self.per_page
            rows = self._rows(keys[: self.per_page])
        self.shown = len(rows)
        return Page(rows, self.number, self)

    def _keys(self, first: int) -> list[Any]:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]  # a list has a queryset
        return list(rows.values_list("pk", flat=True)[first : first + self.per_page + 1])

    def _rows(self, keys: list[Any]) -> list[Any]:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]  # a list has a queryset
        by_key = {row.pk: row for row in rows.filter(pk__in=keys).order_by()} if keys else {}
        return [by_key[key] for key in keys if key in by_key]

    def validate_number(self, number: Any) -> int:
        """A whole number from 1 on."""
        try:
            page = int(number)
        except (TypeError, ValueError) as error:
            raise EmptyPage("no such page") from error
        if page < 1:
            raise EmptyPage("no such page")
        return page

    @property
    def has_next(self) -> bool:
        """Whether the next page has rows and can be opened."""
        return self.has_more and self.number < MOST_PAGES

    @property
    def at_the_end(self) -> bool:
        """Whether there are more rows than this list shows."""
        return self.has_more and self.number == MOST_PAGES

    @property
    def first(self) -> int:
        """Position of the page's first row, from 1."""
        return (self.number - 1) * self.per_page + 1

    @property
    def last(self) -> int:
        """Position of the page's last row."""
        return self.first + self.shown - 1

    @property
    def most(self) -> int:
        """The number of rows that the list can show."""
        return MOST_PAGES * self.per_page


class SizedChangeList(ChangeList):
    """A list that shows its size, the scope of its search, and what to do if it has no rows."""

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        self.asked = request  # threads share the page object, but not this list
        super().__init__(request, *args, **kwargs)

    def get_ordering_field(self, field_name: Any) -> Any:
        """The field to sort by, if the page allows it: sorting needs an index."""
        allowed = self.sortable_by
        if allowed is not None and field_name not in allowed:
            return None
        return super().get_ordering_field(field_name)

    @property
    def searches(self) -> Sequence[Search]:
        """The list's kinds of search."""
        page: Any = self.model_admin
        return tuple(page.searches)

    @property
    def found_more(self) -> bool:
        """Whether more rows match the search than it looked at."""
        return bool(getattr(self.asked, "found_more", False))

    @cached_property
    def size(self) -> str:
        """The number of rows: ``about 1,000,000``; for a search or filter only what is known.

        Takes at most 2 queries.
        """
        if self.query or self.has_active_filters:
            pages = self.paginator
            whole = pages.number == 1 and not pages.has_more
            return f"{pages.shown:,}" if whole else ""
        page: Any = self.model_admin
        return about(self.root_queryset, whole_table=page.whole_table)

    @property
    def without_search(self) -> str:
        """The address of the same list without the search."""
        return self.get_query_string(remove=["q"])

    @property
    def without_filters(self) -> str:
        """The address of the same search without the filters."""
        from urllib.parse import urlencode

        return f"?{urlencode({'q': self.query})}" if self.query else "?"


def about(queryset: QuerySet[Any], *, whole_table: bool) -> str:
    """The number of rows as text: exact up to :data:`COUNTED`, otherwise PostgreSQL's estimate."""
    if whole_table:
        estimate = _estimate(queryset.model)
        if estimate > COUNTED:
            step = 10 ** max(0, len(str(estimate)) - 2)
            return f"about {round(estimate / step) * step:,}"
    counted = queryset.order_by()[: COUNTED + 1].count()
    return f"more than {COUNTED:,}" if counted > COUNTED else f"{counted:,}"


def _estimate(model: type[Model]) -> int:
    """Rows by the statistics of the last (auto)vacuum; -1 before the first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass",
            [model._meta.db_table],
        )
        (rows,) = cursor.fetchone()
    return int(rows)


# -- filters -------------------------------------------------------------------------------------
def one_of(
    field: str, title: str, choices: Callable[[], Iterable[tuple[str, str]]]
) -> type[SimpleListFilter]:
    """A filter over the known values of a column, so that nothing has to read a million rows."""

    class OneOf(_DropdownFilter):
        parameter_name = field

        def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
            return list(choices())

        def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
            value = self.value()
            return queryset.filter(**{field: value}) if value else queryset

    OneOf.title = title
    return OneOf


_DISTINCT: Final = """
WITH RECURSIVE one AS (
    (SELECT {column} AS value FROM {table} ORDER BY {column} LIMIT 1)
    UNION ALL
    SELECT (SELECT {column} FROM {table} WHERE {column} > one.value ORDER BY {column} LIMIT 1)
      FROM one WHERE one.value IS NOT NULL
)
SELECT value FROM one WHERE value IS NOT NULL
"""


def values_of(model: type[Model], column: str) -> list[tuple[str, str]]:
    """The values of a column, jumping from value to value along an index that begins with it."""
    quote = connection.ops.quote_name
    field: Any = model._meta.get_field(column)
    statement = _DISTINCT.format(column=quote(field.column), table=quote(model._meta.db_table))
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return [(value, value) for (value,) in cursor.fetchall()]


class SizedListMixin(_ModelAdmin):
    """For pages of large tables; ``searches`` replaces ``search_fields``.

    ``whole_table``: the list shows all rows of its table, so the table's estimate is its size.
    """

    searches: Sequence[Search] = ()
    whole_table = True
    paginator = SizedPaginator
    show_full_result_count = False
    sortable_by: ClassVar[tuple[str, ...] | None] = ()
    list_before_template = "console/list_head.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """The list class of this module."""
        return SizedChangeList

    def get_search_fields(self, request: HttpRequest) -> list[str] | tuple[str, ...] | tuple[()]:
        """Non-empty if the list has a search; the fields are those of ``searches``."""
        return tuple(search.words for search in self.searches) or super().get_search_fields(request)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The rows that match any of ``searches``, each once."""
        term = " ".join(search_term.split())
        if not self.searches or not term:
            return super().get_search_results(request, queryset, search_term)
        rows, more = found_by(queryset, self.searches, term)
        request.found_more = more  # type: ignore[attr-defined]  # for the head of the list
        return rows, False
