"""The work of staff in the console, before and after the market, through its real forms."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from clients.demo.forms import Browser, Page, PageError
from clients.demo.money import Payment
from clients.demo.story import DAY, GST_PERCENT, HOME_STATE, PARTNER_BPS, Hours, Plan

PERMISSIONS: Final = (
    "marketplace:read",
    "marketplace:subscribe",
    "subscriptions:read",
    "subscriptions:write",
    "broker_accounts:read",
    "broker_accounts:write",
    "webhooks:write",
    "revenue:read",
)
RATE_FROM: Final = "2017-07-01"
SUPPLIER: Final = {
    "effective_from": RATE_FROM,
    "legal_name": "QuantLeap Technologies Private Limited",
    "address": "4th Floor, 12 Cathedral Road\nChennai 600086",
    "gstin": f"{HOME_STATE}AAACQ4821D1ZK",
    "state_code": HOME_STATE,
    "sac": "997331",
    "email": "billing@example.com",
}
PER_MINUTE: Final = "60000"
PER_DAY: Final = "1000000"


@dataclass(frozen=True)
class PartnerKey:
    """A key and its secrets, which the console shows once."""

    key: str
    secret: str


class Staff:
    """A staff member at work in the console."""

    def __init__(self, base_url: str) -> None:
        self.browser = Browser(base_url)

    def log_in(self, username: str, password: str) -> None:
        """Log in through the login page, with its CSRF token."""
        page = self.browser.get("/admin/login/?next=/admin/")
        form = page.form_with("username", "password")
        form.set("username", username)
        form.set("password", password)
        after = self.browser.submit(page, form)
        if "/login/" in after.url:
            raise PageError(f"the console did not let {username} in{after.complaint()}")

    # -- quotes ------------------------------------------------------------------------------
    def add_feed(self, name: str, broker: str, client_id: str, role: str) -> None:
        """Add a feed account, and log it in at its broker."""
        page = self.browser.get("/admin/brokers/feedaccount/add/")
        form = page.form_with("name", "client_id", "new_api_key")
        form.set("name", name)
        form.set_by_label("broker", broker)
        form.set_by_label("role", role)
        form.set("client_id", client_id)
        form.set("new_api_key", f"feed{broker}")
        form.set("new_api_secret", f"secret-feed{broker}")
        self._saved(self.browser.submit(page, form, "_save"))
        number = self._newest("/admin/brokers/feedaccount/", name)
        change = f"/admin/brokers/feedaccount/{number}/change/"
        asked = self._action(change, "log-in")
        begin = next((link for link in asked.links if link.endswith("/log-in/begin/")), "")
        if not begin:
            raise PageError(f"{asked.url} offers no login at {broker}{asked.complaint()}")
        page = self.browser.get(begin)  # the broker's own login page
        form = page.form_with("user_id", "password")
        form.set("user_id", client_id)
        form.set("password", "not-checked-here")
        after = self._saved(self.browser.submit(page, form))
        if not after.url.endswith(change):
            raise PageError(f"the login at {broker} led to {after.url}{after.complaint()}")

    # -- templates ---------------------------------------------------------------------------
    def publish(self, plan: Plan, hours: Sequence[Hours]) -> str:
        """Write a template with one strategy per entry of ``hours``, and publish it.

        Returns its number in the console.
        """
        page = self.browser.get("/admin/marketplace/template/add/")
        form = page.form_with("name", "strategies-TOTAL_FORMS")
        form.set("name", plan.name)
        form.set("description", plan.description)
        form.set_by_label("index", plan.underlying)
        form.set_by_label("pricing_type", "PAID" if plan.fee else "FREE")
        if plan.fee:
            form.set("prices-0-monthly_fee", str(plan.fee))
        for name in [field for field in form.fields if field.startswith("strategies-")]:
            del form.fields[name]
        form.fields.update({name: [value] for name, value in _strategies(plan, hours)})
        page = self._saved(self.browser.submit(page, form, "_publish"))
        if not re.search(r"/\d+/publish/?$", page.url):
            raise PageError(f"saving {plan.name} led to {page.url}{page.complaint()}")
        number = page.url.rstrip("/").split("/")[-2]
        self._confirm(page, note="The demo's first version.")
        return number

    # -- partner -----------------------------------------------------------------------------
    def add_partner(self, slug: str, name: str, redirect_url: str) -> str:
        """Add a partner with their share of the fees; returns its number in the console."""
        page = self.browser.get("/admin/partners/partner/add/")
        form = page.form_with("slug", "default_broker")
        form.set("slug", slug)
        form.set("name", name)
        form.set("default_broker", "zebu")
        form.set("oauth_redirect_urls", redirect_url)
        form.set("revenue_shares-TOTAL_FORMS", "1")
        form.fields["revenue_shares-0-effective_from"] = [DAY.isoformat()]
        form.fields["revenue_shares-0-partner_bps"] = [str(PARTNER_BPS)]
        self._saved(self.browser.submit(page, form, "_save"))
        return self._newest("/admin/partners/partner/", slug)

    def issue_key(self, partner: str) -> PartnerKey:
        """Issue a live key for the partner, with limits that fit 250 customers at once."""
        page = self._action(f"/admin/partners/partner/{partner}/change/", "issue-key")
        form = page.form_with("confirm", "permissions")
        form.set("environment", "live")
        form.set("label", "demo backend")
        form.set("permissions", *PERMISSIONS)
        form.set("requests_per_minute", PER_MINUTE)
        form.set("requests_per_day", PER_DAY)
        shown = self.browser.submit(page, form)
        return PartnerKey(shown.text("api-key"), shown.text("api-secret"))

    def add_webhook_endpoint(self, partner: str, url: str) -> str:
        """Add the partner's endpoint; returns the signing secret."""
        page = self._action(f"/admin/partners/partner/{partner}/change/", "add-webhook-endpoint")
        form = page.form_with("confirm", "url")
        form.set("environment", "live")
        form.set("url", url)
        return self.browser.submit(page, form).text("signing-secret")

    # -- money -------------------------------------------------------------------------------
    def enter_tax_and_supplier(self) -> None:
        """Enter what every invoice needs: the GST rate and the supplier."""
        rate = {"effective_from": RATE_FROM, "rate_pct": str(GST_PERCENT)}
        for kind, values in (("taxrate", rate), ("supplier", SUPPLIER)):
            page = self.browser.get(f"/admin/billing/{kind}/add/")
            form = page.form_with(*values)
            for name, value in values.items():
                form.set(name, value)
            self._saved(self.browser.submit(page, form, "_save"))

    def record_payment(self, number: str, payment: Payment) -> None:
        """Look up an invoice by its number and record money received for it."""
        invoice = self._newest("/admin/billing/invoice/", number, f"?q={number}")
        for _ in range(2 if payment.again else 1):
            page = self._action(f"/admin/billing/invoice/{invoice}/change/", "record-payment")
            self._confirm(
                page,
                amount=str(payment.amount),
                method="BANK_TRANSFER",
                reference=payment.reference,
            )

    # -- inside ------------------------------------------------------------------------------
    def _action(self, path: str, name: str) -> Page:
        """Press one of the buttons at the top of a page."""
        page = self.browser.get(path)
        address = next((link for link in page.links if link.rstrip("/").endswith(f"/{name}")), "")
        if not address:
            raise PageError(f"{page.url} offers no {name}")
        return self.browser.get(address)

    def _confirm(self, page: Page, **values: str) -> Page:
        form = page.form_with("confirm", *values)
        for name, value in values.items():
            form.set(name, value)
        return self._saved(self.browser.submit(page, form))

    def _saved(self, page: Page) -> Page:
        """The page after a form; raises if it shows errors, as then nothing was saved."""
        if page.errors:
            raise PageError(f"{page.url}{page.complaint()}")
        return page

    def _newest(self, path: str, text: str, query: str = "") -> str:
        """The number of the newest row of a list that shows ``text``."""
        page = self.browser.get(path + query)
        numbers: list[str] = re.findall(rf"{path}(\d+)/change", " ".join(page.links))
        if not numbers:
            raise PageError(f"{path} does not list {text}")
        return max(numbers, key=int)


def _strategies(plan: Plan, hours: Sequence[Hours]) -> Iterable[tuple[str, str]]:
    """The form fields of a plan's strategies with their legs (docs/authoring.md names them)."""
    yield from _management("strategies", len(hours))
    for number, period in enumerate(hours):
        yield from _strategy(f"strategies-{number}", number, plan, period)


def _strategy(prefix: str, number: int, plan: Plan, hours: Hours) -> Iterable[tuple[str, str]]:
    yield f"{prefix}-position", str(number)
    yield f"{prefix}-name", hours.name
    yield f"{prefix}-underlying", plan.underlying
    yield f"{prefix}-entry_time", hours.entry.isoformat("seconds")
    yield f"{prefix}-exit_time", hours.exit.isoformat("seconds")
    yield f"{prefix}-order_rule", "BUY_FIRST"
    yield f"{prefix}-square_off", "PARTIAL"
    yield f"{prefix}-move_to_cost", plan.move_to_cost
    yield f"{prefix}-leg_failure", "UNWIND_FILLED"
    yield from _management(f"{prefix}-legs", len(plan.legs))
    for leg_number, leg in enumerate(plan.legs):
        row = f"{prefix}-legs-{leg_number}"
        yield f"{row}-position", str(leg_number)
        yield f"{row}-side", leg.side
        yield f"{row}-option_type", leg.option_type
        yield f"{row}-moneyness", leg.moneyness
        yield f"{row}-expiry", "WEEKLY"
        yield f"{row}-lots", str(leg.lots)
        if plan.stop_percent:
            yield f"{row}-stop_kind", "PREMIUM_PERCENT"
            yield f"{row}-stop_value", plan.stop_percent


def _management(prefix: str, total: int) -> Iterable[tuple[str, str]]:
    yield f"{prefix}-TOTAL_FORMS", str(total)
    yield f"{prefix}-INITIAL_FORMS", "0"
