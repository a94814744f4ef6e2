"""Lists of the room in the console: they open, count nothing, and touch nothing."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
import time_machine
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from marketplace import models
from marketplace.tests import factories as make
from quantleap.core.models import StaffUser

pytestmark = pytest.mark.django_db

READ_ONLY = (models.Contract, models.FreezeQuantity, models.Underlying)
CALENDAR = (models.CalendarYear, models.Holiday, models.SessionHours, models.SpecialSession)


def address(model: Any, kind: str, *args: Any) -> str:
    options = model._meta
    return reverse(f"admin:{options.app_label}_{options.model_name}_{kind}", args=args)


def queries_of(client: Client, url: str) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(url).status_code == 200
    return [query["sql"] for query in captured.captured_queries]


@pytest.mark.parametrize("model", READ_ONLY, ids=lambda model: model.__name__)
def test_reference_data_is_looked_at_not_edited(staff: Client, model: Any) -> None:
    make.load_test_contracts(underlyings=["NIFTY"], strikes_each_side=2)
    row = model.objects.first()
    assert staff.get(address(model, "changelist")).status_code == 200
    change = address(model, "change", row.pk)
    assert staff.get(change).status_code == 200
    assert staff.post(change, {"symbol": "X"}).status_code == 403
    assert staff.get(address(model, "add")).status_code == 403
    assert staff.post(address(model, "delete", row.pk), {"post": "yes"}).status_code == 403


def test_the_contract_list_neither_counts_nor_grows_in_queries(staff: Client) -> None:
    url = address(models.Contract, "changelist")
    make.load_test_contracts(underlyings=["NIFTY"], strikes_each_side=1)
    few = queries_of(staff, url)
    models.Contract.objects.all().delete()
    make.load_test_contracts(underlyings=["NIFTY", "BANKNIFTY"], strikes_each_side=20)
    many = queries_of(staff, url)
    assert len(many) == len(few)
    assert not [sql for sql in many if "COUNT(" in sql.upper() and "LIMIT" not in sql]
    page = staff.get(url, {"q": "25000"}).content.decode()
    assert "25,000" in page or "25000" in page


def test_the_template_list_has_a_constant_number_of_queries(staff: Client) -> None:
    make.load_reference_data()
    url = address(models.Template, "changelist")
    make.make_template()
    few = queries_of(staff, url)
    for _ in range(8):
        make.make_template()
    assert len(queries_of(staff, url)) == len(few)


def test_customers_templates_are_not_staffs_to_edit(staff: Client) -> None:
    mine = make.make_template(visibility="PRIVATE", owner="CUSTOMER", owner_customer_id=5)
    assert staff.get(address(models.Template, "change", mine.pk)).status_code == 404


def test_a_draft_can_be_deleted_a_published_template_cannot(staff: Client) -> None:
    draft = make.make_template(published=False)
    listed = make.make_template()
    deleted = staff.post(address(models.Template, "delete", draft.pk), {"post": "yes"})
    assert deleted.status_code == 302
    refused = staff.post(address(models.Template, "delete", listed.pk), {"post": "yes"})
    assert refused.status_code == 403
    assert list(models.Template.objects.all()) == [listed]


def test_every_page_of_the_room_is_registered() -> None:
    for model in (*READ_ONLY, *CALENDAR, models.Template):
        assert admin.site.is_registered(model)


def test_today_says_what_enters_and_whether_the_market_is_open(staff: Client) -> None:
    make.load_test_contracts()
    condor = make.make_iron_condor()
    make.make_short_straddle(strategy={"entry_time": dt.time(9, 45), "weekdays": [0]})
    make.make_template(published=False)
    page = at(staff, "2026-08-04 09:16")
    assert page.index("Open") < page.index("09:15 to 15:40 IST")
    assert "Entries on Tue 4 Aug 2026" in page
    assert condor.name in page
    assert "Short straddle" not in page  # Mondays only
    assert "1 closed" not in page
    assert "0 closed to new, 1 drafts" in page
    later = at(staff, "2026-08-04 15:41")
    assert "over for today; next Wed 5 Aug" in later
    assert "Entries on Wed 5 Aug 2026" in later
    assert "weekend; next Mon 10 Aug" in at(staff, "2026-08-08 10:00")
    assert "Short straddle" in at(staff, "2026-08-08 10:00")
    assert "the coming holidays are not loaded" in at(staff, "2026-12-31 16:00")


def test_today_has_a_constant_number_of_queries(staff: Client) -> None:
    make.load_test_contracts()
    make.make_iron_condor()
    few = queries_of(staff, "/admin/")
    for _ in range(5):
        make.make_iron_condor()
    assert len(queries_of(staff, "/admin/")) == len(few)


def test_today_shows_nothing_to_who_may_see_nothing(client: Client) -> None:
    make.load_reference_data()
    client.force_login(StaffUser.objects.create_user("guest", is_staff=True))
    assert "Templates listed" not in client.get("/admin/").content.decode()


def at(client: Client, wall: str) -> str:
    """The page Today at an Indian wall clock's time."""
    with time_machine.travel(dt.datetime.fromisoformat(f"{wall}+05:30"), tick=False):
        client.force_login(StaffUser.objects.get())  # sessions end with time
        return client.get("/admin/").content.decode()


def test_impossible_published_times_are_red(staff: Client) -> None:
    """09:15:00 was accepted and missed every day; 15:29:59 lies behind the brokers' cut-offs."""
    make.load_test_contracts()
    fine = make.make_iron_condor(strategy={"name": "In time"})
    late = make.make_iron_condor(strategy={"name": "Too late"})
    version = late.current_version
    assert version is not None
    version.definition["strategies"][0] |= {"entry_time": "09:15:00", "exit_time": "15:29:59"}
    published_before = models.TemplateVersion.objects.create(
        template=late,
        number=2,
        definition=version.definition,
        published_by="author",
        published_at=make.TEST_NOW,
    )
    models.Template.objects.filter(pk=late.pk).update(current_version=published_before)
    page = at(staff, "2026-08-04 09:16")
    assert "Too late: its times are no longer allowed" in page
    assert "Entry 09:15:00: Not before 09:15:15 IST" in page
    assert "Exit 15:29:59: Not after 15:23:00 IST" in page
    assert reverse("admin:marketplace_template_change", args=[late.pk]) in page
    assert "In time: its times" not in page
    assert fine.name in page
