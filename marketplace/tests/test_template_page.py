"""The template page, driven by the form posts that a browser (or the demo's client) sends."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.urls import reverse

from marketplace.models import Leg, Price, Strategy, Template, TemplateVersion
from marketplace.selectors import draft_definition, name_is_taken
from marketplace.services import withdraw
from marketplace.tests import factories as make
from marketplace.tests.template_form import ADD, errors_of, fields_of, hand_written
from quantleap.core.audit import SYSTEM
from quantleap.core.models import AuditEntry, StaffUser
from quantleap.core.tests.confirming import confirm, seal_of


@pytest.fixture(autouse=True)
def _market(db: None) -> Any:
    make.load_test_contracts()
    with time_machine.travel(make.TEST_NOW, tick=False):
        yield


def test_an_iron_condor_from_an_empty_page_to_its_version(staff: Client) -> None:
    answer = staff.post(ADD, hand_written())
    template = Template.objects.get(name="Condor by hand")
    change = reverse("admin:marketplace_template_change", args=[template.pk])
    assert answer.status_code == 302
    assert answer["Location"] == change
    assert template.state == Template.State.DRAFT
    assert template.tags == ["NIFTY", "WEEKLY"]
    assert Price.objects.get(template=template).monthly_fee == Decimal("999.00")
    (strategy,) = draft_definition(template.pk).strategies
    assert [
        (leg.side, leg.option_type, leg.strike.params["moneyness"]) for leg in strategy.legs
    ] == [
        ("BUY", "PE", "OTM8"),
        ("SELL", "PE", "OTM4"),
        ("SELL", "CE", "OTM4"),
        ("BUY", "CE", "OTM8"),
    ]
    page = staff.get(f"/admin/marketplace/template/{template.pk}/publish/")
    assert page.status_code == 200
    assert "Version 1" in page.content.decode()
    done = confirm(
        staff,
        f"/admin/marketplace/template/{template.pk}/publish/",
        {"confirm": "yes", "note": "first version"},
    )
    assert done.status_code == 302
    template.refresh_from_db()
    assert template.state == Template.State.LISTED
    version = TemplateVersion.objects.get(template=template)
    assert (version.number, version.change_note, version.published_by) == (
        1,
        "first version",
        "asha",
    )
    history = staff.get(f"/admin/marketplace/template/{template.pk}/versions/").content.decode()
    assert "first version" in history
    assert "BUY PE OTM8 WEEKLY, 1 lot" in history


@pytest.mark.parametrize("slug", ["iron_condor", "short_straddle", "bull_call_spread"])
def test_a_starting_point_is_saved_as_the_page_posts_it(staff: Client, slug: str) -> None:
    page = staff.get(f"{ADD}?start={slug}").content.decode()
    values = fields_of(page) | {"prices-0-monthly_fee": "499"}
    answer = staff.post(f"{ADD}?start={slug}", values)
    assert answer.status_code == 302, errors_of(answer.content.decode())
    template = Template.objects.get()
    publish = f"/admin/marketplace/template/{template.pk}/publish/"
    assert confirm(staff, publish, {"confirm": "yes"}).status_code == 302
    assert TemplateVersion.objects.filter(template=template).count() == 1


def test_the_page_posts_back_what_it_shows_without_change(staff: Client) -> None:
    template = make.make_short_straddle()
    before = draft_definition(template.pk)
    url = reverse("admin:marketplace_template_change", args=[template.pk])
    answer = staff.post(url, fields_of(staff.get(url).content.decode()))
    assert answer.status_code == 302
    assert draft_definition(template.pk) == before
    assert not AuditEntry.objects.filter(action="template.draft_saved").exists()
    refused = confirm(
        staff,
        f"/admin/marketplace/template/{template.pk}/publish/",
        {"confirm": "yes", "note": "again"},
    )
    assert refused.status_code == 400
    assert "Nothing changed since version 1." in refused.content.decode()


def test_legs_are_reordered_changed_added_and_removed_by_key(staff: Client) -> None:
    template = make.make_short_straddle()
    old = draft_definition(template.pk).strategies[0]
    url = reverse("admin:marketplace_template_change", args=[template.pk])
    values = fields_of(staff.get(url).content.decode())
    prefix = "strategies-0-legs"
    values |= {
        f"{prefix}-TOTAL_FORMS": "3",
        f"{prefix}-0-DELETE": "on",
        f"{prefix}-1-position": "1",
        f"{prefix}-1-stop_value": "30.00",
        f"{prefix}-2-key": "",
        f"{prefix}-2-position": "0",
        f"{prefix}-2-side": "BUY",
        f"{prefix}-2-option_type": "CE",
        f"{prefix}-2-moneyness": "OTM6",
        f"{prefix}-2-expiry": "WEEKLY",
        f"{prefix}-2-lots": "2",
        f"{prefix}-2-target_kind": "PREMIUM_POINTS",
        f"{prefix}-2-target_value": "40",
    }
    answer = staff.post(url, values)
    assert answer.status_code == 302, errors_of(answer.content.decode())
    new = draft_definition(template.pk).strategies[0]
    assert [leg.key for leg in new.legs][1] == old.legs[1].key
    assert old.legs[0].key not in {leg.key for leg in new.legs}
    assert new.legs[0].target == make.points(40)
    assert new.legs[1].stop == make.percent(30)
    preview = staff.get(f"/admin/marketplace/template/{template.pk}/publish/").content.decode()
    assert "stop at entry premium + 25 %" in preview
    assert "stop at entry premium + 30 %" in preview


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"strategies-0-underlying": "BANKNIFTY"},
            "BANKNIFTY has no weekly expiry; choose MONTHLY.",
        ),
        ({"strategies-0-exit_time": "09:20:00"}, "Must be after the entry time 09:20:00."),
        ({"strategies-0-entry_time": "09:10"}, "The session opens at 09:15 IST."),
        (
            {"strategies-0-entry_time": "09:15"},
            "Not before 09:15:15 IST: the session opens at 09:15, and first prices must arrive.",
        ),
        (
            {"strategies-0-exit_time": "15:29:59"},
            "Not after 15:23:00 IST: Zerodha closes intraday positions from 15:25 on, and an "
            "exit may need a few tries.",
        ),
        ({"strategies-0-entry_time": "soon"}, "Write a time as HH:MM:SS (IST)."),
        (
            {"strategies-0-move_to_cost": "ALL_LEGS"},
            "Needs a leg with a stop; otherwise nothing ever moves to cost.",
        ),
        ({"strategies-0-legs-0-stop_kind": "PREMIUM_PERCENT"}, "Give the stop a value."),
        (
            {"strategies-0-legs-0-stop_value": "25"},
            "Choose percent or points, or clear the value.",
        ),
        (
            {
                "strategies-0-legs-0-stop_kind": "PREMIUM_PERCENT",
                "strategies-0-legs-0-stop_value": "120",
            },
            "A bought leg&#x27;s stop must be below 100 percent of its premium.",
        ),
        (
            {
                "strategies-0-legs-1-target_kind": "PREMIUM_POINTS",
                "strategies-0-legs-1-target_value": "a lot",
            },
            "a lot is not a number.",
        ),
        ({"strategies-0-legs-2-lots": "0"}, "Ensure this value is greater than or equal to 1."),
        (
            {"strategies-0-legs-2-moneyness": "OTM31"},
            "Select a valid choice. OTM31 is not one of the available choices.",
        ),
        (
            {"strategies-0-legs-0-key": "b7c3d9c2-0000-4000-8000-000000000000"},
            "Somebody else removed this leg. Save again to add it as a new one, or remove it.",
        ),
    ],
)
def test_errors_stand_beside_the_field_in_words(
    staff: Client, changes: dict[str, str], message: str
) -> None:
    answer = staff.post(ADD, hand_written(**changes))
    assert answer.status_code == 200
    assert message in errors_of(answer.content.decode())
    assert not Template.objects.exists()


@pytest.mark.parametrize("missing", ["strategies-TOTAL_FORMS", "strategies-0-legs-TOTAL_FORMS"])
def test_a_post_without_its_counters_is_refused_not_crashed(staff: Client, missing: str) -> None:
    values = hand_written()
    del values[missing]
    answer = staff.post(ADD, values)
    assert answer.status_code == 200
    assert not Template.objects.exists()


def test_a_draft_may_be_unfinished_but_not_published(staff: Client) -> None:
    values = hand_written(**{"strategies-0-legs-TOTAL_FORMS": "0", "prices-TOTAL_FORMS": "0"})
    assert staff.post(ADD, values).status_code == 302
    template = Template.objects.get()
    refused = confirm(
        staff, f"/admin/marketplace/template/{template.pk}/publish/", {"confirm": "yes"}
    )
    assert refused.status_code == 400
    text = refused.content.decode()
    assert "Iron condor: Add at least one leg." in text
    assert "A paid template needs a price that is in force today" in text


def test_somebody_elses_change_is_not_overwritten_unasked(staff: Client) -> None:
    template = make.make_short_straddle()
    url = reverse("admin:marketplace_template_change", args=[template.pk])
    mine = fields_of(staff.get(url).content.decode())
    theirs = mine | {"strategies-0-legs-0-lots": "2"}
    with time_machine.travel(make.TEST_NOW + dt.timedelta(seconds=5), tick=False):
        assert staff.post(url, theirs).status_code == 302
        answer = staff.post(url, mine | {"strategies-0-legs-0-lots": "3"})
    assert answer.status_code == 200
    page = answer.content.decode()
    assert "Somebody else changed this template since you opened it (at 09:00:05 IST)." in page
    assert Leg.objects.filter(lots=2).count() == 1
    fields = fields_of(page)
    assert fields["strategies-0-legs-0-lots"] == ["3"]
    assert staff.post(url, fields).status_code == 302, (
        "what was read is overwritten when asked again"
    )
    assert Leg.objects.filter(lots=3).count() == 1


def test_what_somebody_removed_meanwhile_can_be_saved_as_new(staff: Client) -> None:
    """The leg's row is gone; what was typed into it is not."""
    template = make.make_short_straddle()
    url = reverse("admin:marketplace_template_change", args=[template.pk])
    mine = fields_of(staff.get(url).content.decode()) | {"strategies-0-legs-1-lots": "7"}
    removed = Leg.objects.order_by("position")[1]
    removed.delete()
    answer = staff.post(url, mine)
    page = answer.content.decode()
    assert errors_of(page) == [
        "Somebody else removed this leg. Save again to add it as a new one, or remove it."
    ]
    assert staff.post(url, fields_of(page)).status_code == 302
    added = Leg.objects.get(lots=7)
    assert added.key != removed.key


def test_close_reopen_and_withdraw_ask_first(staff: Client) -> None:
    template = make.make_iron_condor()
    base = f"/admin/marketplace/template/{template.pk}/"

    def state() -> str:
        template.refresh_from_db()
        return template.state

    assert staff.get(f"{base}close-to-new/").status_code == 200
    assert state() == "LISTED"
    assert confirm(staff, f"{base}close-to-new/", {"confirm": "yes"}).status_code == 302
    assert state() == "CLOSED_TO_NEW"
    assert confirm(staff, f"{base}reopen/", {"confirm": "yes"}).status_code == 302
    assert state() == "LISTED"
    first = confirm(staff, f"{base}withdraw/", {"confirm": "yes"})
    assert "This cannot be undone" in first.content.decode()
    assert "cancels 0 live subscriptions" in first.content.decode()
    assert state() == "LISTED"
    assert confirm(staff, f"{base}withdraw/", {"confirm": "yes", "again": "yes"}).status_code == 302
    assert state() == "WITHDRAWN"
    assert staff.get(base + "change/").status_code == 200
    assert staff.get(f"{base}publish/").status_code == 403


def test_who_may_only_look_sees_no_way_to_act(client: Client) -> None:
    user = StaffUser.objects.create_user("auditor", password="secret-pass", is_staff=True)
    from django.contrib.auth.models import Permission

    user.user_permissions.add(Permission.objects.get(codename="view_template"))
    client.force_login(user)
    template = make.make_iron_condor()
    base = f"/admin/marketplace/template/{template.pk}/"
    page = client.get(base + "change/")
    assert page.status_code == 200
    assert "/publish/" not in page.content.decode()
    for path in ("publish/", "withdraw/", "close-to-new/"):
        assert confirm(client, base + path, {"confirm": "yes", "again": "yes"}).status_code == 403
    assert client.post(base + "change/", {"name": "mine now"}).status_code == 403
    assert Strategy.objects.count() == 1


def test_what_is_published_is_what_the_page_showed(staff: Client) -> None:
    """Bug: a leg changed behind an open page was published unread."""
    template = make.make_short_straddle(published=False)
    page = f"/admin/marketplace/template/{template.pk}/publish/"
    opened = staff.get(page)
    leg = template.strategies.get().legs.first()
    assert leg is not None
    type(leg).objects.filter(pk=leg.pk).update(lots=leg.lots + 1)
    answer = {"confirm": "yes", "note": "", "seal": seal_of(opened)}
    asked = staff.post(page, answer)
    assert asked.status_code == 409
    assert "has changed since you opened it" in asked.content.decode()
    assert not template.versions.exists()
    assert staff.post(page, {**answer, "seal": seal_of(asked)}).status_code == 302
    assert template.versions.count() == 1


# -- seen from outside -----------------------------------------------------------------------------
PAYOFF = "/admin/marketplace/template/payoff/"


def two_strategies(**changes: Any) -> dict[str, Any]:
    """A condor and a second strategy of the same name with one leg."""
    second = {
        name.replace("strategies-0", "strategies-1"): value
        for name, value in hand_written().items()
        if name.startswith("strategies-0") and "-legs-1" not in name and "-legs-2" not in name
    }
    counts = {"strategies-TOTAL_FORMS": "2", "strategies-1-legs-TOTAL_FORMS": "1"}
    return hand_written() | second | counts | changes


def test_a_duplicate_strategy_name_is_a_field_error(
    staff: Client,
) -> None:
    values = two_strategies(**{"strategies-1-entry_time": "10:01:02"})
    answer = staff.post(ADD, values)
    page = answer.content.decode()
    assert answer.status_code == 200
    assert errors_of(page) == ["Another strategy has this name; choose a different one."]
    fields = fields_of(page)
    assert {name: fields[name] for name in values if name in fields} == {
        name: [value] for name, value in values.items() if name in fields
    }
    assert not Template.objects.exists()
    again = staff.post(ADD, fields | {"strategies-1-name": "Put wing"})
    assert again.status_code == 302


def test_the_pay_off_of_two_strategies_with_one_name_is_drawn(staff: Client) -> None:
    answer = staff.post(PAYOFF, two_strategies())
    assert answer.status_code == 200
    assert [picture["strategy"] for picture in answer.json()["pictures"]] == [
        "Iron condor",
        "Iron condor",
    ]


def test_an_invalid_leg_is_named_and_there_is_no_total(staff: Client) -> None:
    """Bug: the hedge's broken stop left it out, and the picture promised 16 lakh."""
    whole = staff.post(PAYOFF, hand_written()).json()
    assert whole["notes"] == []
    assert whole["pictures"][0]["max_loss"] is not None
    broken = hand_written(**{"strategies-0-legs-3-stop_kind": "PREMIUM_PERCENT"})
    answer = staff.post(PAYOFF, broken).json()
    assert answer["pictures"] == []
    assert answer["notes"] == [
        "Iron condor: leg 4 (BUY CE OTM8) is missing: Stop value: Give the stop a value."
    ]
    blank = hand_written(**{"strategies-0-legs-TOTAL_FORMS": "0"})
    assert staff.post(PAYOFF, blank).json() == {"pictures": [], "notes": []}
    unlisted = hand_written(**{"strategies-0-underlying": "BANKNIFTY"})
    (note,) = staff.post(PAYOFF, unlisted).json()["notes"]
    assert "leg 1 (BUY PE OTM8) is missing: Expiry: BANKNIFTY has no weekly expiry" in note
    late = hand_written(**{"strategies-0-entry_time": "soon"})
    (note,) = staff.post(PAYOFF, late).json()["notes"]
    assert note == "Iron condor: Entry (IST): Write a time as HH:MM:SS (IST)."


def test_two_templates_on_offer_have_two_names(staff: Client) -> None:
    taken = make.make_template(name="Condor by HAND")
    answer = staff.post(ADD, hand_written(name="condor by hand"))
    page = answer.content.decode()
    assert "Another template has this name; choose a different one." in page
    assert fields_of(page)["strategies-0-legs-3-moneyness"] == ["OTM8"]
    withdraw(template_id=taken.pk, actor=SYSTEM, now=make.TEST_NOW)
    assert staff.post(ADD, hand_written()).status_code == 302


def test_a_name_taken_since_the_check_is_a_form_error(
    staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    make.make_template(name="Condor by hand")
    looks: list[bool] = []

    def late(name: str, template: Template) -> bool:
        """Free at the first look, as if the other one had been saved right after it."""
        looks.append(name_is_taken(name, template) and bool(looks))
        return looks[-1]

    monkeypatch.setattr("marketplace.admin.forms.name_is_taken", late)
    answer = staff.post(ADD, hand_written())
    page = answer.content.decode()
    assert (answer.status_code, looks) == (200, [False, True])
    assert "Another template has this name; choose a different one." in page
    assert "was added successfully" not in page
    assert fields_of(page)["strategies-0-legs-3-moneyness"] == ["OTM8"]
    assert Template.objects.count() == 1


def test_a_strategy_refused_by_the_database_loses_nothing(
    staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of strategies are compared when the transaction ends."""
    template = make.make_short_straddle()
    url = reverse("admin:marketplace_template_change", args=[template.pk])
    values = fields_of(staff.get(url).content.decode()) | {"strategies-0-legs-1-lots": "7"}

    def twin(**_options: Any) -> int:
        make.add_strategy(template, [make.leg_spec()], name="Short straddle")
        return 1

    monkeypatch.setattr("marketplace.admin.templates.replace_draft", twin)
    answer = staff.post(url, values)
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "Somebody else saved the same at the same moment." in page
    assert fields_of(page)["strategies-0-legs-1-lots"] == ["7"]
    assert Strategy.objects.count() == 1
    monkeypatch.undo()
    assert staff.post(url, fields_of(page)).status_code == 302


def test_strategies_may_swap_their_names(staff: Client) -> None:
    staff.post(ADD, two_strategies(**{"strategies-1-name": "Wing"}))
    template = Template.objects.get()
    url = reverse("admin:marketplace_template_change", args=[template.pk])
    values = fields_of(staff.get(url).content.decode())
    swapped = {"strategies-0-name": "Wing", "strategies-1-name": "Iron condor"}
    assert staff.post(url, values | swapped).status_code == 302
    assert [strategy.name for strategy in draft_definition(template.pk).strategies] == [
        "Wing",
        "Iron condor",
    ]


def test_a_second_fee_of_one_day_is_refused_in_words(staff: Client) -> None:
    """For everybody: the partner is empty in both rows."""
    twice = {
        "prices-TOTAL_FORMS": "2",
        "prices-1-tier": "STANDARD",
        "prices-1-monthly_fee": "1499",
        "prices-1-effective_from": "2026-08-04",
    }
    page = staff.post(ADD, hand_written(**twice))
    assert page.status_code == 200
    assert not Template.objects.filter(name="Condor by hand").exists()
    assert staff.post(ADD, hand_written()).status_code == 302
    template = Template.objects.get(name="Condor by hand")
    change = reverse("admin:marketplace_template_change", args=[template.pk])

    again = {name: values for name, values in twice.items() if name != "prices-TOTAL_FORMS"}
    post = fields_of(staff.get(change).content.decode())
    post |= {"prices-TOTAL_FORMS": "1", "prices-INITIAL_FORMS": "0"}
    post |= {name.replace("-1-", "-0-"): value for name, value in again.items()}
    answer = staff.post(change, post)

    assert answer.status_code == 200
    assert "There is a fee of ₹999.00 from this day on." in answer.content.decode()
    assert template.prices.count() == 1
