"""Brokers' square-off times are on a page of the console. Bug: they were only in a file of the
repository."""

from __future__ import annotations

import datetime as dt

import pytest
import time_machine
from django.test import Client
from django.urls import reverse

from marketplace.admin.square_offs import NONE_PUBLISHED, square_off_panel
from marketplace.selectors import load_calendar
from marketplace.tests.factories import load_reference_data
from quantleap.core.models import StaffUser

pytestmark = pytest.mark.django_db


def test_each_brokers_cut_off_has_last_exit_and_source(client: Client) -> None:
    load_reference_data()
    client.force_login(StaffUser.objects.create_superuser("asha", "asha@example.com", "secret"))
    with time_machine.travel(dt.datetime(2026, 9, 8, 4, tzinfo=dt.UTC), tick=False):
        page = client.get(reverse("admin:marketplace_sessionhours_changelist"))
    panel = page.context["square_offs"]
    texts = [[cell.text for cell in row] for row in panel.rows]
    assert [row[:4] for row in texts] == [["Zerodha", "1 Jan 2025", "15:25", "15:23"]]
    assert panel.rows[0][4].link.startswith("https://support.zerodha.com/")
    html = page.content.decode()
    assert "Square-offs by brokers" in html
    assert "15:23" in html


def test_before_any_broker_had_published_one_the_close_holds() -> None:
    load_reference_data()
    panel = square_off_panel(load_calendar(), dt.date(2024, 12, 31))
    assert (panel.rows, panel.empty) == ((), NONE_PUBLISHED)
