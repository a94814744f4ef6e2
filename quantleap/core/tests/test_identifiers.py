"""No identifier folds into somebody else's."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantleap.core.identifiers import (
    EMAIL_PATTERN,
    BadIdentifier,
    ascii_lower,
    ascii_upper,
    clean_email,
)
from quantleap.embedded.state import PROJECT_ROOT

ROOMS = ("quantleap", "marketplace", "partners", "brokers", "subscriptions", "execution")

# Where text from outside is taken in and looked up.
DOORS = {"services", "selectors", "api", "models", "admin", "webhooks", "orders", "rules", "wire"}

# Text that is ours: labels and methods. And bytes, which fold by ASCII alone.
OWN_WORDS = {
    "execution/engine/wire/connection.py": {"name.lower()"},
    "marketplace/services/template_lifecycle.py": {
        "template.get_state_display().lower()",
        "Template.State(target).label.lower()",
    },
}


def folds(path: Path) -> set[str]:
    """The calls of str.upper, str.lower and their like in a file, as written."""
    tree = ast.parse(path.read_text())
    return {
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"upper", "lower", "casefold", "swapcase"}
        and not node.args
    }


def test_text_from_outside_is_folded_by_ascii_alone() -> None:
    folded = {}
    for room in ROOMS:
        for path in sorted((PROJECT_ROOT / room).rglob("*.py")):
            name = path.relative_to(PROJECT_ROOT).as_posix()
            inside = {*path.relative_to(PROJECT_ROOT).with_suffix("").parts}
            if not inside & DOORS or inside & {"tests", "migrations", "simulator"}:
                continue
            if others := folds(path) - OWN_WORDS.get(name, set()):
                folded[name] = others
    assert not folded, "use ascii_upper and ascii_lower of quantleap.core.identifiers"


@given(st.text())
def test_nothing_but_ascii_letters_changes(text: str) -> None:
    for fold in (ascii_upper, ascii_lower):
        folded = fold(text)
        assert len(folded) == len(text)
        for before, after in zip(text, folded, strict=True):
            assert before == after or (before.isascii() and after.isascii())


@pytest.mark.parametrize("text", ["straße", "ﬁx1", "zſ01", "ıd1", "\u212aite"])
def test_what_python_folds_to_ascii_stays_what_it_is(text: str) -> None:
    assert text.upper().isascii() or text.lower().isascii()
    assert not ascii_upper(text).isascii()
    assert not ascii_lower(text).isascii()


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("Kiran@Example.com", "kiran@example.com"),
        (" kiran@example.com\n", "kiran@example.com"),
        ("k.o'hara+x@example.co.in", "k.o'hara+x@example.co.in"),
        ("kiran@Bücher.example", "kiran@xn--bcher-kva.example"),
        ("kiran@xn--bcher-kva.example", "kiran@xn--bcher-kva.example"),
    ],
)
def test_an_email_has_one_spelling(typed: str, stored: str) -> None:
    assert clean_email(typed) == stored
    assert clean_email(stored) == stored
    assert re.match(EMAIL_PATTERN, stored)


@pytest.mark.parametrize(
    "text",
    [
        "\u212airan@example.com",
        "kıran@example.com",
        "kiran@mar\u212aet.com",
        "kiran@exampleﬁ.com",
        "kiran@１２７.0.0.1",
        "kiran@127.0.0.1",
        "kiran@[127.0.0.1]",
        "kiran@localhost",
        "kiran@example。com",
        "kiran@..com",
        "kiran@example.com.",
        '"kiran x"@example.com',
        "kiran..x@example.com",
        ".kiran@example.com",
        "kiran @example.com",
        "kiran@exam ple.com",
        "kiran\x00@example.com",
        "kiran",
        "@example.com",
        "kiran@",
        "a@b@example.com",
        "k" * 65 + "@example.com",
        "k@" + "a" * 60 + "." + "b" * 60 + "." + "c" * 60 + "." + "d" * 60 + ".example.com",
    ],
)
def test_an_invalid_or_ambiguous_email_is_refused(text: str) -> None:
    with pytest.raises(BadIdentifier):
        clean_email(text)


@given(st.text(max_size=40))
def test_whatever_is_typed_is_refused_or_fits_the_database(text: str) -> None:
    for address in (text, f"{text}@example.com", f"kiran@{text}.com"):
        try:
            cleaned = clean_email(address)
        except BadIdentifier:
            continue
        assert re.fullmatch(EMAIL_PATTERN, cleaned)
        assert clean_email(cleaned) == cleaned
