"""What tests of the template page post, and what they read from it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

ADD = "/admin/marketplace/template/add/"


class _Fields(HTMLParser):
    """Names and values of the first form's fields, as a browser would send them."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, list[str]] = {}
        self._select = ""
        self._textarea = ""
        self._template = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        if tag == "template":
            self._template += 1
        if self._template:
            return
        name = named.get("name", "")
        if tag == "input" and name:
            boxed = named.get("type") in ("checkbox", "radio")
            if not boxed or "checked" in named:
                self.values.setdefault(name, []).append(named.get("value", ""))
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select:
            if "selected" in named or self._select not in self.values:  # first one by default
                self.values[self._select] = [named.get("value", "")]
        elif tag == "textarea":
            self._textarea = name
            self.values[name] = [""]

    def handle_endtag(self, tag: str) -> None:
        if tag == "template":
            self._template -= 1
        elif tag == "select":
            self._select = ""
        elif tag == "textarea":
            self._textarea = ""

    def handle_data(self, data: str) -> None:
        if self._textarea:
            self.values[self._textarea][0] += data.removeprefix("\n")


def fields_of(html: str) -> dict[str, Any]:
    """What the page's own form would post."""
    body = html[html.index('id="template_form"') :]
    parser = _Fields()
    parser.feed(body[: body.index("</form>")])
    return {name: values for name, values in parser.values.items() if name != "csrfmiddlewaretoken"}


def errors_of(html: str) -> list[str]:
    """Every message that stands beside a field of the editor."""
    return re.findall(r'<div class="ql-error" role="alert">(.*?)</div>', html)


def hand_written(**changes: Any) -> dict[str, Any]:
    """A condor as a client writes it that never saw the page; ``changes`` replace fields."""
    values: dict[str, Any] = {
        "name": "Condor by hand",
        "description": "Four legs.",
        "index": "NIFTY",
        "category": "INCOME",
        "difficulty": "INTERMEDIATE",
        "tags": "nifty, weekly",
        "visibility": "PUBLIC",
        "pricing_type": "PAID",
        "prices-TOTAL_FORMS": "1",
        "prices-INITIAL_FORMS": "0",
        "prices-0-tier": "STANDARD",
        "prices-0-monthly_fee": "999",
        "prices-0-effective_from": "2026-08-04",
        "strategies-TOTAL_FORMS": "1",
        "strategies-INITIAL_FORMS": "0",
        "strategies-0-name": "Iron condor",
        "strategies-0-underlying": "NIFTY",
        "strategies-0-entry_time": "09:20:00",
        "strategies-0-exit_time": "15:15",
        "strategies-0-order_rule": "BUY_FIRST",
        "strategies-0-square_off": "COMPLETE",
        "strategies-0-move_to_cost": "OFF",
        "strategies-0-leg_failure": "UNWIND_FILLED",
        "strategies-0-legs-TOTAL_FORMS": "4",
        "strategies-0-legs-INITIAL_FORMS": "0",
    }
    legs = [
        ("BUY", "PE", "OTM8"),
        ("SELL", "PE", "OTM4"),
        ("SELL", "CE", "OTM4"),
        ("BUY", "CE", "OTM8"),
    ]
    for number, (side, option_type, moneyness) in enumerate(legs):
        leg = f"strategies-0-legs-{number}"
        values |= {
            f"{leg}-side": side,
            f"{leg}-option_type": option_type,
            f"{leg}-moneyness": moneyness,
            f"{leg}-expiry": "WEEKLY",
            f"{leg}-lots": "1",
        }
    return values | changes
