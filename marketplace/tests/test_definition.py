"""JSON form of a definition: reads back what it wrote, and refuses everything else by path."""

from __future__ import annotations

import copy
import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace import definition as d
from marketplace import models
from marketplace.rules import EXIT_RULES, MONEYNESS
from marketplace.tests import factories as make

rules = st.builds(
    d.RuleSpec,
    st.sampled_from([kind.kind for kind in EXIT_RULES.kinds()]),
    st.decimals(min_value="0.01", max_value=99, places=2).map(lambda value: {"value": str(value)}),
)
words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=30)
walls = st.times().map(lambda wall: wall.replace(microsecond=0))
legs = st.builds(
    d.LegSpec,
    key=words,
    side=st.sampled_from(d.SIDES),
    option_type=st.sampled_from(d.OPTION_TYPES),
    lots=st.integers(1, 1000),
    expiry=st.sampled_from(d.EXPIRIES),
    strike=st.sampled_from(MONEYNESS).map(lambda m: d.RuleSpec("STRIKE_TYPE", {"moneyness": m})),
    stop=st.none() | rules,
    target=st.none() | rules,
)
strategies = st.builds(
    d.StrategySpec,
    key=words,
    name=words,
    underlying=words,
    entry_time=walls,
    exit_time=walls,
    weekdays=st.lists(st.integers(0, 6), unique=True).map(tuple),
    special_sessions=st.booleans(),
    product=st.sampled_from(d.PRODUCTS),
    order_rule=st.sampled_from(d.ORDER_RULES),
    square_off=st.sampled_from(d.SQUARE_OFFS),
    move_to_cost=st.sampled_from(d.MOVES_TO_COST),
    leg_failure=st.sampled_from(d.LEG_FAILURES),
    legs=st.lists(legs, max_size=4).map(tuple),
)
definitions = st.builds(d.Definition, st.lists(strategies, max_size=3).map(tuple))


@given(definitions)
def test_reads_back_what_it_wrote(definition: d.Definition) -> None:
    stored = json.loads(json.dumps(d.definition_json(definition)))
    assert d.parse_definition(stored) == definition


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(junk)
def test_hostile_json_is_refused_not_raised(value: Any) -> None:
    with pytest.raises(d.DefinitionError):
        d.parse_definition(value)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    paths = [path]
    if isinstance(value, (dict, list)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, inner in items:
            paths += _paths(inner, (*path, name))
    return paths


BASE = d.definition_json(
    make.definition_spec(make.strategy_spec([make.leg_spec(stop=make.percent(25))]))
)


@pytest.mark.parametrize("path", [path for path in _paths(BASE) if path], ids=str)
def test_every_place_refuses_a_wrong_type(path: tuple[Any, ...]) -> None:
    broken = copy.deepcopy(BASE)
    place = broken
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = object()
    with pytest.raises(d.DefinitionError):
        d.parse_definition(broken)


def test_unknown_and_missing_fields_are_named() -> None:
    broken = copy.deepcopy(BASE)
    broken["strategies"][0]["legs"][0]["trail"] = None
    with pytest.raises(d.DefinitionError) as unknown:
        d.parse_definition(broken)
    assert unknown.value.path == "strategies.0.legs.0.trail"
    del broken["strategies"][0]["legs"][0]["trail"]
    del broken["strategies"][0]["square_off"]
    with pytest.raises(d.DefinitionError) as missing:
        d.parse_definition(broken)
    assert missing.value.path == "strategies.0.square_off"


@pytest.mark.parametrize(
    "text", ["9:20:00", "09:20", "24:00:00", "09:60:00", "09:20:00 ", "\u0660\u0669:20:00"]
)
def test_times_have_one_spelling(text: str) -> None:
    broken = copy.deepcopy(BASE)
    broken["strategies"][0]["entry_time"] = text
    with pytest.raises(d.DefinitionError, match="HH:MM:SS"):
        d.parse_definition(broken)


def test_leg_labels() -> None:
    assert d.leg_label(make.leg_spec("SELL", "CE", "OTM4")) == "SELL CE OTM4 WEEKLY"
    assert d.leg_label(make.leg_spec("BUY", "FUT", expiry="MONTHLY")) == "BUY FUT MONTHLY"


def test_the_models_know_the_same_words() -> None:
    """The pure module cannot import the models, so this holds the two lists together."""
    pairs = [
        (d.SIDES, models.Leg.Side),
        (d.EXPIRIES, models.Leg.Expiry),
        (d.PRODUCTS, models.Strategy.Product),
        (d.ORDER_RULES, models.Strategy.OrderRule),
        (d.SQUARE_OFFS, models.Strategy.SquareOff),
        (d.MOVES_TO_COST, models.Strategy.MoveToCost),
        (d.LEG_FAILURES, models.Strategy.LegFailure),
    ]
    for words_, choices in pairs:
        assert list(words_) == choices.values


def test_a_time_with_seconds_survives() -> None:
    spec = make.definition_spec(make.strategy_spec(entry_time=dt.time(9, 20, 7)))
    assert d.definition_json(spec)["strategies"][0]["entry_time"] == "09:20:07"
