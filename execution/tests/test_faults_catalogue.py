"""docs/faults.md names every scenario of the faults, in the catalogue's words, and no other."""

from __future__ import annotations

import re

import pytest

from execution.tests.faults.catalogue import EVERYTHING, chosen
from quantleap.embedded.state import PROJECT_ROOT

ROW = re.compile(r"^\| ([a-z]+\d+[a-z]*) \| (.+?) \| .+ \|$", re.MULTILINE)


def test_the_page_has_the_scenarios_of_the_catalogue() -> None:
    page = (PROJECT_ROOT / "docs/faults.md").read_text()
    assert ROW.findall(page) == [(scenario.name, scenario.what) for scenario in EVERYTHING]


def test_scenarios_are_chosen_by_name() -> None:
    assert [scenario.name for scenario in chosen("a7, a0")] == ["a7", "a0"]
    assert chosen("") == list(EVERYTHING)
    with pytest.raises(ValueError, match="no scenario a99"):
        chosen("a7,a99")
    assert len({scenario.name for scenario in EVERYTHING}) == len(EVERYTHING)
