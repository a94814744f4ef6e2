"""One id, one address, one person: decided by the database, in real transactions."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import IntegrityError, connections, transaction

from partners import identity
from partners.emails import changes
from partners.emails.changes import change_email
from partners.emails.models import EmailChange
from partners.errors import EmailDiffers, EmailTaken, ExternalIdDiffers
from partners.identity import find_or_create_customer
from partners.models import Customer
from partners.tests.factories import make_customer, make_partner
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.errors import DomainError
from quantleap.core.models import AuditEntry
from quantleap.core.tests.parallel import at_once, somebody_waits

THREADS = 8

pytestmark = pytest.mark.django_db(transaction=True)


def call(partner: Any, external_user_id: str, email: str) -> Customer:
    return find_or_create_customer(
        partner_id=partner.pk,
        environment="live",
        external_user_id=external_user_id,
        email=email,
        now=clock.now(),
    )


def change(customer: Customer, email: str) -> Any:
    return change_email(
        customer_id=customer.pk, email=email, reason="", actor=SYSTEM, now=clock.now()
    )


def test_one_id_with_many_addresses_at_once_is_one_person() -> None:
    partner = make_partner()
    ids = at_once(THREADS, lambda number: call(partner, "A1", f"a{number}@example.com").pk)
    assert len(set(ids)) == 1
    assert Customer.objects.get().external_user_id == "A1"


def test_of_many_ids_for_one_address_the_first_wins() -> None:
    partner = make_partner()
    answers = at_once(
        THREADS,
        lambda number: call(partner, f"A{number}", "asha@example.com").external_user_id,
        errors=(ExternalIdDiffers,),
    )
    given = [answer for answer in answers if not isinstance(answer, DomainError)]
    assert given == [Customer.objects.get().external_user_id]


def test_a_customer_gets_one_id_from_parallel_calls() -> None:
    partner = make_partner()
    make_customer(partner, "asha@example.com")
    at_once(
        THREADS,
        lambda number: call(partner, f"A{number % 2}", "asha@example.com"),
        errors=(ExternalIdDiffers,),
    )
    assert Customer.objects.count() == 1
    assert AuditEntry.objects.filter(action="customer.external_id_given").count() == 1


def test_one_id_for_many_people_at_once_goes_to_one_of_them() -> None:
    partner = make_partner()
    for number in range(THREADS):
        make_customer(partner, f"a{number}@example.com")
    answers = at_once(
        THREADS,
        lambda number: call(partner, "A1", f"a{number}@example.com").pk,
        errors=(EmailDiffers,),
    )
    (given,) = [answer for answer in answers if not isinstance(answer, DomainError)]
    assert Customer.objects.get(external_user_id="A1").pk == given


def test_of_many_who_want_one_address_one_gets_it() -> None:
    partner = make_partner()
    people = [make_customer(partner, f"a{number}@example.com") for number in range(THREADS)]
    answers = at_once(
        THREADS, lambda number: change(people[number], "new@example.com"), errors=(EmailTaken,)
    )
    assert sum(isinstance(answer, EmailTaken) for answer in answers) == THREADS - 1
    assert EmailChange.objects.count() == 1


def test_swapping_addresses_is_refused_without_a_deadlock() -> None:
    """Two customers want each other's address at the same time."""
    partner = make_partner()
    first, second = make_customer(partner, "one@x.in"), make_customer(partner, "two@x.in")
    wishes = [(first, "two@x.in"), (second, "one@x.in")]
    answers = at_once(2, lambda number: change(*wishes[number]), errors=(EmailTaken,))
    assert [type(answer) for answer in answers] == [EmailTaken, EmailTaken]


# -- the look beforehand sees nothing: the constraint decides --------------------------------------
def overtaken(customer: Customer, other: Customer) -> Exception | None:
    """``customer`` wants an address that ``other`` has taken, in a transaction that is still open
    when they look: how their change ends."""
    ended: list[Exception | None] = []

    def want() -> None:
        try:
            change(customer, "new@example.com")
            ended.append(None)
        except (DomainError, IntegrityError) as error:
            ended.append(error)
        finally:
            connections.close_all()

    beside = threading.Thread(target=want)
    with transaction.atomic():
        change(other, "new@example.com")
        beside.start()
        while beside.is_alive() and not somebody_waits():
            pass
    beside.join()
    return ended[0]


def test_an_address_being_taken_is_refused_after_a_wait() -> None:
    partner = make_partner()
    mine, other = make_customer(partner, "mine@x.in"), make_customer(partner, "other@x.in")
    error = overtaken(mine, other)
    assert isinstance(error, EmailTaken)
    assert "Another customer has this address" in error.message
    mine.refresh_from_db()
    assert mine.email == "mine@x.in"
    assert EmailChange.objects.filter(customer=mine).count() == 0


def test_control_without_the_translation_it_would_be_a_crash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(changes, "EMAIL_UNIQUE", "no_such_constraint")
    partner = make_partner()
    mine, other = make_customer(partner, "mine@x.in"), make_customer(partner, "other@x.in")
    assert isinstance(overtaken(mine, other), IntegrityError)


def test_control_who_does_not_look_again_makes_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "_LOOKS", 1)
    partner = make_partner()
    answers = at_once(
        THREADS, lambda number: call(partner, "A1", f"a{number}@x.in"), errors=(DomainError,)
    )
    assert any(isinstance(answer, DomainError) for answer in answers)
