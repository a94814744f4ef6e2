"""What the documents name exists, and what exists is named: tree, rooms, ports, targets, decisions.

A page that drifts from the code is worse than none; this is how it says so.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
ADR = DOCS / "adr"
ARCHITECTURE = (DOCS / "architecture.md").read_text()
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()

ROOMS = ("marketplace", "partners", "brokers", "subscriptions", "execution")
# Made by set-up or runs, not part of the tree (.gitignore).
NOT_OURS = {"var", "htmlcov", "node_modules"}
# Folders that every room may have; architecture.md names them once, below the tree.
EVERYWHERE = {
    "admin", "api", "management", "migrations", "models", "selectors", "services", "static",
    "templates", "templatetags", "tests",
}  # fmt: skip
INDENT = 4


def tree_block() -> list[str]:
    """Lines of the tree in architecture.md."""
    found = re.search(r"## The tree\n.*?```\n(.*?)```", ARCHITECTURE, re.DOTALL)
    assert found is not None
    return found[1].splitlines()


def folders_named() -> set[str]:
    """Folders of the tree block, as paths: two levels, four blanks each."""
    named, parent = set(), ""
    for line in tree_block():
        name = line.split()[0]
        assert name.endswith("/"), f"not a folder: {line}"
        if line.startswith(" " * INDENT):
            named.add(f"{parent}{name}".rstrip("/"))
        else:
            parent = name
            named.add(name.rstrip("/"))
    return named


def holds_files(folder: Path) -> bool:
    """Whether there is anything of ours in a folder (a removed app leaves its caches behind)."""
    return any(
        path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
        for path in folder.rglob("*")
    )


def subfolders(folder: Path) -> Iterator[Path]:
    """The folders in a folder that belong to the project."""
    for path in sorted(folder.iterdir()):
        hidden = path.name.startswith((".", "__")) or path.name in NOT_OURS
        if path.is_dir() and not hidden and not path.name.endswith(".egg-info"):
            yield path


def folders_there() -> set[str]:
    """The project's folders, two levels deep, without what is the same in every room."""
    there = set()
    for top in subfolders(ROOT):
        inner = {sub for sub in subfolders(top) if sub.name not in EVERYWHERE or top == DOCS}
        there |= {path.relative_to(ROOT).as_posix() for path in {top, *inner} if holds_files(path)}
    return there


def test_the_tree_of_architecture_md_is_the_tree() -> None:
    """Both directions at once: the difference says what to write or to remove."""
    assert folders_named() == folders_there()


def test_what_every_room_may_have_is_explained() -> None:
    """The names that the tree leaves out stand below it."""
    below = ARCHITECTURE.split("## The tree")[1].split("## ")[0]
    shown = {name for name in EVERYWHERE if f"`{name}" in below}
    assert shown == EVERYWHERE


def test_the_rooms_are_drawn_in_the_order_that_imports_must_take() -> None:
    """The drawing, the table of owners, the settings and import-linter agree."""
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = next(c for c in contract["contracts"] if c["name"].startswith("Rooms"))["layers"]
    downward = [layer for layer in layers if layer in ROOMS]
    drawing = ARCHITECTURE.split("## The drawing")[1].split("## ")[0]
    drawn = re.findall(r"^ │  (\w+) ", drawing, re.MULTILINE)
    owners = re.findall(r"^\| `(\w+)` \| ", ARCHITECTURE, re.MULTILINE)
    assert [room for room in drawn if room in ROOMS] == downward
    assert [room for room in owners if room in ROOMS] == downward[::-1] == list(ROOMS)


def test_every_port_is_in_the_table() -> None:
    """Ports are where rooms meet against the direction of imports: none may be hidden."""
    declared = set()
    for package in ("quantleap", *ROOMS):
        for path in (ROOT / package).rglob("*.py"):
            if "tests" not in path.parts and path.name != "registry.py":
                pattern = r"= (?:Port|Handlers)\(\s*\"([\w.]+)\""
                declared |= set(re.findall(pattern, path.read_text()))
    table = re.search(r"\| port \|.*?\n\n", ARCHITECTURE, re.DOTALL)
    assert table is not None
    named = set(re.findall(r"^\| `([\w.]+)` \|", table[0], re.MULTILINE))
    assert declared, "no port found: has their declaration changed?"
    assert named == declared


def test_readme_and_makefile_know_the_same_targets() -> None:
    """Every target the README tells of exists; every target with a help text is told of."""
    told = set(re.findall(r"\bmake ([a-z][a-z-]*)", README))
    targets = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))
    helped = set(re.findall(r"^([a-z][a-z-]*):.*## ", MAKEFILE, re.MULTILINE))
    assert told <= targets
    assert helped - {"help"} <= told


def decisions() -> list[Path]:
    """The decision records in order."""
    return sorted(path for path in ADR.glob("*.md") if path.name != "README.md")


def test_decisions_are_numbered_without_gaps() -> None:
    """0001, 0002 …: a number is never reused, and none is lost."""
    numbers = [path.name[:4] for path in decisions()]
    assert numbers == [f"{number:04d}" for number in range(1, len(numbers) + 1)]


@pytest.mark.parametrize("path", decisions(), ids=lambda path: str(path.name[:4]))
def test_a_decision_has_its_parts(path: Path) -> None:
    """Number in the heading, then context, decision, consequence."""
    text = path.read_text()
    assert re.match(rf"# {path.name[:4]}: \S", text)
    context, _, rest = text.partition("**Decision.**")
    decision, _, consequence = rest.partition("**Consequence.**")
    assert all(part.strip() for part in (context.split("\n", 1)[1], decision, consequence))


def test_the_index_of_decisions_is_complete() -> None:
    """In order, each once, with the title that the record has."""
    row = r"^\| \[(\d{4})\]\(([\w.-]+)\) \| (.+) \|$"
    index = re.findall(row, (ADR / "README.md").read_text(), re.MULTILINE)
    headings = [path.read_text().split("\n", 1)[0].split(": ", 1)[1] for path in decisions()]
    assert [name for _, name, _ in index] == [path.name for path in decisions()]
    assert [title for _, _, title in index] == headings
    assert all(number == name[:4] for number, name, _ in index)


def pages() -> list[Path]:
    """The Markdown pages of the project."""
    return [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    """Relative links and pictures, from the page's own folder."""
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    inside = [link for link in links if not link.startswith(("http:", "https:", "mailto:"))]
    assert [link for link in inside if not (page.parent / link).exists()] == []


def test_code_cites_decisions_that_exist() -> None:
    """``docs/adr/0008`` in a comment must still be there."""
    known = {path.name[:4] for path in decisions()}
    cited = set()
    for package in ("quantleap", *ROOMS, "clients", "bench"):
        for path in (ROOT / package).rglob("*.py"):
            if path != Path(__file__).resolve():
                cited |= set(re.findall(r"docs/adr/(\d{4})", path.read_text()))
    assert cited <= known
