"""What stands in one place only: names that a module hands out are its own."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = ("quantleap", "marketplace", "partners", "brokers", "subscriptions", "execution", "bench")


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Our own modules with their code, without tests and migrations."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not {"tests", "migrations"} & set(path.parts):
                yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def names_handed_out(module: ast.Module) -> list[str]:
    """Names in ``__all__``."""
    return [
        name.value
        for node in module.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        for name in ast.walk(node.value)
        if isinstance(name, ast.Constant) and isinstance(name.value, str)
    ]


def test_only_a_package_hands_out_names_of_others() -> None:
    """Seen: ``Partner`` to be had from the brokers' models, ``Mapping`` from a bench."""
    handing_out = [path for path, module in modules() if names_handed_out(module)]
    assert "subscriptions/services/__init__.py" in handing_out, "nothing is read"
    assert [path for path in handing_out if not path.endswith("/__init__.py")] == []
