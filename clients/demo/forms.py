"""A minimal browser for a staff member: pages, their forms, a session.

Forms are read from the page and posted back with the changed values, so CSRF tokens, hidden fields
and defaults are sent as a real browser would.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final
from urllib.parse import urljoin

import requests

TIMEOUT: Final = 30


class PageError(RuntimeError):
    """A page did not do what was expected; the message says which, and what it showed."""


@dataclass
class Form:
    """One ``<form>``: its target and the values that it would send."""

    action: str = ""
    method: str = "get"
    fields: dict[str, list[str]] = field(default_factory=dict)
    buttons: dict[str, str] = field(default_factory=dict)
    choices: dict[str, list[str]] = field(default_factory=dict)

    def set(self, name: str, *values: str) -> None:
        """Fill one existing field."""
        if name not in self.fields and name not in self.choices:
            raise PageError(f"the form has no field {name}: it has {', '.join(self.names())}")
        self.fields[name] = list(values)

    def set_by_label(self, name: str, label: str) -> None:
        """Choose the option of a select whose text or value is ``label``."""
        for option in self.choices.get(name, []):
            value, _, text = option.partition("\t")
            if label in (value, text):
                self.fields[name] = [value]
                return
        raise PageError(f"{name} does not offer {label!r}")

    def names(self) -> list[str]:
        """Names of all fields, sorted."""
        return sorted({*self.fields, *self.choices})

    def data(self, button: str = "") -> list[tuple[str, str]]:
        """The data that pressing ``button`` posts."""
        pairs = [(name, value) for name, values in self.fields.items() for value in values]
        return pairs + ([(button, self.buttons.get(button, ""))] if button else [])


class Page(HTMLParser):
    """A parsed page: forms, links, and texts by element id."""

    _VOID = frozenset({"input", "br", "img", "meta", "link", "hr", "source", "wbr", "area", "col"})

    def __init__(self, url: str, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.url = url
        self.forms: list[Form] = []
        self.links: list[str] = []
        self.texts: dict[str, str] = {}
        self.errors: list[str] = []
        self._form: Form | None = None
        self._select = ""
        self._option: list[str] | None = None
        self._textarea = ""
        self._ids: list[tuple[str, str]] = []
        self._in_errors = 0
        self._hidden = 0
        self.feed(html)

    def form_with(self, *names: str) -> Form:
        """The form that has all these fields."""
        for form in self.forms:
            if set(names) <= {*form.fields, *form.choices, *form.buttons}:
                return form
        raise PageError(f"{self.url} has no form with {', '.join(names)}{self.complaint()}")

    def text(self, element_id: str) -> str:
        """Text of an element by its id."""
        if element_id not in self.texts:
            raise PageError(f"{self.url} shows no #{element_id}{self.complaint()}")
        return self.texts[element_id].strip()

    def complaint(self) -> str:
        """Error messages on the page, for our own error."""
        return f": {'; '.join(self.errors)}" if self.errors else ""

    # -- reading -----------------------------------------------------------------------------
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect forms and their fields."""
        given = {name: value or "" for name, value in attrs}
        if tag == "template":
            self._hidden += 1
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag not in self._VOID:
            self._ids.append((tag, given.get("id", "")))
            if given.get("id"):
                self.texts.setdefault(given["id"], "")
        if "errorlist" in given.get("class", "") or given.get("role") == "alert":
            self._in_errors = len(self._ids)
        if tag == "form" and not self._hidden:
            self._form = Form(given.get("action", ""), given.get("method", "get").lower())
            self.forms.append(self._form)
        elif self._form is not None and not self._hidden:
            self._field(self._form, tag, given)

    def _field(self, form: Form, tag: str, given: dict[str, str]) -> None:
        name = given.get("name", "")
        if tag == "option" and self._select:
            self._option = [given.get("value", ""), ""]
            if "selected" in given:
                form.fields.setdefault(self._select, []).append(given.get("value", ""))
        if not name or "disabled" in given:
            return
        kind = given.get("type", "text").lower()
        if tag == "select":
            self._select = name
            form.choices.setdefault(name, [])
        elif tag == "textarea":
            self._textarea = name
            form.fields[name] = [""]
        elif (tag == "input" and kind == "submit") or tag == "button":
            form.buttons[name] = given.get("value", "")
        elif tag == "input" and kind in ("checkbox", "radio"):
            form.choices.setdefault(name, []).append(given.get("value", "on") + "\t")
            if "checked" in given:
                form.fields.setdefault(name, []).append(given.get("value", "on"))
        elif tag == "input" and kind not in ("button", "image", "file", "reset"):
            form.fields[name] = [given.get("value", "")]

    def handle_data(self, data: str) -> None:
        """Collect texts, options and textareas."""
        if self._option is not None:
            self._option[1] += data
        if self._textarea and self._form is not None:
            self._form.fields[self._textarea][0] += data
        for _, element_id in self._ids:
            if element_id:
                self.texts[element_id] += data
        if self._in_errors and data.strip():
            self.errors.append(" ".join(data.split()))

    def handle_endtag(self, tag: str) -> None:
        if tag == "template":
            self._hidden = max(0, self._hidden - 1)
        if tag == "option" and self._option is not None and self._form is not None:
            value, text = self._option
            self._form.choices[self._select].append(f"{value}\t{' '.join(text.split())}")
            self._option = None
        if tag == "select":
            self._default_option()
        if tag == "textarea" and self._textarea and self._form is not None:
            text = self._form.fields[self._textarea][0]
            self._form.fields[self._textarea] = [text.removeprefix("\n")]
            self._textarea = ""
        if tag == "form" and not self._hidden:
            self._form = None
        for index in range(len(self._ids) - 1, -1, -1):
            if self._ids[index][0] == tag:
                del self._ids[index:]
                break
        if len(self._ids) < self._in_errors:
            self._in_errors = 0

    def _default_option(self) -> None:
        """Without a selected option, a select sends its first."""
        if self._form is not None and self._select not in self._form.fields:
            options = self._form.choices.get(self._select) or []
            if options:
                self._form.fields[self._select] = [options[0].partition("\t")[0]]
        self._select = ""


class Browser:
    """The session of one logged-in person."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.session = requests.Session()

    def get(self, path: str) -> Page:
        """Open a page."""
        return self._page(self.session.get(urljoin(self.base_url, path), timeout=TIMEOUT))

    def submit(self, page: Page, form: Form, button: str = "") -> Page:
        """Send a form and open the page that follows."""
        url = urljoin(page.url, form.action or page.url)
        headers = {"Referer": page.url}
        if form.method == "get":
            answer = self.session.get(url, params=form.data(button), timeout=TIMEOUT)
        else:
            data = form.data(button)
            answer = self.session.post(url, data=data, headers=headers, timeout=TIMEOUT)
        return self._page(answer)

    def _page(self, answer: requests.Response) -> Page:
        page = Page(answer.url, answer.text)
        if answer.status_code >= 400:
            said = page.complaint() or f": {' '.join(answer.text.split())[:300]}"
            raise PageError(f"{answer.request.method} {answer.url} -> {answer.status_code}{said}")
        return page
