"""The rooms of the engine: their contracts can fail, and what no contract can say holds too."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import grimp
import pytest
from importlinter.contracts.layers import LayersContract
from importlinter.contracts.protected import ProtectedContract
from importlinter.domain.contract import Contract

ROOT: Final = Path(__file__).resolve().parents[2]
ENGINE: Final = ROOT / "execution" / "engine"
ARCHITECTURE: Final = (ROOT / "docs/architecture.md").read_text()
DECISION: Final = (ROOT / "docs/adr/0060-the-engine-has-rooms.md").read_text()
KINDS: Final[dict[str, type[Contract]]] = {"layers": LayersContract, "protected": ProtectedContract}


def contracts() -> list[Contract]:
    """Those of pyproject.toml about this room alone."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    ours = [contract for contract in options["contracts"] if is_ours(contract)]
    return [
        KINDS[contract["type"]](
            name=contract["name"],
            session_options={"root_packages": ["execution"]},
            contract_options={key: in_words(value) for key, value in contract.items()},
        )
        for contract in ours
    ]


def in_words(value: Any) -> Any:
    """A truth value as import-linter's own reader of the file hands it on."""
    return str(value) if isinstance(value, bool) else value


def is_ours(options: dict[str, Any]) -> bool:
    """Whether a contract is about the inside of this room."""
    about = options.get("containers", options.get("protected_modules", []))
    return bool(about) and all(name.startswith("execution") for name in about)


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """What imports what in this room."""
    return grimp.build_graph("execution", "quantleap", cache_dir=None)


def broken(graph: grimp.ImportGraph) -> list[str]:
    """Names of the contracts that do not hold."""
    return [
        contract.name
        for contract in contracts()
        if not contract.check(deepcopy(graph), verbose=False).kept
    ]


def test_the_contracts_of_the_room_hold(graph: grimp.ImportGraph) -> None:
    assert len(contracts()) == 4
    assert broken(graph) == []


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("execution.engine.orders.sender", "execution.engine.executor"),
        ("execution.engine.rounds", "execution.engine.process"),
        ("execution.services", "execution.engine.runtime.kill_switch_watch"),
        ("execution.arming", "execution.engine.database.leases"),
        ("execution.events", "execution.engine.database.writer"),
        ("execution.engine.database.writer", "execution.engine.memory.work_list"),
        ("execution.engine.wire.channel", "execution.engine.orders.sender"),
        ("execution.engine.entries.burst", "execution.engine.exits.exit_orders"),
        ("execution.next_steps", "execution.transitions"),
    ],
)
def test_an_import_that_climbs_breaks_a_contract(
    graph: grimp.ImportGraph, importer: str, imported: str
) -> None:
    graph.add_import(importer=importer, imported=imported)
    try:
        assert broken(graph)
    finally:
        graph.remove_import(importer=importer, imported=imported)


def test_a_module_without_a_layer_breaks_a_contract(graph: grimp.ImportGraph) -> None:
    for package in ("execution", "execution.engine"):
        graph.add_module(f"{package}.newcomer")
        try:
            assert broken(graph)
        finally:
            graph.remove_module(f"{package}.newcomer")


# -- what no contract can say ----------------------------------------------------------------
def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every module of the engine by its path in it."""
    for path in sorted(ENGINE.rglob("*.py")):
        yield str(path.relative_to(ENGINE)), ast.parse(path.read_text())


def names_of(tree: ast.Module) -> set[str]:
    """Names and attributes that a module uses."""
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return names | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def test_the_channel_factory_alone_knows_the_test_environment() -> None:
    """I8 (test accounts never reach a broker) has one place."""
    knowing = [path for path, tree in modules() if "Environment" in names_of(tree)]
    assert knowing == ["wire/channel_factory.py"]


def test_no_part_is_handed_an_executor() -> None:
    holding = [path for path, tree in modules() if {"_executor", "Executor"} & names_of(tree)]
    assert holding == ["process.py"]


def test_the_folders_say_what_they_own_here_and_in_the_documents() -> None:
    folders = [path.parent for path in sorted(ENGINE.glob("*/__init__.py"))]
    assert len(folders) == 9
    for folder in folders:
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text())), folder.name
        for page in (ARCHITECTURE, DECISION):
            assert f"{folder.name}/" in page
