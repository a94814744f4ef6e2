"""Keys and secrets: a new one parses, a modified one does not."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partners.api_keys import checksum, new_key, new_secret, parse_key, parse_secret

BASE62 = string.digits + string.ascii_letters
slugs = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=2, max_size=12)
environments = st.sampled_from(["live", "test"])


@given(slugs, environments)
def test_what_is_made_parses(slug: str, environment: str) -> None:
    key = parse_key(new_key(slug, environment))
    issued = new_secret(slug, environment)
    secret = parse_secret(issued.text)
    assert key is not None
    assert secret == issued
    assert len(issued.tail) == 48
    assert (key.slug, key.environment) == (slug, environment)
    assert secret.belongs_to(key)


@given(slugs, environments, st.integers(0, 47), st.sampled_from(BASE62))
def test_one_wrong_character_is_always_noticed(
    slug: str, environment: str, position: int, character: str
) -> None:
    secret = new_secret(slug, environment)
    index = len(secret.text) - 48 + position
    mistyped = secret.text[:index] + character + secret.text[index + 1 :]
    assert (parse_secret(mistyped) is None) == (mistyped != secret.text)


@given(st.text())
def test_no_text_breaks_the_parsers(text: str) -> None:
    assert parse_key(text) is None
    assert parse_secret(text) is None


def test_the_checksum_is_a_published_one() -> None:
    # CRC32("123456789") is 0xCBF43926, the check value of the algorithm's catalogue entry.
    number = 0
    for digit in checksum("123456789"):
        number = number * 62 + (
            string.digits + string.ascii_uppercase + string.ascii_lowercase
        ).index(digit)
    assert number == 0xCBF43926


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pk_zebu_live_" + "a" * 31,
        "pk_zebu_live_" + "a" * 33,
        "pk_zebu_live_" + "a" * 32 + "\n",
        "pk_Zebu_live_" + "a" * 32,
        "pk_z_live_" + "a" * 32,
        "pk_zebu_prod_" + "a" * 32,
        "pk_zebu_live_" + "é" * 32,
        "pk_zebu_live_" + "١" * 32,
    ],
)
def test_other_shapes_are_no_key(text: str) -> None:
    assert parse_key(text) is None
