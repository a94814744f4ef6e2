"""Reading forms as a browser would."""

from __future__ import annotations

import pytest

from clients.demo.forms import Page, PageError

HTML = """
<html><body>
<p id="api-key"> pk_<b>demo</b> </p>
<ul class="errorlist"><li>Too short.</li></ul>
<form method="POST" action="/save">
  <input type="hidden" name="csrfmiddlewaretoken" value="t&amp;1">
  <input name="name" value="old">
  <input type="checkbox" name="active" checked>
  <input type="checkbox" name="days" value="0"><input type="checkbox" name="days" value="1" checked>
  <input name="ignored" disabled value="x">
  <select name="broker"><option value="">-</option>
  <option value="zebu" selected>Zebu</option></select>
  <select name="index"><option value="7">NIFTY</option><option value="8">BANKNIFTY</option></select>
  <textarea name="note">
two
lines</textarea>
  <template><input name="copied-by-script" value="1"></template>
  <button type="submit" name="_save" value="Save">Save</button>
  <a href="/elsewhere">x</a>
</form>
</body></html>
"""


@pytest.fixture
def page() -> Page:
    return Page("http://127.0.0.1/add/", HTML)


def test_what_would_be_posted(page: Page) -> None:
    form = page.form_with("name", "broker")
    form.set("name", "new")
    form.set_by_label("index", "BANKNIFTY")
    assert form.method == "post"
    assert form.action == "/save"
    assert sorted(form.data("_save")) == [
        ("_save", "Save"),
        ("active", "on"),
        ("broker", "zebu"),
        ("csrfmiddlewaretoken", "t&1"),
        ("days", "1"),
        ("index", "8"),
        ("name", "new"),
        ("note", "two\nlines"),
    ]


def test_texts_links_and_complaints(page: Page) -> None:
    assert page.text("api-key") == "pk_demo"
    assert page.links == ["/elsewhere"]
    assert page.complaint() == ": Too short."


def test_what_is_not_there_is_said(page: Page) -> None:
    form = page.form_with("name")
    with pytest.raises(PageError, match="no field nmae"):
        form.set("nmae", "x")
    with pytest.raises(PageError, match="does not offer 'FINNIFTY'"):
        form.set_by_label("index", "FINNIFTY")
    with pytest.raises(PageError, match="no form with password"):
        page.form_with("password")
    with pytest.raises(PageError, match="shows no #api-secret: Too short"):
        page.text("api-secret")
