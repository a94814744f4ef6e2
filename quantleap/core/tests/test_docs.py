"""The docs agree with the repository: tree, rooms, ports, targets, decisions.

And everything that code and docs cite is in the repository (references.py). A page that drifts from
the code is worse than none.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from quantleap.core.tests import references
from quantleap.core.tests.references import ADR, ROOT, broken

DOCS = ROOT / "docs"
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
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
    match = re.search(r"## The tree\n.*?```\n(.*?)```", ARCHITECTURE, re.DOTALL)
    assert match is not None
    return match[1].splitlines()


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
    """Whether a folder contains files of ours (a removed app leaves its caches behind)."""
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
    folders = set()
    for top in subfolders(ROOT):
        inner = {sub for sub in subfolders(top) if sub.name not in EVERYWHERE or top == DOCS}
        folders |= {
            path.relative_to(ROOT).as_posix() for path in {top, *inner} if holds_files(path)
        }
    return folders


def test_the_tree_of_architecture_md_is_the_tree() -> None:
    """In both directions: the difference says what to add or remove."""
    assert folders_named() == folders_there()


def test_what_every_room_may_have_is_explained() -> None:
    """The names that the tree omits are listed below it."""
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
    """Ports are where rooms meet against the import direction: none may be hidden."""
    declared = set()
    for package in ("quantleap", *ROOMS):
        for path in (ROOT / package).rglob("*.py"):
            if "tests" not in path.parts and path != ROOT / "quantleap/core/ports.py":
                pattern = r"= (?:Port|Handlers)\(\s*\"([\w.]+)\""
                declared |= set(re.findall(pattern, path.read_text()))
    table = re.search(r"\| port \|.*?\n\n", ARCHITECTURE, re.DOTALL)
    assert table is not None
    named = set(re.findall(r"^\| `([\w.]+)` \|", table[0], re.MULTILINE))
    assert declared, "no port found: has their declaration changed?"
    assert named == declared


def test_readme_and_makefile_know_the_same_targets() -> None:
    """Every target in the README exists; every target with a help text is in the README."""
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)", README))
    targets = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))
    helped = set(re.findall(r"^([a-z][a-z-]*):.*## ", MAKEFILE, re.MULTILINE))
    assert named <= targets
    assert helped - {"help"} <= named


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


def test_links_into_a_page_lead_to_a_heading() -> None:
    """``[refunds](billing.md#refunds)``, and ``(#refunds)`` in the page itself."""
    lost = []
    for page in pages():
        for link, heading in re.findall(r"\]\(([^)#\s:]*)#([\w-]+)\)", page.read_text()):
            target = page.parent / link if link else page
            if target.suffix == ".md" and heading not in references.headings(target):
                lost.append(f"{page.name}: {link}#{heading}")
    assert lost == []


# -- what is cited ---------------------------------------------------------------------------------
def tops() -> list[str]:
    """The folders of the project, and its root, whose own files are checked separately."""
    return [".", ".ci", *(folder.name for folder in subfolders(ROOT))]


@pytest.mark.parametrize("top", tops())
def test_nothing_is_cited_that_is_not_here(top: str) -> None:
    """Bug: "execution.md section 7" of a page that was in nobody's clone, and I3 of no page."""
    paths = references.written(ROOT / top)
    own = (path for path in paths if top != "." or path.parent == ROOT)
    lost = [
        f"{path.relative_to(ROOT)}: {reason}"
        for path in own
        for reason in broken(path.read_text(), references.folder_of(path))
    ]
    assert lost == []


OUTSIDE = {
    "a page of another place": ("(money.md)", "money.md is no page of the repository"),
    "a page by its bare name": ("see partners.md", "partners.md is no page of the repository"),
    "a page that was moved": ("docs/execution.md", "docs/execution.md is no page"),
    "a heading that is gone": ("docs/billing.md#gone", "docs/billing.md has no heading #gone"),
    "a decision": ("adr 9001", "there is no decision 9001"),
    "a decision in a list": ("docs/adr/0009, 9002", "there is no decision 9002"),
    "an invariant by its number alone": ("sent once (I3).", "I3 is called (no second send"),
    "two of them": ("in one transaction (I2, I7)", "I2 is called (written before it is sent)"),
    "an invariant by another's name": ("I3 (written before it is sent)", "I3 is called (no second"),
    "an invariant that is none": ("I9 (no such rule)", "there is no invariant I9"),
    "an issue": ("(issue 16, row B4)", "issue 16 is in a tracker, not in the repository"),
    "a section of nothing": ("what a removal does (section 7)", "section 7 of what?"),
}


@pytest.mark.parametrize("kind", OUTSIDE)
def test_control_what_leads_outside_is_found(kind: str) -> None:
    """Each kind of reference that the test above must find, in an otherwise clean line."""
    text, reason = OUTSIDE[kind]
    assert broken(text)[0].startswith(reason)


HERE = {
    "a heading of a page": "docs/billing.md#the-run",
    "decisions": "docs/adr/0022, 0040 and ADR 0013",
    "an invariant": "by I3 (no second send without proof).",
    "an invariant over two lines": "by I3 (no second\n    send without proof).",
    "an invariant in a comment": "# I3 (no second send\n    # without proof)",
    "an invariant in a text of pieces": '"I3 (no second send "\n    "without proof)"',
    "a public page": "https://github.com/standard-webhooks/standard-webhooks/blob/main/README.md#a",
    "a law": "the CGST Act, section 34(2)",
    "a law behind the number": "Section 34(2) of the CGST Act",
    "a standard": "RFC 9110, section 12.5.1,",
}


@pytest.mark.parametrize("kind", HERE)
def test_what_can_be_found_is_let_through(kind: str) -> None:
    assert broken(HERE[kind]) == []


def test_every_test_that_a_page_names_exists() -> None:
    """``docs/invariants.md`` says which test fails without a rule: it must still be there."""
    sources = "\n".join(path.read_text() for path in ROOT.glob("*/**/test_*.py"))
    defined = set(re.findall(r"^ *def (test_\w+)", sources, re.MULTILINE))
    named = {name for page in pages() for name in re.findall(r"`(test_\w+)`", page.read_text())}
    assert named, "no page names a test: has the spelling changed?"
    assert named - defined == set()


def test_the_readme_answers_three_questions_in_two_clicks() -> None:
    """Where "never send twice" is enforced, how to add a route, how to add a strike rule."""
    for page, heading in (
        ("docs/invariants.md", "never-send-twice"),
        ("docs/contributing.md", "add-a-route"),
        ("docs/contributing.md", "add-a-strike-rule"),
    ):
        assert f"({page}#{heading})" in README
        assert heading in references.headings(ROOT / page)
