"""Rows as arrays: what goes in comes out of the database as it was."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest
from django.db import DataError, connection
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase
from psycopg.types.json import Jsonb

from execution.engine.database.sql_batch import literal
from execution.models import Run


def round_trip(kind: str, values: list[Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT u FROM unnest(%s::{kind}[]) AS u", [literal(values)])
        return [row[0] for row in cursor.fetchall()]


no_nul = st.text(st.characters(codec="utf-8", exclude_characters="\x00"))
moments = st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2090, 1, 1), timezones=st.just(dt.UTC))


class Arrays(TestCase):
    """Through PostgreSQL and back."""

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.none() | no_nul))
    def test_text(self, values: list[Any]) -> None:
        """Quotes, backslashes, braces, commas, "NULL", and nothing at all."""
        assert round_trip("text", values) == values

    @settings(max_examples=20, deadline=None)
    @given(
        st.lists(st.none() | st.integers(-(2**62), 2**62)),
        st.lists(st.none() | st.decimals(allow_nan=False, allow_infinity=False, places=4)),
        st.lists(st.none() | moments),
    )
    def test_figures_and_moments(self, ints: list[Any], sums: list[Any], times: list[Any]) -> None:
        assert round_trip("bigint", ints) == ints
        assert round_trip("numeric", sums) == sums
        assert round_trip("timestamptz", times) == times


@pytest.mark.django_db
def test_words_that_mean_something_to_the_database_stay_words() -> None:
    words = ["NULL", "null", "", '"', "\\", "{}", "a,b", " a ", "'; --", "\n\t", "é₹", '\\"']
    assert round_trip("text", words) == words
    assert round_trip("text", [None, "NULL"]) == [None, "NULL"]
    assert round_trip("text", [Run.Status.CLOSED]) == ["CLOSED"]
    document = {"a": 'x"\\', "b": [1, None]}
    assert [text and json.loads(text) for text in round_trip("jsonb", [Jsonb(document), None])] == [
        document,
        None,
    ]


@pytest.mark.django_db
@pytest.mark.parametrize(("kind", "value"), [("smallint", 40_000), ("int", 2**40)])
def test_what_no_column_holds_is_refused_by_the_database(kind: str, value: int) -> None:
    with pytest.raises(DataError), connection.cursor() as cursor:
        cursor.execute(f"SELECT %s::{kind}[]", [literal([value])])


def test_what_is_no_kind_of_row_is_refused_here() -> None:
    with pytest.raises(TypeError, match="float"):
        literal([1.5])
    assert literal([Decimal("1.50"), None, 3]) == "{1.50,NULL,3}"
