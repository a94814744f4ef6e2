"""Confirmation pages: what was shown is what is done."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin

from quantleap.core import confirmation
from quantleap.core.confirmation import seal, sealed

#: Buttons of pages that change nothing: they lead somewhere, or only show.
LOOKS = {
    *("download_pdf", "history", "stop_entries_here", "stop_entries"),
    *("set_password", "versions"),
}


def test_a_seal_fits_what_it_was_made_of_and_nothing_else() -> None:
    mark = seal(["refund", 1, "amount=5000"])
    assert sealed(mark, ["refund", 1, "amount=5000"])
    for other in (["refund", 1, "amount=500"], ["refund", 2, "amount=5000"], ["refund", 1]):
        assert not sealed(mark, other)
    assert not sealed("", ["refund", 1, "amount=5000"])
    assert not sealed(mark + "x", ["refund", 1, "amount=5000"])


def test_a_page_left_open_asks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    mark = seal(["x"])
    monkeypatch.setattr(confirmation, "SEAL_SECONDS", -1)
    assert not sealed(mark, ["x"])
    assert sealed(mark, ["x"], expires=False)
    assert not sealed(mark, ["y"], expires=False)


def test_a_seal_of_facts_is_none_of_facts_and_figures() -> None:
    both = seal(["refund", 1], ["amount=5"])
    assert sealed(both, ["refund", 1], ["amount=5"])
    assert not sealed(both, ["refund", 1])
    assert not sealed(seal(["refund", 1]), ["refund", 1], ["amount=5"])
    assert not sealed(seal(["refund", 1]), ["refund", 1], [])


def _buttons() -> list[tuple[str, str, Any]]:
    return [
        (str(model._meta.label), name, getattr(page, name))
        for model, page in admin.site._registry.items()
        for name in getattr(page, "actions_detail", ())
        if isinstance(name, str)
    ]


def test_every_button_that_changes_something_asks_first() -> None:
    buttons = _buttons()
    assert len(buttons) > 20
    unasked = [
        f"{label}.{name}"
        for label, name, button in buttons
        if name not in LOOKS and not hasattr(button, "asks")
    ]
    assert unasked == []
