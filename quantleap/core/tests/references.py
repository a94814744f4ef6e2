"""Finds references in code and docs: pages, headings, decisions, invariants. All must be in the
repository.

Nobody who has only the clone can read a rule that is cited from elsewhere, and a page of the same
name may say something else. So a reference is a path from the repository's root (in a page also
from its own folder), an existing decision or invariant, a public address, or a law.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[3]
ADR: Final = ROOT / "docs/adr"
INVARIANTS: Final = ROOT / "docs/invariants.md"
#: Kinds of files that people write, and those without a suffix.
WRITTEN: Final = {
    ".css", ".html", ".in", ".ini", ".js", ".md", ".py", ".sh", ".sql", ".toml", ".txt", ".typ",
    ".yaml", ".yml",
}  # fmt: skip
NAMED: Final = {"Containerfile", "Makefile", "check-settings", "run"}
#: Made by set-up or runs, compiled, or recorded elsewhere.
NOT_OURS: Final = {
    ".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "htmlcov",
    "node_modules", "var", "data", "requirements.txt", "requirements-dev.txt",
}  # fmt: skip
#: This module and its test quote what they refuse.
QUOTING: Final = {
    ROOT / "quantleap/core/tests" / name for name in ("references.py", "test_docs.py")
}

_URL: Final = re.compile(r"https?://[^\s)>\]\"'`]+")
_LINK: Final = re.compile(r"\[[^\[\]]*\]\((\S+?)\)")
_PAGE: Final = re.compile(r"([\w./-]*\w\.md)\b(?:#([\w-]+))?")
_DECISION: Final = re.compile(r"(?i)\badrs?[ /](\d{4})((?:(?:,| and| to) \d{4})*)")
_INVARIANT: Final = re.compile(r"\bI(\d)\b")
_ISSUE: Final = re.compile(r"(?i)\bissues? (?:#|no\. ?)?\d+")
_SECTION: Final = re.compile(r"(?i)\bsections? \d+(?:\.\d+)*(?:\(\w+\))*")
#: Whose sections may be cited, before or after the number: laws and standards.
_LAW: Final = re.compile(r"\bActs?\b|\bRFC \d|\bUTS \d")
_LAW_BEFORE, _LAW_BEHIND = 40, 30
#: From one line of a docstring, a comment or a split string to the next.
_LINE_END: Final = re.compile(r"[\"']?[ \t]*\n[ \t]*(?:#:? ?|f?[\"'](?=\w))?")
_HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)


def broken(text: str, folder: Path = ROOT) -> list[str]:
    """References in ``text`` that lead nowhere; ``folder`` is where its relative links start."""
    text = _URL.sub(" ", text)
    lines = re.sub(r" {2,}", " ", _LINE_END.sub(" ", text))
    return [*_pages(text, folder), *_decisions(lines), *_invariants(lines), *_outside(lines)]


def _pages(text: str, folder: Path) -> Iterator[str]:
    for name, heading in _PAGE.findall(_LINK.sub(r"\1", text)):  # of a link the address counts
        page = next((path for path in (folder / name, ROOT / name) if path.is_file()), None)
        if page is None:
            yield f"{name} is no page of the repository"
        elif heading and heading not in headings(page):
            yield f"{name} has no heading #{heading}"


def _decisions(text: str) -> Iterator[str]:
    for first, more in _DECISION.findall(text):
        for number in (first, *re.findall(r"\d{4}", more)):
            if number not in decisions():
                yield f"there is no decision {number}"


def _invariants(text: str) -> Iterator[str]:
    for match in _INVARIANT.finditer(text):
        name = invariants().get(match[0])
        if name is None:
            yield f"there is no invariant {match[0]}"
        elif not text.startswith((f" ({name})", f": {name}"), match.end()):
            yield f"{match[0]} is called ({name}): {text[match.start() : match.end() + 40]!r}"


def _outside(text: str) -> Iterator[str]:
    for match in _ISSUE.finditer(text):
        yield f"{match[0]} is in a tracker, not in the repository"
    for match in _SECTION.finditer(text):
        before = text[max(0, match.start() - _LAW_BEFORE) : match.start()]
        behind = text[match.end() : match.end() + _LAW_BEHIND]
        if not _LAW.search(before) and not _LAW.search(behind):
            yield f"{match[0]} of what? {before[-30:]!r}"


@cache
def headings(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    return frozenset(map(_anchor, _HEADING.findall(page.read_text())))


def _anchor(heading: str) -> str:
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.strip().lower())
    return re.sub(r"[^\w\- ]", "", words).replace(" ", "-")


@cache
def decisions() -> frozenset[str]:
    """Numbers of the decision records."""
    return frozenset(path.name[:4] for path in ADR.glob("[0-9]*.md"))


@cache
def invariants() -> dict[str, str]:
    """The invariants: number to name, from the headings of their page."""
    return dict(re.findall(r"^## (I\d): (.+)$", INVARIANTS.read_text(), re.MULTILINE))


def written(folder: Path = ROOT) -> Iterator[Path]:
    """Every hand-written file below ``folder`` that may contain references."""
    for path in sorted(folder.iterdir()):
        if path.name in NOT_OURS or path in QUOTING or path.is_symlink():
            continue
        if path.is_dir():
            yield from written(path)
        elif path.suffix in WRITTEN or path.name in NAMED:
            yield path


def folder_of(path: Path) -> Path:
    """Where a file's relative references start: a page's own folder, otherwise the root."""
    return path.parent if path.suffix == ".md" else ROOT
