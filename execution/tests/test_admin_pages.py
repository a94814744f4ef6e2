"""The console's pages of the trading day: who may look, and how many queries each costs."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from execution.models import Execution, KillSwitch, OrderIntent, Run, ShardLease
from execution.tests.consoleday import PAGES, Day, get, list_of, login

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("name", PAGES)
def test_every_page_answers_with_a_constant_number_of_queries(
    day: Day, staff: Client, name: str
) -> None:
    day.fill(1)
    url = PAGES[name](day)
    get(staff, url)
    with CaptureQueriesContext(connection) as before:
        get(staff, url)
    day.fill(5)
    ShardLease.objects.bulk_create(ShardLease(shard=n) for n in range(8))
    with CaptureQueriesContext(connection) as after:
        get(staff, url)
    assert len(after) == len(before), [q["sql"][:120] for q in after.captured_queries]
    assert len(after) <= 30


@pytest.mark.parametrize("name", PAGES)
def test_no_page_without_its_permission(day: Day, name: str) -> None:
    day.fill(1)
    url = PAGES[name](day)
    assert Client().get(url).status_code == 302
    assert login().get(url).status_code == 403


@pytest.mark.parametrize("name", [n for n in PAGES if n not in ("engage", "list of killswitch")])
def test_who_may_view_may_look_and_nothing_else(day: Day, name: str) -> None:
    day.fill(1)
    models = ("run", "execution", "alarm", "orderintent", "executornode")
    viewer = login(*(f"view_{model}" for model in models))
    url = PAGES[name](day)
    get(viewer, url)
    if name in ("run", "execution"):
        assert viewer.post(url, {"status": "CLOSED"}).status_code == 403
    assert viewer.get(reverse("admin:execution_killswitch_add")).status_code == 403


def test_unknown_pages_are_404_or_lead_back(staff: Client) -> None:
    for model in ("run", "execution"):
        for key in ("999999", "abc"):
            url = reverse(f"admin:execution_{model}_change", args=[key])
            assert staff.get(url).status_code == 404
    assert staff.get(reverse("admin:execution_executornode_change", args=["x"])).status_code == 404


@pytest.mark.parametrize("name", [n for n in PAGES if n != "engage"])
def test_the_kill_switch_is_one_click_away(day: Day, staff: Client, name: str) -> None:
    day.fill(1)
    text = get(staff, PAGES[name](day))
    add = reverse("admin:execution_killswitch_add")
    assert add in text or "stop-entries" in text
    if name == "run":
        assert f"{add}?template={day.template.pk}" in text


def test_the_first_page_leads_to_the_kill_switch(day: Day, staff: Client) -> None:
    assert f'href="{list_of(KillSwitch)}"' in get(staff, "/admin/")


def test_the_button_of_the_lists_leads_to_the_question(staff: Client) -> None:
    for model in (Run, Execution, OrderIntent):
        url = reverse(f"admin:execution_{model._meta.model_name}_stop_entries")
        assert staff.get(url)["Location"] == reverse("admin:execution_killswitch_add")
