"""The calendar in the console: a source, a preview, and a missing year in red."""

from __future__ import annotations

import datetime as dt
import io
import json
import re
from pathlib import Path

import pytest
import time_machine
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from marketplace.calendar_changes import Row, Table, with_row
from marketplace.expiries import select_expiry
from marketplace.models import CalendarYear, Contract, Holiday, SessionHours, SpecialSession
from marketplace.ports import RUNS
from marketplace.selectors import expiries, load_calendar
from marketplace.services.calendar import (
    CALENDAR_FILE,
    CalendarMoved,
    change_calendar,
    load_calendar_file,
    propose,
)
from marketplace.tests import factories as make
from quantleap.core.audit import SYSTEM
from quantleap.core.errors import InvalidRequest
from quantleap.core.models import AuditEntry, StaffUser

pytestmark = pytest.mark.django_db

CIRCULAR = "NSE/FAOP/90001 of 5 Aug 2026"
ADD = "/admin/marketplace/holiday/add/"
AUGUST = dt.datetime(2026, 8, 4, 3, 30, tzinfo=dt.UTC)


def holiday(day: str, name: str = "Election", source: str = CIRCULAR) -> dict[str, str]:
    return {"day": day, "description": name, "source": source}


def confirm(client: Client, url: str, fields: dict[str, str]) -> str:
    """Post the form, then the preview that it leads to; the preview."""
    preview = client.post(url, fields)
    assert preview.status_code == 200, preview.content.decode()
    page = preview.content.decode()
    seen = re.search(r'name="seen" value="(\w+)"', page)
    assert seen is not None, "no preview"
    done = client.post(url, {**fields, "step": "do", "seen": seen[1]})
    assert done.status_code == 302, done.content.decode()
    return page


def test_a_closure_is_one_form_and_a_preview(staff: Client) -> None:
    """Declared at three days' notice."""
    make.load_test_contracts()
    condor = make.make_iron_condor()
    with time_machine.travel(AUGUST, tick=False):
        page = confirm(staff, ADD, holiday("2026-08-06"))
    assert "open 09:15 to 15:40" in page
    assert "closed: Election" in page
    assert f"{condor.name}: " in page
    assert not load_calendar().is_trading_day(dt.date(2026, 8, 6))
    entry = AuditEntry.objects.get(action="calendar.edited")
    assert (entry.actor_id, entry.target_id) == ("asha", "2026")
    assert entry.data["because"] == CIRCULAR
    assert entry.data["changes"] == [
        {
            "what": "holiday added",
            "row": "Thu 6 Aug 2026 Election",
            "was": "",
            "source": CIRCULAR,
        }
    ]


def test_the_preview_alone_changes_nothing(staff: Client) -> None:
    make.load_reference_data()
    assert staff.post(ADD, holiday("2026-12-24")).status_code == 200
    assert staff.post(ADD, {**holiday("2026-12-24"), "step": "do"}).status_code == 409
    assert not Holiday.objects.filter(date="2026-12-24").exists()
    assert not AuditEntry.objects.filter(action="calendar.edited").exists()


def test_who_looked_at_another_calendar_looks_again(staff: Client) -> None:
    make.load_reference_data()
    page = staff.post(ADD, holiday("2026-12-24")).content.decode()
    seen = re.search(r'name="seen" value="(\w+)"', page)
    assert seen is not None
    Holiday.objects.filter(date="2026-12-25").update(description="Christmas Day")
    moved = staff.post(ADD, {**holiday("2026-12-24"), "step": "do", "seen": seen[1]})
    assert moved.status_code == 409
    assert "changed meanwhile" in moved.content.decode()
    assert 'name="seen"' in moved.content.decode()  # the new preview
    assert not Holiday.objects.filter(date="2026-12-24").exists()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (holiday("2026-12-24", source=""), "This field is required"),
        (holiday("2026-12-24", source="a friend"), "What is the source?"),
        (holiday("2026-12-26"), "weekend and closed anyway"),
        (holiday("2027-01-26"), "load the list of 2027 first"),
        (holiday("2026-12-25"), "There is one on Fri 25 Dec 2026 already"),
        (holiday("24.12."), "Enter a valid date"),
    ],
)
def test_a_refusal_is_beside_its_field_and_loses_nothing(
    staff: Client, fields: dict[str, str], words: str
) -> None:
    make.load_reference_data()
    answer = staff.post(ADD, fields)
    page = answer.content.decode()
    assert answer.status_code == 400
    assert words in page
    assert 'value="Election"' in page
    assert Holiday.objects.count() == 30


def test_the_preview_leads_back_to_the_form_with_what_was_typed(staff: Client) -> None:
    make.load_reference_data()
    page = staff.post(ADD, {**holiday("2026-12-24"), "step": "edit"}).content.decode()
    assert 'value="2026-12-24"' in page
    assert f'value="{CIRCULAR}"' in page
    assert 'name="seen"' not in page


def test_a_holiday_is_corrected_and_removed_with_a_source(staff: Client) -> None:
    make.load_reference_data()
    row = Holiday.objects.get(date="2026-11-24")
    change = reverse("admin:marketplace_holiday_change", args=[row.pk])
    assert 'value="2026-11-24"' in staff.get(change).content.decode()
    confirm(staff, change, holiday("2026-11-25", "Guru Nanak Jayanti"))
    calendar = load_calendar()
    assert calendar.is_trading_day(dt.date(2026, 11, 24))
    assert not calendar.is_trading_day(dt.date(2026, 11, 25))
    moved = Holiday.objects.get(date="2026-11-25")
    remove = reverse("admin:marketplace_holiday_delete", args=[moved.pk])
    assert staff.post(remove, {"source": "none"}).status_code == 400
    page = confirm(staff, remove, {"source": CIRCULAR})
    assert "Removed" in page
    assert load_calendar().is_trading_day(dt.date(2026, 11, 25))
    assert AuditEntry.objects.filter(action="calendar.edited").count() == 2


def test_a_refusal_without_a_field_is_said_above_the_form(staff: Client) -> None:
    """The form of a removal asks for the source only."""
    make.load_reference_data()
    muhurat = SpecialSession.objects.filter(date__in=Holiday.objects.values("date")).earliest(
        "date"
    )
    below = Holiday.objects.get(date=muhurat.date)
    url = reverse("admin:marketplace_holiday_delete", args=[below.pk])
    refused = staff.post(url, {"source": CIRCULAR})
    assert refused.status_code == 400
    assert refused.content.decode().count(f"session on {below.date}; remove that first") == 1
    assert Holiday.objects.filter(pk=below.pk).exists()


def test_a_special_saturday_session_is_for_who_opted_in(staff: Client) -> None:
    make.load_test_contracts()
    make.make_iron_condor(strategy={"name": "Opted in", "special_sessions": True})
    make.make_iron_condor(strategy={"name": "Ordinary"})
    fields = {**holiday("2026-08-08", "Live trading"), "opens": "09:15", "closes": "15:30"}
    with time_machine.travel(AUGUST, tick=False):
        page = confirm(staff, "/admin/marketplace/specialsession/add/", fields)
    assert "closed: weekend" in page
    assert "Opted in" in page
    assert "Ordinary" not in page
    assert load_calendar().session(dt.date(2026, 8, 8), special_ok=True) is not None
    early = {**fields, "day": "2026-08-09", "closes": "09:00"}
    refused = staff.post("/admin/marketplace/specialsession/add/", early)
    assert "must close after it opens" in refused.content.decode()


def test_shorter_hours_show_whose_exit_they_cut_off(staff: Client) -> None:
    make.load_test_contracts()
    make.make_iron_condor(strategy={"exit_time": dt.time(15, 15)})
    fields = {"day": "2026-08-10", "opens": "09:15", "closes": "15:00", "source": CIRCULAR}
    with time_machine.travel(AUGUST, tick=False):
        page = confirm(staff, "/admin/marketplace/sessionhours/add/", fields)
    assert "open 09:15 to 15:40" in page
    assert "open 09:15 to 15:00" in page
    assert "ql-before" in page


def test_shorter_hours_show_a_strategy_of_any_one_weekday(staff: Client) -> None:
    """From a Monday on; the strategy enters on Thursdays only."""
    make.load_test_contracts()
    thursdays = {"name": "Thursdays", "weekdays": (3,), "exit_time": dt.time(15, 15)}
    make.make_iron_condor(strategy=thursdays)
    fields = {"day": "2026-08-10", "opens": "09:15", "closes": "15:00", "source": CIRCULAR}
    with time_machine.travel(AUGUST, tick=False):
        page = confirm(staff, "/admin/marketplace/sessionhours/add/", fields)
    assert "No published strategy enters" not in page
    thursday = page.split("Thursday, 13 August 2026")[1].split("ql-day")[0]
    assert "Will no longer enter" in thursday
    assert "Thursdays" in thursday
    assert page.count("open 09:15 to 15:00") == 5
    assert "the first session of each weekday" in page


def test_hours_of_three_days_are_shown_for_those_days_alone(staff: Client) -> None:
    """The next row ends them: on Thursday the ordinary hours hold again."""
    make.load_test_contracts()
    make.make_iron_condor(strategy={"weekdays": (3,), "exit_time": dt.time(15, 15)})
    url = "/admin/marketplace/sessionhours/add/"
    again = {"day": "2026-08-13", "opens": "09:15", "closes": "15:40", "source": CIRCULAR}
    short = {"day": "2026-08-10", "opens": "09:15", "closes": "15:00", "source": CIRCULAR}
    with time_machine.travel(AUGUST, tick=False):
        assert "No coming session changes" in confirm(staff, url, again)
        page = confirm(staff, url, short)
    assert page.count("open 09:15 to 15:00") == 3
    assert "No published strategy enters on the days that change." in page


def test_the_last_session_hours_cannot_be_removed(staff: Client) -> None:
    """Without any, every day would be closed and nothing would trade."""
    make.load_reference_data()
    first, last = SessionHours.objects.order_by("effective_from")
    url = "/admin/marketplace/sessionhours/{}/delete/"
    with time_machine.travel(AUGUST, tick=False):
        page = confirm(staff, url.format(last.pk), {"source": CIRCULAR})
        assert "open 09:15 to 15:30" in page
        refused = staff.post(url.format(first.pk), {"source": CIRCULAR})
    assert refused.status_code == 400
    assert "These are the last hours: from Wed 1 Jan 2025 on" in refused.content.decode()
    assert SessionHours.objects.get() == first


def december_list() -> None:
    """The contract list of 22 December 2026, by an exchange that names no holiday of 2027."""
    day = dt.date(2026, 12, 22)
    make.load_test_contracts(day, underlyings=["NIFTY"], strikes_each_side=1)
    listed = list(Contract.objects.filter(expiry=dt.date(2026, 12, 29)))
    assert listed
    for expiry in (dt.date(2027, 1, 5), dt.date(2027, 1, 12), dt.date(2027, 1, 26)):
        for contract in listed:
            contract.pk = None
            contract.expiry = expiry
            contract.save()


YEAR_2027 = "1\t26-Jan-2027\tTuesday\tRepublic Day\n2\t14-Aug-2027\tSaturday\tWeekend"


def test_a_missing_year_is_loaded_in_the_console(staff: Client) -> None:
    """26 January 2027 is the last Tuesday of its month: listed expiries on it will move."""
    december_list()
    assert Contract.objects.filter(expiry="2027-01-26").exists()
    url = "/admin/marketplace/calendaryear/add/"
    asked = staff.get(url, {"year": "2027"}).content.decode()
    assert 'value="2027"' in asked
    fields = {"year": "2027", "source": CIRCULAR, "holidays": YEAR_2027}
    with time_machine.travel(dt.datetime(2026, 11, 29, tzinfo=dt.UTC), tick=False):
        staff.force_login(StaffUser.objects.get())
        page = confirm(staff, url, fields)
    assert "2027 opens, with 260 trading days" in page
    assert "Skipped, a weekend: Sat 14 Aug: Weekend." in page
    assert "NIFTY: an expiry is listed on Tue 26 Jan 2027, which is closed" in page
    assert "the trading day before, Mon 25 Jan" in page
    assert load_calendar().is_trading_day(dt.date(2027, 1, 1))
    assert not load_calendar().is_trading_day(dt.date(2027, 1, 26))


def test_runs_of_today_that_are_armed_are_named(
    staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    make.load_test_contracts()
    make.make_iron_condor()

    class Armed:
        def made(self, day: dt.date) -> tuple[str, ...]:
            return ("key",) if day == dt.date(2026, 8, 4) else ()

    monkeypatch.setattr(RUNS, "_implementation", Armed())
    with time_machine.travel(AUGUST, tick=False):
        staff.force_login(StaffUser.objects.get())
        today = staff.post(ADD, holiday("2026-08-04")).content.decode()
        tomorrow = staff.post(ADD, holiday("2026-08-05")).content.decode()
    assert "already armed and stay: only the kill switch" in today
    assert "armed already" not in tomorrow


def test_rights_decide_who_looks_who_adds_and_who_removes(client: Client) -> None:
    make.load_reference_data()
    row = Holiday.objects.earliest("date")
    change, delete = (
        reverse(f"admin:marketplace_holiday_{kind}", args=[row.pk]) for kind in ("change", "delete")
    )
    user = StaffUser.objects.create_user("viewer", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_holiday"))
    client.force_login(user)
    assert client.get(change).status_code == 200
    for url in (ADD, change, delete):
        assert client.post(url, holiday("2026-12-24")).status_code == 403
    assert client.get(ADD).status_code == 403
    assert client.get(delete).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="add_holiday"))
    assert client.get(ADD).status_code == 200
    assert client.post(change, holiday("2026-12-24")).status_code == 403
    ticked = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
    user.user_permissions.add(Permission.objects.get(codename="delete_holiday"))
    client.post(reverse("admin:marketplace_holiday_changelist"), ticked)
    assert Holiday.objects.count() == 30


@pytest.mark.parametrize("model", ["holiday", "specialsession", "sessionhours", "calendaryear"])
def test_every_page_opens_and_unknown_rows_are_not_found(staff: Client, model: str) -> None:
    make.load_reference_data()
    for kind in ("changelist", "add"):
        assert staff.get(reverse(f"admin:marketplace_{model}_{kind}")).status_code == 200
    for junk in ("0", "abc", "99999999999999999999"):
        url = reverse(f"admin:marketplace_{model}_change", args=[junk])
        assert staff.get(url).status_code == 404
    year = CalendarYear.objects.get(year=2026)
    refused = staff.post(reverse("admin:marketplace_calendaryear_delete", args=[year.pk]))
    assert refused.status_code == 403


# -- what a file may not undo -------------------------------------------------------------------


def edit_year_2026() -> None:
    row = Row(Table.HOLIDAY, dt.date(2026, 12, 24), CIRCULAR, "Election")
    seen = propose(lambda rows: with_row(rows, row), because=CIRCULAR).seen
    change_calendar(
        edit=lambda rows: with_row(rows, row),
        because=CIRCULAR,
        seen=seen,
        actor=SYSTEM,
        now=make.TEST_NOW,
    )


def test_the_next_start_does_not_reopen_a_day_that_staff_closed() -> None:
    """Every start of a local installation loads the shipped file again."""
    make.load_reference_data()
    edit_year_2026()
    out = io.StringIO()
    call_command("load_calendar", stdout=out)
    assert Holiday.objects.filter(date="2026-12-24").exists()
    assert "2026: left as it is. system edited it in the console on 4 Aug 2026" in out.getvalue()
    assert "- holiday: Thu 24 Dec 2026 Election" in out.getvalue()
    assert "0 added, 0 changed, 0 removed, 39 unchanged" in out.getvalue()
    call_command("load_calendar", replace=True, stdout=io.StringIO())
    assert not Holiday.objects.filter(date="2026-12-24").exists()
    again = load_calendar_file(now=make.TEST_NOW)
    assert (again.comparison.changes, again.held) == ((), {})


def test_an_edited_year_does_not_keep_a_new_one_out(tmp_path: Path) -> None:
    make.load_reference_data()
    edit_year_2026()
    data = json.loads(CALENDAR_FILE.read_text())
    data["years"].append({"year": 2027, "source": "a list of 2027"})
    data["holidays"].append({"date": "2027-01-26", "description": "Republic Day", "source": "x"})
    path = tmp_path / "calendar.json"
    path.write_text(json.dumps(data))
    report = load_calendar_file(path, now=make.TEST_NOW)
    assert [str(c.row) for c in report.comparison.changes] == [
        "2027",
        "Tue 26 Jan 2027 Republic Day",
    ]
    assert list(report.held) == [2026]
    assert load_calendar().is_trading_day(dt.date(2027, 1, 27))
    loaded = AuditEntry.objects.filter(action="calendar.loaded").latest("id")
    assert (loaded.target_id, loaded.data["because"]) == ("2027", "calendar.json")


def test_the_service_wants_what_the_form_wants() -> None:
    make.load_reference_data()
    row = Row(Table.HOLIDAY, dt.date(2026, 12, 24), CIRCULAR, "Election")
    with pytest.raises(InvalidRequest) as refused:
        propose(lambda rows: with_row(rows, row), because="a friend")
    assert "source" in refused.value.details
    with pytest.raises(CalendarMoved):
        change_calendar(
            edit=lambda rows: with_row(rows, row),
            because=CIRCULAR,
            seen="",
            actor=SYSTEM,
            now=make.TEST_NOW,
        )
    hours = Row(Table.HOURS, dt.date(2027, 2, 1), CIRCULAR, "", dt.time(9), dt.time(15))
    with pytest.raises(InvalidRequest, match="2027 are not loaded"):
        propose(lambda rows: with_row(rows, hours), because=CIRCULAR)
    with pytest.raises(InvalidRequest, match="Nothing changes"):
        propose(lambda rows: dict(rows), because=CIRCULAR)
    assert SpecialSession.objects.count() == 4


# -- the first page -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "years", "tone", "words"),
    [
        ("2026-10-14", (), "ql-good", "Until 31 Dec 2026"),
        ("2026-10-15", (), "ql-warn", "2027 missing"),
        ("2026-11-14", (), "ql-warn", "2027 missing"),
        ("2026-11-15", (), "ql-bad", "2027 missing"),
        ("2026-12-31", (), "ql-bad", "nothing trades after 31 Dec"),
        ("2026-12-31", (2027,), "ql-good", "Until 31 Dec 2027"),
        ("2027-01-01", (), "ql-bad", "the holidays of 2027 are not loaded"),
        ("2027-11-20", (2027,), "ql-bad", "2028 missing"),
        ("2027-11-20", (2027, 2028), "ql-good", "Until 31 Dec 2028"),
        ("2028-11-20", (2027,), "ql-bad", "the holidays of 2028 are not loaded"),
    ],
)
def test_a_missing_next_year_is_red_from_15_november(
    staff: Client, day: str, years: tuple[int, ...], tone: str, words: str
) -> None:
    make.load_reference_data()
    for year in years:
        CalendarYear.objects.create(year=year, source="a list")
    with time_machine.travel(dt.datetime.fromisoformat(f"{day}T10:00+05:30"), tick=False):
        staff.force_login(StaffUser.objects.get())
        page = staff.get("/admin/").content.decode()
    tile = next(part for part in page.split("ql-card ql-tile ")[1:] if ">Calendar<" in part)
    assert tile.startswith(tone)
    assert words in tile
    if tone != "ql-good":  # the way out
        link = re.search(
            r'href="([^"]*)" class="$', page.split(tile)[0][: -len("ql-card ql-tile ")]
        )
        assert link is not None
        assert "/admin/marketplace/calendaryear/add/?year=" in link[1]


def listed_expiry(rule: str) -> dt.date:
    day = dt.date(2026, 12, 30)
    return select_expiry(expiries("NIFTY", day), rule, day)


def test_expiries_of_an_unloaded_january_are_found() -> None:
    """Late December, 2027 not loaded: weekly and monthly legs still find what is listed."""
    december_list()
    assert not load_calendar().is_trading_day(dt.date(2027, 1, 5))
    assert listed_expiry("WEEKLY") == dt.date(2027, 1, 5)
    assert listed_expiry("MONTHLY") == dt.date(2027, 1, 26)
