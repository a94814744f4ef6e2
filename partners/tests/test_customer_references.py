"""Which customer an id and an address name: the table, and its properties for any call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partners.customer_references import Known, Outcome, Resolved, clean_external_id, resolve
from quantleap.core.identifiers import BadIdentifier

ASHA = Known(1, "A1", "asha@example.com")
RAVI = Known(2, "R1", "ravi@example.com")
NAMELESS = Known(3, "", "old@example.com")


@pytest.mark.parametrize(
    ("external_id", "email", "by_id", "by_email", "outcome", "key"),
    [
        ("", "asha@example.com", None, ASHA, Outcome.THEM, 1),
        ("", "old@example.com", None, NAMELESS, Outcome.THEM, 3),
        ("", "new@example.com", None, None, Outcome.MAKE, None),
        ("A1", "", ASHA, None, Outcome.THEM, 1),
        ("X9", "", None, None, Outcome.NEEDS_EMAIL, None),
        ("A1", "asha@example.com", ASHA, ASHA, Outcome.THEM, 1),
        ("A1", "new@example.com", ASHA, None, Outcome.THEM, 1),
        ("A1", "ravi@example.com", ASHA, RAVI, Outcome.EMAIL_OF_ANOTHER, None),
        ("A1", "old@example.com", ASHA, NAMELESS, Outcome.EMAIL_OF_ANOTHER, None),
        ("X9", "new@example.com", None, None, Outcome.MAKE, None),
        ("X9", "old@example.com", None, NAMELESS, Outcome.ADOPT, 3),
        ("X9", "ravi@example.com", None, RAVI, Outcome.OTHER_ID, None),
    ],
)
def test_the_table_of_the_documents(
    external_id: str,
    email: str,
    by_id: Known | None,
    by_email: Known | None,
    outcome: Outcome,
    key: int | None,
) -> None:
    resolved = resolve(external_id, email, by_id, by_email)
    assert (resolved.outcome, resolved.key) == (outcome, key)


def test_nobody_named_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="no customer is named"):
        resolve("", "", None, None)


Rule = Callable[[str, str, Known | None, Known | None], Resolved]


@dataclass(slots=True)
class Tenant:
    """A partner's customers, as the database would keep them, under a rule."""

    rule: Rule
    people: list[Known] = field(default_factory=list)

    def find(self, external_id: str, email: str) -> tuple[Known | None, Known | None]:
        by_id = next(
            (person for person in self.people if external_id == person.external_id != ""), None
        )
        return by_id, next((person for person in self.people if person.email == email), None)

    def call(self, external_id: str, email: str) -> Known | None:
        """What one call of a partner does; the customer it acts for."""
        resolved = self.rule(external_id, email, *self.find(external_id, email))
        if resolved.outcome is Outcome.MAKE:
            self.people.append(Known(len(self.people), external_id, email))
            return self.people[-1]
        if resolved.key is None:
            return None
        if resolved.outcome is Outcome.ADOPT:
            self.people[resolved.key] = replace(self.people[resolved.key], external_id=external_id)
        return self.people[resolved.key]


def judge(calls: list[tuple[str, str]], rule: Rule) -> None:
    """Play the calls; nobody may be merged, taken over or lost."""
    tenant = Tenant(rule)
    owner: dict[str, int] = {}  # of an id, from the first call that it led to somebody
    for external_id, email in calls:
        before = list(tenant.people)
        customer = tenant.call(external_id, email)
        # an id that was given stays, an address changes by no call, and nobody is gone
        assert len(tenant.people) - len(before) in (0, 1)
        for was, now in zip(before, tenant.people, strict=False):
            assert (now.key, now.email) == (was.key, was.email)
            assert now.external_id == (was.external_id or now.external_id)
        emails = [person.email for person in tenant.people]
        ids = [person.external_id for person in tenant.people if person.external_id]
        assert (len(set(emails)), len(set(ids))) == (len(emails), len(ids))
        if customer is None:
            assert tenant.people == before  # a refusal writes nothing
            continue
        # whoever is named by an id has it, and always was the same person
        if external_id:
            assert customer.external_id == external_id
            assert owner.setdefault(external_id, customer.key) == customer.key
        else:
            assert customer.email == email
        # an address that is somebody else's was refused
        assert all(person.key == customer.key for person in tenant.people if person.email == email)


IDS = st.sampled_from(["", "A", "a", "B"])
EMAILS = st.sampled_from(["", "a@x.in", "b@x.in", "c@x.in"])
CALLS = st.lists(st.tuples(IDS, EMAILS).filter(any), max_size=30)


@settings(max_examples=400)
@given(CALLS)
def test_no_calls_merge_or_take_over_customers(
    calls: list[tuple[str, str]],
) -> None:
    judge(calls, resolve)


def by_address_first(
    external_id: str, email: str, by_id: Known | None, by_email: Known | None
) -> Resolved:
    """The rule of before: whoever has the address, whatever the id says."""
    if by_email is not None:
        return Resolved(Outcome.THEM, by_email.key)
    return resolve(external_id, email, by_id, by_email)


def never_refusing(
    external_id: str, email: str, by_id: Known | None, by_email: Known | None
) -> Resolved:
    """An address of somebody with an id is given to the next one who asks."""
    resolved = resolve(external_id, email, by_id, by_email)
    if resolved.outcome is Outcome.OTHER_ID and by_email is not None:
        return Resolved(Outcome.ADOPT, by_email.key)
    return resolved


@pytest.mark.parametrize("rule", [by_address_first, never_refusing])
def test_control_a_rule_that_mixes_people_up_is_noticed(rule: Rule) -> None:
    with pytest.raises(AssertionError):
        judge([("A", "a@x.in"), ("B", "a@x.in"), ("A", "b@x.in")], rule)


@pytest.mark.parametrize("text", ["A", "a", "usr 7", "x" * 64, "!~", "' OR 1=1 --", "%_"])
def test_an_id_is_kept_letter_by_letter(text: str) -> None:
    assert clean_external_id(text) == text


@pytest.mark.parametrize(
    "text",
    ["", " ", " a", "a ", "a\n", "a\x00b", "\u212a", "ज़ेबु", "a\u00a0b", "x" * 65, "x" * 10_000],
    ids=lambda text: ascii(text)[:16],
)
def test_what_is_no_id_is_refused_in_words(text: str) -> None:
    with pytest.raises(BadIdentifier, match="printable ASCII"):
        clean_external_id(text)
