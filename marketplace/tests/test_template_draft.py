"""Draft and version in force: the page distinguishes what is saved from what subscribers trade."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.urls import reverse
from django.utils.html import strip_tags

from marketplace.models import Strategy
from marketplace.ports import RUNS
from marketplace.selectors import draft_definition, unpublished
from marketplace.tests import factories as make
from marketplace.tests.template_form import fields_of
from quantleap.core.tests.confirming import confirm


@pytest.fixture(autouse=True)
def _market(db: None) -> Any:
    make.load_test_contracts()
    with time_machine.travel(make.TEST_NOW, tick=False):
        yield


def test_saved_but_unpublished_edits_do_not_look_live(
    staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = make.make_short_straddle(stop_pct=25)
    base = f"/admin/marketplace/template/{template.pk}/"
    page = words(staff, base + "change/")
    assert "Version 1 is in force" in page
    assert "Its next entry: Short straddle on Tue 4 Aug 2026 at 09:20:00 IST." in page
    assert "Unpublished changes" not in page
    values = fields_of(staff.get(base + "change/").content.decode())
    staff.post(base + "change/", values | {"strategies-0-legs-0-stop_value": "30"})
    page = words(staff, base + "change/")
    assert "Unpublished changes. The draft below differs from version 1 in 1 place." in page
    assert "Subscribers keep trading version 1 until you publish the draft." in page
    assert "Published now, it trades first with Short straddle on Tue 4 Aug 2026 at 09:20" in page
    assert f"{base}versions/#draft" in staff.get(base + "change/").content.decode()
    history = words(staff, base + "versions/")
    assert "Draft not published Nobody trades it. Compared with version 1:" in history
    assert "stop at entry premium + 30 %" in history
    key = draft_definition(template.pk).strategies[0].key
    with monkeypatch.context() as armed:
        armed.setattr(RUNS.get(), "made", lambda day: {key} if day == make.TEST_DAY else ())
        late = words(staff, base + "change/")
    assert "Its next entry: Short straddle on Tue 4 Aug 2026" in late
    assert "Published now, it trades first with Short straddle on Wed 5 Aug 2026" in late
    done = confirm(staff, base + "publish/", {}, follow=True)
    assert (
        "Version 2 is published. The first entry that trades it: "
        "Short straddle on Tue 4 Aug 2026 at 09:20:00 IST." in done.content.decode()
    )
    assert "Unpublished changes" not in words(staff, base + "change/")


def test_the_list_tells_unpublished_changes_apart_and_finds_them(staff: Client) -> None:
    changed, same = (make.make_template(name=name) for name in ("Changed one", "Same one"))
    make.make_template(name="Fresh one", published=False)
    Strategy.objects.filter(template=changed).update(exit_time=dt.time(14, 45))
    url = reverse("admin:marketplace_template_changelist")

    def names(draft: str) -> set[str]:
        page = staff.get(url, {"draft": draft}).content.decode()
        return {name for name in ("Changed one", "Same one", "Fresh one") if name in page}

    assert names("changed") == {"Changed one"}
    assert names("published") == {"Same one"}
    assert names("never") == {"Fresh one"}
    assert names("") == {"Changed one", "Same one", "Fresh one"}
    page = words(staff, url)
    assert page.count("Unpublished changes") == 2, "the filter's choice and one row"
    assert unpublished([changed.pk, same.pk]) == {changed.pk}


def words(client: Client, url: str) -> str:
    """The page's text, its white space as a reader sees it."""
    page = client.get(url)
    assert page.status_code == 200
    return " ".join(strip_tags(page.content.decode()).split()).replace(" .", ".")
