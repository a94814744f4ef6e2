"""Rules for the code of every room: names have one home, long calls name their arguments."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
MOST = 6
CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]*")
FOLDERS = (
    "quantleap", "marketplace", "partners", "brokers", "subscriptions", "execution",
    "bench", "clients",
)  # fmt: skip


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Our own modules with their AST, without tests and migrations."""
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
    """Bug: ``Partner`` to be had from the brokers' models, ``Mapping`` from a bench."""
    handing_out = [path for path, module in modules() if names_handed_out(module)]
    assert "subscriptions/services/__init__.py" in handing_out, "nothing is read"
    assert [path for path in handing_out if not path.endswith("/__init__.py")] == []


def not_final(module: ast.Module) -> list[str]:
    """Constants of a module, by the case of their names, that may be reassigned."""
    targets = []
    for node in module.body:
        if isinstance(node, ast.Assign):
            called = ast.unparse(node.value).partition("(")[0].rpartition(".")[2]
            names = [name for target in node.targets for name in ast.walk(target)]
            targets += [] if called in ("TypeVar", "ParamSpec") else names
        elif isinstance(node, ast.AnnAssign) and "Final" not in ast.unparse(node.annotation):
            targets.append(node.target)
    return [
        target.id
        for target in targets
        if isinstance(target, ast.Name) and CONSTANT.fullmatch(target.id)
    ]


def test_every_constant_of_a_module_is_final() -> None:
    """The settings are none: a profile gives them other values."""
    reassignable = {
        path: names
        for path, module in modules()
        if not path.startswith("quantleap/settings/") and (names := not_final(module))
    }
    assert reassignable == {}
    assert not_final(ast.parse("A_B = 1\nC: int = 2\nD: Final = 3\n_E, F = 4, 5")) == [
        "A_B",
        "C",
        "_E",
        "F",
    ]


def positional(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Parameters that a call may pass by position, without self."""
    names = [parameter.arg for parameter in (*function.args.posonlyargs, *function.args.args)]
    return [name for name in names if name not in ("self", "cls")]


def test_no_call_has_seven_values_without_names() -> None:
    """Bug: a helper that was called with ten values in a row."""
    counts = {
        f"{path}: {node.name}": len(positional(node))
        for path, module in modules()
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert counts["subscriptions/billing/settlement/refunds.py: _issue"] == 2, "nothing is read"
    assert {name: count for name, count in counts.items() if count > MOST} == {}


def test_no_test_module_is_imported_by_another() -> None:
    """What several of them need is a helper of its own: whoever runs one file reads no other."""
    imported = [
        f"{path.relative_to(ROOT)}: {node.module}"
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("tests/**/*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and ".tests." in (node.module or "")
    ]
    assert imported, "nothing is read"
    assert [line for line in imported if line.rpartition(".")[2].startswith("test_")] == []
