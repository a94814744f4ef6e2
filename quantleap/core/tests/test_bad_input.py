"""Invalid input, generated from the URL conf and the serializers: the envelope with the field's
name, the right status, no 500, and nothing changed.

Every test reports how many requests it tried and fails below a minimum, so that an empty generator
fails too. The totals are printed at the end of the run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantleap.core.tests.matrix import bad_bodies, bad_callers, bad_requests
from quantleap.core.tests.matrix.bodies import GOOD, good_body, places
from quantleap.core.tests.matrix.cases import Cases, request, with_body
from quantleap.core.tests.matrix.dataset import Dataset, fingerprint
from quantleap.core.tests.matrix.play import envelope_faults, new_client, play, send
from quantleap.core.tests.matrix.routes import Operation

Record = Callable[[str, object], None]
FUZZ_EXAMPLES = int(os.environ.get("QUANTLEAP_FUZZ_EXAMPLES", "300"))
#: Category, and the minimum number of cases.
FLOORS: dict[Callable[[Dataset], Cases], int] = {
    bad_bodies.wrong_fields: 1000,
    bad_bodies.missing_fields: 60,
    bad_bodies.unknown_fields: 200,
    bad_bodies.twice_the_same: 150,
    bad_bodies.broken_bodies: 300,
    bad_bodies.multipliers: 60,
    bad_bodies.refused_late: 10,
    bad_requests.wrong_content: 200,
    bad_requests.oversized: 90,
    bad_requests.wrong_headers: 60,
    bad_requests.wrong_queries: 500,
    bad_requests.unsupported_methods: 200,
    bad_requests.unknown_paths: 300,
    bad_callers.credentials: 1000,
    bad_callers.forbidden: 80,
    bad_callers.suspended: 50,
    bad_callers.foreign_ids: 400,
    bad_callers.foreign_names_in_bodies: 20,
    bad_callers.order_of_checks: 100,
}


@pytest.mark.parametrize("category", FLOORS, ids=lambda category: category.__name__)
def test_it_is_refused_and_nothing_changes(
    dataset: Dataset, category: Callable[[Dataset], Cases], record_property: Record
) -> None:
    name = category.__name__.replace("_", " ")
    # Made first: some need rows of their own, and those are no change that a request made.
    cases = list(category(dataset))
    play(dataset, cases, at_least=FLOORS[category], category=name, record=record_property)


# -- the comparison itself can fail ---------------------------------------------------------------
def test_a_request_that_is_not_refused_is_noticed(dataset: Dataset) -> None:
    pause = next(
        operation
        for operation in with_body()
        if operation.route.endswith("partner/subscriptions/{subscription_id}/pause")
    )
    good = request(pause, dataset, "nothing is wrong with it", 400)
    recorded: list[object] = []
    with pytest.raises(pytest.fail.Exception) as failed:
        play(
            dataset, [good], at_least=1, category="control", record=lambda _, n: recorded.append(n)
        )
    words = str(failed.value)
    assert "200 instead of 400" in words
    assert "subscriptions_subscription changed" in words
    assert recorded == ["1 bad requests: control"]


def test_a_generator_that_makes_nothing_is_noticed(dataset: Dataset) -> None:
    with pytest.raises(AssertionError, match="only 0 cases"):
        play(dataset, [], at_least=1, category="control", record=lambda *_: None)


# -- unforeseen bodies ----------------------------------------------------------------------------
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=30)
ANY_NUMBER = st.integers() | st.floats() | st.sampled_from([2**63, -(2**63), 10**400, 1e308, -0.0])
ANY_JSON = st.recursive(
    st.none() | st.booleans() | ANY_NUMBER | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=8,
)


@st.composite
def any_request(draw: st.DrawFn) -> tuple[Operation, Any, set[str]]:
    """An operation, members for its body (some valid, some arbitrary), and members to omit."""
    operation = draw(st.sampled_from(with_body()))
    assert operation.serializer is not None
    names = [place.path for place in places(operation.serializer()) if "." not in place.path]
    member = st.sampled_from([*names, *names, "colour"]) | ANY_TEXT
    changes = draw(st.dictionaries(member, ANY_JSON | st.just(...), max_size=5))
    inside = draw(st.none() | st.dictionaries(st.sampled_from(sorted(GOOD)), ANY_JSON, max_size=4))
    if inside is not None and "allocations" in names:
        changes["allocations"] = [inside]
    left_out = draw(st.sets(st.sampled_from(names), max_size=2))
    return operation, changes, left_out


def test_any_body_is_answered_and_a_refused_one_changes_nothing(
    dataset: Dataset, record_property: Record
) -> None:
    before, client = fingerprint(), new_client()
    statuses: dict[int, int] = {}

    def check(operation: Operation, body: bytes) -> None:
        # without an Idempotency-Key, whose record keeps a 409 or 422 as it should
        headers = dataset.headers(operation.surface)
        case = request(operation, dataset, "fuzz", 0, body=body, headers=headers)
        savepoint = transaction.savepoint()
        answer = send(client, case)
        after = fingerprint() if answer.status >= 400 else before
        transaction.savepoint_rollback(savepoint)
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        assert answer.status < 500, (str(case), answer.content)
        if answer.status >= 400:
            assert envelope_faults(case, answer) == [], str(case)
            assert after == before, str(case)

    @settings(
        max_examples=FUZZ_EXAMPLES,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(any_request())
    def members(drawn: tuple[Operation, Any, set[str]]) -> None:
        operation, changes, left_out = drawn
        good = good_body(operation, dataset)
        body = {name: value for name, value in good.items() if name not in left_out}
        for name, value in changes.items():
            body[name] = GOOD[name](dataset) if value is ... and name in GOOD else None
            if value is not ...:
                body[name] = value
        check(operation, json.dumps(body).encode())

    @settings(max_examples=FUZZ_EXAMPLES // 3, deadline=None)
    @given(st.sampled_from(with_body()), st.binary(max_size=200))
    def rubbish(operation: Operation, body: bytes) -> None:
        check(operation, body)

    members()
    rubbish()
    tried = sum(statuses.values())
    answered = dict(sorted(statuses.items()))
    record_property("tried", f"{tried} bad requests: fuzzed bodies, by status {answered}")
    assert tried >= FUZZ_EXAMPLES
    assert statuses[400] >= tried // 2, statuses
