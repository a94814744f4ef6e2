"""Counts in sentences."""

from __future__ import annotations

import pytest

from quantleap.core.counts import are, counted


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "No invoices are"),
        (1, "1 invoice is"),
        (2, "2 invoices are"),
        (1412, "1,412 invoices are"),
    ],
)
def test_noun_and_verb_go_with_the_count(count: int, text: str) -> None:
    assert f"{counted(count, 'invoice')} {are(count)}" == text


def test_a_plural_that_an_s_does_not_make() -> None:
    assert counted(2, "delivery", "deliveries") == "2 deliveries"
    assert counted(1, "delivery", "deliveries") == "1 delivery"
