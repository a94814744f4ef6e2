"""The template page in a real browser: what only its scripts do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from marketplace.models import Template
from marketplace.selectors import draft_definition
from marketplace.tests import factories as make
from quantleap.core import clock
from quantleap.core.tests.browser import logged_in, shoot

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

ADD = "/admin/marketplace/template/add/"


@pytest.fixture
def page(
    chromium_path: str, live_server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Page]:
    """A logged-in author; any message on the console fails the test."""
    make.load_test_contracts(clock.ist_date(clock.now()))
    with logged_in(
        "author", chromium_path=chromium_path, server=live_server, monkeypatch=monkeypatch
    ) as tab:
        yield tab


def test_an_iron_condor_is_written_from_an_empty_page(page: Page) -> None:
    page.goto(ADD)
    shoot(page, "template-empty")
    page.fill("[name=name]", "Condor by hand")
    page.fill("[name=prices-0-monthly_fee]", "999")
    page.fill("[name=strategies-0-name]", "Iron condor")
    legs = [("BUY", "PE", "OTM8"), ("SELL", "PE", "OTM4"), ("SELL", "CE", "OTM4")]
    for number, (side, option_type, strike) in enumerate(legs):
        page.click("[data-action=add-leg]")
        prefix = f"strategies-0-legs-{number}"
        page.select_option(f"[name={prefix}-side]", side)
        page.select_option(f"[name={prefix}-option_type]", option_type)
        page.select_option(f"[name={prefix}-moneyness]", strike)
    # the fourth leg is a copy of the third, changed; then the first two swap places
    page.locator("[data-action=duplicate-leg]").nth(2).click()
    page.select_option("[name=strategies-0-legs-3-side]", "BUY")
    page.select_option("[name=strategies-0-legs-3-moneyness]", "OTM8")
    page.locator("[data-action=leg-down]").nth(0).click()
    expect(page.locator("#ql-figures")).to_contain_text("Max loss")
    shoot(page, "template-condor")
    page.click("[name=_save]")
    expect(page.locator("#ql-editor")).to_be_visible()
    template = Template.objects.get(name="Condor by hand")
    (strategy,) = draft_definition(template.pk).strategies
    assert [
        (leg.side, leg.option_type, leg.strike.params["moneyness"]) for leg in strategy.legs
    ] == [
        ("SELL", "PE", "OTM4"),
        ("BUY", "PE", "OTM8"),
        ("SELL", "CE", "OTM4"),
        ("BUY", "CE", "OTM8"),
    ]
    page.click("[name=_publish]")
    expect(page.get_by_text("What changes")).to_be_visible()
    shoot(page, "template-publish")
    page.fill("[name=note]", "first version")
    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_text("Version 1 is published")).to_be_visible()
    shoot(page, "template-published")
    template.refresh_from_db()
    assert template.state == Template.State.LISTED


def test_only_the_fields_a_kind_needs_are_shown(page: Page) -> None:
    page.goto(f"{ADD}?start=iron_condor")
    value = page.locator("[name=strategies-0-legs-0-stop_value]")
    expect(value).to_be_hidden()
    page.select_option("[name=strategies-0-legs-0-stop_kind]", "PREMIUM_PERCENT")
    expect(value).to_be_visible()
    value.fill("25")
    page.select_option("[name=strategies-0-legs-0-stop_kind]", "")
    expect(value).to_be_hidden()
    assert value.input_value() == ""


def test_errors_stand_beside_their_field(page: Page) -> None:
    page.goto(f"{ADD}?start=short_straddle")
    page.fill("[name=prices-0-monthly_fee]", "499")
    page.select_option("[name=strategies-0-underlying]", "BANKNIFTY")
    page.fill("[name=strategies-0-exit_time]", "09:00")
    page.click("[name=_save]")
    message = "BANKNIFTY has no weekly expiry; choose MONTHLY."
    leg = page.locator("[data-leg]").nth(0)
    error = leg.get_by_text(message)
    expect(error).to_be_visible()
    expect(page.get_by_role("alert").filter(has_text="Please correct")).to_have_count(1)
    expect(page.get_by_text("Please correct 3 fields of the strategies")).to_be_visible()
    expect(page.locator("[name=strategies-0-exit_time]")).to_be_focused()
    shoot(page, "template-errors")
    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 900})
        box = error.bounding_box()
        assert box is not None
        assert box["height"] < 40, "two lines at the most, not six in a narrow column"
    page.set_viewport_size({"width": 1440, "height": 1000})
    for number in (0, 1):
        page.select_option(f"[name=strategies-0-legs-{number}-expiry]", "MONTHLY")
    page.fill("[name=strategies-0-exit_time]", "15:10")
    page.click("[name=_save]")
    expect(page.locator(".ql-standing")).to_contain_text("Never published")


def test_the_first_error_is_found_in_the_tab_where_it_is(page: Page) -> None:
    page.goto(f"{ADD}?start=iron_condor")
    page.fill("[name=prices-0-monthly_fee]", "499")
    page.get_by_text("Catalogue", exact=True).click()
    page.fill("[name=sac]", "12")
    page.click("[name=_save]")
    expect(page.locator("[name=sac]")).to_be_focused()
    expect(page.get_by_text("Please correct the field that is marked below")).to_have_count(1)


def test_a_blank_builder_has_words_instead_of_axes(page: Page) -> None:
    page.goto(f"{ADD}?start=blank")
    expect(page.get_by_text("Add a leg to a strategy to see its pay-off here.")).to_be_visible()
    expect(page.locator("#ql-payoff")).to_be_hidden()
    page.click("[data-action=add-leg]")
    expect(page.locator("#ql-payoff")).to_be_visible()
    expect(page.locator("#ql-figures")).to_contain_text("Max profit")
    page.locator("[data-action=remove-leg]").click()
    expect(page.locator("#ql-payoff")).to_be_hidden()
    expect(page.get_by_text("No legs yet.")).to_be_visible()


def test_a_broken_leg_is_named_where_the_pay_off_was(page: Page) -> None:
    page.goto(f"{ADD}?start=iron_condor")
    expect(page.locator("#ql-figures")).to_contain_text("Max loss")
    page.select_option("[name=strategies-0-legs-3-stop_kind]", "PREMIUM_PERCENT")
    missing = page.get_by_text("leg 4 (BUY CE OTM8) is missing: Stop value: Give the stop a value.")
    expect(missing).to_be_visible()
    expect(page.locator("#ql-payoff")).to_be_hidden()
    expect(page.locator("#ql-figures")).to_be_empty()
    shoot(page, "template-broken-leg")


def test_every_leg_field_says_its_name_and_shows_its_value(page: Page) -> None:
    page.goto(f"{ADD}?start=iron_condor")
    page.select_option("[name=strategies-0-legs-0-moneyness]", "OTM30")
    page.select_option("[name=strategies-0-legs-0-expiry]", "MONTHLY")
    for name in ("Side", "Type", "Strike", "Expiry", "Lots", "Stop", "Target"):
        field = page.get_by_label("Leg 1").get_by_label(name, exact=True)
        expect(field.first).to_be_visible()
    for width in (1440, 1024, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(CUT_OFF) == [], width


#: Selects whose chosen words are wider than the room before their arrow.
CUT_OFF = """() => [...document.querySelectorAll("#ql-strategies select")].filter((field) => {
  const style = getComputedStyle(field);
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = style.font;
  const room = field.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  return pen.measureText(field.selectedOptions[0].text).width > room + 0.5;
}).map((field) => `${field.name}: ${field.selectedOptions[0].text}`)"""


def test_strategies_are_duplicated_and_removed(page: Page) -> None:
    page.goto(f"{ADD}?start=bull_call_spread")
    page.fill("[name=prices-0-monthly_fee]", "499")
    page.click("[data-action=duplicate-strategy]")
    page.click("[data-action=add-strategy]")
    page.locator("[data-action=remove-strategy]").nth(0).click()
    page.locator("[data-strategy]").nth(2).locator("[data-action=remove-strategy]").click()
    page.click("[name=_save]")
    expect(page.locator(".ql-status")).to_be_visible()
    (strategy,) = draft_definition(Template.objects.get().pk).strategies
    assert strategy.name == "Bull call spread (copy)"
    assert [leg.strike.params["moneyness"] for leg in strategy.legs] == ["ATM", "OTM5"]


def test_the_page_in_the_dark_and_on_a_narrow_screen(page: Page) -> None:
    template = make.make_short_straddle(published=False, now=clock.now())
    page.emulate_media(color_scheme="dark")
    page.goto(f"/admin/marketplace/template/{template.pk}/change/")
    expect(page.locator("#ql-figures")).to_contain_text("Break-even")
    shoot(page, "template-dark")
    page.set_viewport_size({"width": 480, "height": 900})
    expect(page.locator("[data-leg]").nth(0)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 480
    shoot(page, "template-narrow")
