"""Two authors at the same moment: one saves, the other gets a message, neither loses what they
typed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import time_machine
from django.db import connections
from django.test import Client

from marketplace.models import Template
from marketplace.selectors import draft_definition, name_is_taken
from marketplace.tests import factories as make
from marketplace.tests.template_form import ADD, fields_of, hand_written
from quantleap.core.models import StaffUser

pytestmark = pytest.mark.django_db(transaction=True)


def post_together(url: str, posts: list[dict[str, Any]]) -> list[Any]:
    """Every post from a thread of its own, by one author."""
    user = StaffUser.objects.create_superuser("author", "author@example.com", "secret-pass")

    def post(values: dict[str, Any]) -> Any:
        try:
            client = Client()
            client.force_login(user)
            return client.post(url, values)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(posts)) as pool:
        return list(pool.map(post, posts))


def test_of_two_templates_with_one_name_one_is_saved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other page keeps everything as typed."""
    make.load_test_contracts()
    both = Barrier(2, timeout=30)
    looks: list[bool] = []

    def together(name: str, template: Template) -> bool:
        """Nobody saves before both have looked."""
        is_taken = name_is_taken(name, template)
        looks.append(is_taken)
        if len(looks) <= 2:
            both.wait()
        return is_taken

    monkeypatch.setattr("marketplace.admin.forms.name_is_taken", together)
    with time_machine.travel(make.TEST_NOW, tick=False):
        answers = post_together(
            ADD, [hand_written(), hand_written(**{"strategies-0-legs-0-lots": "7"})]
        )
    assert looks[:2] == [False, False], "control: both had seen the name free"
    assert sorted(answer.status_code for answer in answers) == [200, 302]
    assert Template.objects.count() == 1
    (refused,) = (answer for answer in answers if answer.status_code == 200)
    page = refused.content.decode()
    assert "Another template has this name; choose a different one." in page
    saved = draft_definition(Template.objects.get().pk).strategies[0].legs[0].lots
    assert {saved, int(fields_of(page)["strategies-0-legs-0-lots"][0])} == {1, 7}


def test_of_two_saves_of_one_template_the_second_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both pages show the same revision; without waiting, both would pass for the newest."""
    make.load_test_contracts()
    with time_machine.travel(make.TEST_NOW):
        template = make.make_short_straddle()
        url = f"/admin/marketplace/template/{template.pk}/change/"
        client = Client()
        client.force_login(StaffUser.objects.create_superuser("reader", password="secret-pass"))
        page = fields_of(client.get(url).content.decode())
        posts = [page | {"strategies-0-legs-0-lots": str(lots)} for lots in (3, 7)]
        answers = post_together(url, posts)
    assert sorted(answer.status_code for answer in answers) == [200, 302]
    (refused,) = (answer for answer in answers if answer.status_code == 200)
    assert "Somebody else changed this template since you opened it" in refused.content.decode()
