"""No test is outside the stages of ``make test`` and ``make browser``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def listed(name: str, file: str) -> set[str]:
    """Top-level folders of a list whose lines end in a backslash but for the last."""
    match = re.search(rf"^{name} :?= ((?:.*\\\n)*.*)$", (ROOT / file).read_text(), re.MULTILINE)
    assert match is not None
    return {word.partition("/")[0] for word in re.findall(r"[a-z][\w./]*", match[1])} - {
        "addprefix"
    }


def marked(mark: str) -> set[str]:
    """Top-level folders with a test of this mark."""
    use = re.compile(rf"\bmark\.{mark}\b")
    return {
        top
        for top in listed("testpaths", "pytest.ini")
        if any(use.search(path.read_text()) for path in (ROOT / top).rglob("test_*.py"))
    }


@pytest.mark.parametrize(
    ("mark", "stage"), [("process", "PROCESS_TESTS"), ("browser", "BROWSER_TESTS")]
)
def test_a_stage_names_every_folder_that_has_a_test_of_it(mark: str, stage: str) -> None:
    with_tests = marked(mark)
    assert len(with_tests) > 3
    assert with_tests - listed(stage, "Makefile") == set()
