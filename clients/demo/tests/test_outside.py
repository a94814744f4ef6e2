"""The clients stand outside: only the standard library, requests, and themselves."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CLIENTS = Path(__file__).resolve().parent.parent.parent
MODULES = sorted(CLIENTS.glob("*/*.py"))
ALLOWED = sys.stdlib_module_names | {"requests"}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_nothing_of_the_project_is_imported(path: Path) -> None:
    foreign = {
        name
        for name in imported(path)
        if name.split(".")[0] not in ALLOWED and not name.startswith("clients.")
    }
    assert not foreign


def test_modules_are_found() -> None:
    assert {"run", "story", "checks", "controls"} <= {path.stem for path in MODULES}
