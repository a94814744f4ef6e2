"""Causes in words: every one that a broker can give has its sentence, here and in the API."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings

from brokers.base import Cause
from execution.descriptions import CAUSES, brokers_words


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_of_a_broker_has_a_sentence(cause: Cause) -> None:
    assert CAUSES[cause].endswith(".")


@pytest.mark.parametrize("audience", ["partner", "user"])
def test_the_api_descriptions_name_every_cause(audience: str) -> None:
    text = Path(settings.BASE_DIR, f"docs/api/openapi-{audience}.yaml").read_text()
    assert [cause for cause in CAUSES if cause not in text] == []


def test_what_staff_read_is_not_passed_off_as_a_brokers_words() -> None:
    assert brokers_words("MARGIN", "Insufficient funds") == "Insufficient funds"
    assert brokers_words("CONTRACT_LIST", "one expiry has one lot") == ""
    assert brokers_words("UNWRITABLE", "numeric field overflow") == ""
