"""One place decides what a profile may do: by whether it is production, not by its name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from quantleap.embedded.state import PROJECT_ROOT

NAME = "QUANTLEAP_PROFILE"
# Decides, and shows it in the console's badge.
READERS = {"quantleap/core/production_checks.py", "quantleap/core/console.py"}


def modules() -> Iterator[tuple[str, ast.Module]]:
    """The project's code without tests and without the profiles themselves."""
    listed = (path for path in PROJECT_ROOT.glob("*/**/*.py") if ".venv" not in path.parts)
    for path in (*PROJECT_ROOT.glob("*.py"), *listed):
        name = path.relative_to(PROJECT_ROOT)
        if not {"tests", "var"} & set(name.parts) and name.parent != Path("quantleap/settings"):
            yield name.as_posix(), ast.parse(path.read_text())


def reads(tree: ast.AST) -> bool:
    """Whether the profile's name is looked at, as an attribute or through ``getattr``."""
    return any(
        (isinstance(node, ast.Attribute) and node.attr == NAME)
        or (isinstance(node, ast.Constant) and node.value == NAME)
        for node in ast.walk(tree)
    )


def compares(tree: ast.AST) -> bool:
    """Whether the profile's name is compared with anything, or looked up in something."""
    return any(reads(node) for node in ast.walk(tree) if isinstance(node, ast.Compare | ast.Match))


def test_nobody_else_compares_the_profiles_name() -> None:
    """Bug: a profile `staging` had production's guard, but a developer's proxies and demo data."""
    trees = dict(modules())
    assert len(trees) > 300, "all of the project is looked at"
    assert {name for name, tree in trees.items() if reads(tree)} == READERS
    assert {name for name, tree in trees.items() if compares(tree)} == {
        "quantleap/core/production_checks.py"
    }


@pytest.mark.parametrize(
    "line",
    [
        'settings.QUANTLEAP_PROFILE == "production"',
        '"test" != settings.QUANTLEAP_PROFILE',
        'settings.QUANTLEAP_PROFILE in ("local", "test")',
        'getattr(settings, "QUANTLEAP_PROFILE", "") == "local"',
    ],
)
def test_a_comparison_would_be_noticed(line: str) -> None:
    assert compares(ast.parse(line))
