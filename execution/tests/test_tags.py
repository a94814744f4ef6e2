"""The tag in every broker's book."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.tags import ALPHABET, MAX_SENDS, ParsedTag, make_tag, new_code, parse_tag

codes = st.text(alphabet=ALPHABET, min_size=12, max_size=12)


@given(code=codes, attempt=st.integers(1, MAX_SENDS))
def test_a_tag_is_read_back_to_its_code_and_attempt(code: str, attempt: int) -> None:
    tag = make_tag(code, attempt)
    assert len(tag) == 14
    assert tag.isascii()
    assert tag.isalnum()
    assert parse_tag(tag) == ParsedTag(code, attempt)


@given(st.text(max_size=20))
def test_nobody_elses_tag_is_ours(text: str) -> None:
    parsed = parse_tag(text)
    assert parsed is None or make_tag(parsed.code, parsed.attempt) == text


@given(code=codes, attempt=st.integers(1, MAX_SENDS), extra=st.text(min_size=1, max_size=3))
def test_a_longer_tag_is_not_ours(code: str, attempt: int, extra: str) -> None:
    tag = make_tag(code, attempt)
    assert parse_tag(tag + extra) is None
    assert parse_tag(extra + tag) is None


@pytest.mark.parametrize("attempt", [0, MAX_SENDS + 1, -1])
def test_no_tag_beyond_the_third_send(attempt: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        make_tag("A" * 12, attempt)


@pytest.mark.parametrize("code", ["A" * 11, "A" * 13, "a" * 12, "A" * 11 + "-", ""])
def test_only_twelve_base36_characters_are_a_code(code: str) -> None:
    with pytest.raises(ValueError, match="base36"):
        make_tag(code, 1)


def test_codes_are_fresh() -> None:
    assert len({new_code() for _ in range(10_000)}) == 10_000
    assert all(set(new_code()) <= set(ALPHABET) for _ in range(100))
