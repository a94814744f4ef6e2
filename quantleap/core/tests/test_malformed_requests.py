"""Whatever an address of the console or the API contains: an answer below 500, on every page.

The pages come from the URL conf, so that a new one is covered automatically.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.db import DataError, models, transaction
from django.test import Client
from django.urls import reverse

from quantleap.core.admin import base
from quantleap.core.admin.malformed_requests import SHOWS_ALL
from quantleap.core.admin.records import AuditEntryAdmin
from quantleap.core.models import StaffUser
from quantleap.core.tests.matrix.dataset import Dataset
from quantleap.core.tests.matrix.routes import leaves, operations

Record = Callable[[str, object], None]
HUGE = "9" * 20
IDS = ("abc", "0", "-1", "1.5", HUGE, "9" * 400, "%00", "1%00", "%FF%FE", "_00", "None", "१", "..")
VALUES = ("99999", "-1", HUGE, "%00", "%FF", "abc", "")
#: What any page may read from an address, and what nobody reads.
ANYWHERE = (
    *("_to_field=password", "_popup=1&_to_field=id", "_changelist_filters=foo__bar%3D1"),
    *("foo__bar=1", "pk=%00", "x" * 20_000, "%00=1", "%FF=%FF", "=&&="),
    "&".join(f"a{number}=1" for number in range(1_200)),
)
#: What lists of Django's admin and of unfold read, besides.
LISTS = (
    *("p=abc", "p=-1", f"p={HUGE}", "p=99999999", "o=abc", "o=-99.-", "o=1.2.3", "e=1", "all="),
    *("q=%00", "q=%FF%FE", "q=" + "a" * 20_000, "pk__in=a,b", "pk__gte=abc"),
    *("password__startswith=a", "is_facets=%00"),
)
#: What is asked of every filter of a list.
FILTERS = (
    "={HUGE}",
    "=%00",
    "__exact=abc",
    "__in=a,{HUGE}",
    "__gte=2026-13-45",
    "_from=2026-13-45",
)


def superuser() -> Client:
    """A superuser's browser in which a crash is a 500 instead of an exception."""
    client = Client(raise_request_exception=False)
    client.force_login(StaffUser.objects.create_superuser("boss"))
    return client


def console_paths() -> list[str]:
    """Every address of the console, parameters in braces."""
    return sorted({path for path, _ in leaves() if path.startswith("/admin/")})


def junk_filters(model: type[models.Model]) -> Iterator[str]:
    """Every parameter that this list's filters read, with junk."""
    page = admin.site._registry[model]
    names = ["pk"]
    for entry in page.list_filter:
        list_filter: Any = entry[0] if isinstance(entry, tuple) else entry
        names.append(list_filter if isinstance(list_filter, str) else list_filter.parameter_name)
    dates = [field.name for field in model._meta.fields if isinstance(field, models.DateField)]
    for name in dict.fromkeys(names):
        yield from (f"{name}{junk.format(HUGE=HUGE)}" for junk in FILTERS)
    yield from (f"{name}__year=99999" for name in dates)
    if page.date_hierarchy:
        for junk in (
            "year=0",
            "year=9999",
            "year=2026&{0}month=13",
            "year=2026&{0}month=2&{0}day=31",
        ):
            yield f"{page.date_hierarchy}__{junk.format(page.date_hierarchy + '__')}"


class Walk:
    """Sends requests, each rolled back, and collects those answered with 500."""

    def __init__(self, record: Record) -> None:
        self.client = superuser()
        self.record = record
        self.statuses: Counter[int] = Counter()
        self.crashes: list[str] = []
        self.headers: dict[str, str] = {}

    def send(self, path: str, query: str = "", data: dict[str, Any] | None = None) -> None:
        """One GET, or a POST of ``data``."""
        url = f"{path}?{query}" if query else path
        point = transaction.savepoint()
        answer = (
            self.client.get(url, headers=self.headers)
            if data is None
            else self.client.post(url, data)
        )
        transaction.savepoint_rollback(point)
        self.statuses[answer.status_code] += 1
        if answer.status_code >= 500:
            crash: Any = getattr(answer, "exc_info", None)
            why = repr(crash[1])[:200] if crash else ""
            junk = "" if data is None else f"with {next(iter(data.values()), '')!r:.40}"
            self.crashes.append(f"{why} {'GET' if data is None else 'POST'} {url[:150]} {junk}")

    def finish(self, what: str, *, at_least: int) -> None:
        """Nothing crashed, and enough was tried."""
        total, said = self.statuses.total(), dict(sorted(self.statuses.items()))
        self.record("tried", f"{total} bad requests: {what}, by status {said}")
        assert not self.crashes, "\n".join(self.crashes)
        assert total >= at_least


@pytest.fixture
def walk(dataset: Dataset, record_property: Record) -> Walk:
    return Walk(record_property)


def with_junk(path: str, junk: str) -> str:
    """The address with every parameter replaced."""
    return "/".join(junk if part.startswith("{") else part for part in path.split("/"))


def test_a_junk_id_in_an_address_of_the_console_is_404(walk: Walk) -> None:
    """`template/abc/change/` was 500, and so were 103 others."""
    for path in console_paths():
        if "{" in path:
            for junk in IDS:
                walk.send(with_junk(path, junk))
            walk.send(with_junk(path, "abc"), data={"confirm": "yes"})
            walk.send(with_junk(path, HUGE), data={"confirm": "yes"})
    walk.finish("junk ids in the console", at_least=1500)


def test_a_junk_filter_is_400_or_the_clean_list(walk: Walk) -> None:
    """`created_at__year=99999`, `%00` in any filter: 54 pages were 500."""
    lists = {
        reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"): model
        for model in admin.site._registry
    }
    for path in console_paths():
        if "{" in path or path.endswith("/logout/"):
            continue
        for query in ANYWHERE:
            walk.send(path, query)
        if path in lists:
            for query in (*LISTS, *junk_filters(lists[path])):
                walk.send(path, query)
    walk.finish("junk filters in the console", at_least=1500)


def test_junk_rows_chosen_for_an_action_are_400(walk: Walk) -> None:
    for model, page in admin.site._registry.items():
        path = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        for action in ("", "nothing", "delete_selected", *map(str, page.actions or ())):
            for junk in ("abc", HUGE, "\0"):
                data = {"action": action, "index": junk, "_selected_action": junk}
                walk.send(path, data=data)
    walk.finish("junk rows for actions", at_least=200)


def test_junk_in_the_fields_of_a_form_is_no_crash(walk: Walk) -> None:
    """NUL, numbers that no column holds, half of a formset."""
    for model, page in admin.site._registry.items():
        path = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        rows = model._default_manager.all()[:1]
        names = [field.name for field in model._meta.fields]
        names += [
            f"{page.opts.model_name}-TOTAL_FORMS",
            "strategies-TOTAL_FORMS",
            "prices-TOTAL_FORMS",
        ]
        for url in (f"{path}add/", *(f"{path}{row.pk}/change/" for row in rows)):
            for junk in ("", "\0", HUGE, "x" * 5_000, "-1", "\ud7ff\ufffe"):
                walk.send(url, data=dict.fromkeys(names, junk))
    walk.finish("junk in forms of the console", at_least=300)


def test_junk_in_a_query_or_an_id_of_the_api_is_no_crash(walk: Walk, dataset: Dataset) -> None:
    for operation in operations():
        if operation.method != "GET":
            continue
        ids = dict.fromkeys(operation.parameters, "abc")
        walk.headers = dict(dataset.headers(operation.surface))
        for query in (*ANYWHERE, *LISTS):
            walk.send(operation.url(ids), query)
        for name in operation.query:
            for junk in VALUES:
                walk.send(operation.url(ids), f"{name}={junk}")
        for junk in IDS if ids else ():
            walk.send(with_junk(operation.route, junk))
    walk.finish("junk in addresses of the API", at_least=1000)


# -- what the mechanism is, and what it leaves alone --------------------------------------------
AUDIT = "/admin/core/auditentry/"


@pytest.fixture
def boss(db: None) -> Client:
    return superuser()


def test_an_unknown_filter_shows_the_whole_list(boss: Client) -> None:
    answer = boss.get(f"{AUDIT}?at__year=99999&_popup=1", follow=True)
    assert answer.redirect_chain == [(f"{AUDIT}?_popup=1", 302)]
    assert SHOWS_ALL in answer.content.decode()


def test_an_id_of_another_kind_and_one_that_is_not_there_are_404(boss: Client) -> None:
    for junk in ("abc", HUGE, "999999"):
        answer = boss.get(f"{AUDIT}{junk}/change/")
        assert answer.status_code == 404
        assert f'href="{AUDIT}"' in answer.content.decode(), "the way back is the list"


def test_a_list_that_is_broken_by_itself_stays_a_crash(
    boss: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise DataError("not the address's fault")

    monkeypatch.setattr(AuditEntryAdmin, "get_queryset", broken)
    assert boss.get(AUDIT).status_code == 500
    # with parameters it leads to the list without them, which says the same
    assert boss.get(f"{AUDIT}?p=2", follow=True).status_code == 500


def test_every_page_reads_requests_by_the_one_mechanism() -> None:
    loose = [
        model._meta.label
        for model, page in admin.site._registry.items()
        if not isinstance(page, base.ConsoleAdmin)
    ]
    assert loose == []
