"""One customer per partner, environment and e-mail, however many ask at once."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import IntegrityError, connection

from partners.identity import find_or_create_customer
from partners.models import Customer, Partner, RevenueShare
from partners.selectors import named_customer, share_in_force
from partners.services import create_partner
from partners.tests.factories import make_customer, make_key, make_partner, partner_client
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.errors import InvalidRequest

THREADS = 8


def in_parallel(work: Callable[[int], object]) -> list[object]:
    """Run ``work`` in real parallel connections; exceptions are results."""

    def attempt(number: int) -> object:
        try:
            return work(number)
        except IntegrityError as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(attempt, range(THREADS)))


@pytest.mark.django_db(transaction=True)
def test_parallel_requests_make_one_customer() -> None:
    partner, barrier = make_partner(), threading.Barrier(THREADS)

    def work(number: int) -> int:
        barrier.wait()
        email = "Asha@example.com" if number % 2 else "asha@EXAMPLE.com "
        customer = find_or_create_customer(
            partner_id=partner.pk, environment="live", email=email, now=clock.now()
        )
        return customer.pk

    assert len(set(in_parallel(work))) == 1
    assert Customer.objects.get().email == "asha@example.com"


@pytest.mark.django_db
def test_an_email_with_a_kelvin_sign_is_not_the_customer_kiran() -> None:
    """U+212A folds to k: a stranger would have been given kiran's account."""
    partner = make_partner()
    kiran = make_customer(partner, "kiran@example.com")
    with pytest.raises(InvalidRequest) as caught:
        make_customer(partner, "\u212airan@example.com")
    assert "ASCII" in caught.value.details["user_email"]
    client = partner_client(make_key(partner))
    answer = client.post("/partner/user-tokens", {"user_email": "\u212airan@example.com"})
    assert answer.status_code == 400
    assert "ASCII" in answer.json()["details"]["user_email"]
    assert client.post("/partner/user-tokens", {"user_email": "Kiran@Example.com"}).json()[
        "user_id"
    ] == (kiran.public_id)
    assert Customer.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("email", ["\u212airan@example.com", "Kiran@example.com", "kiran@ü.in"])
def test_the_database_takes_no_email_in_another_spelling(email: str) -> None:
    with pytest.raises(IntegrityError, match="customer_email_ascii"):
        Customer.objects.create(environment="live", email=email, partner_id=make_partner().pk)


@pytest.mark.django_db(transaction=True)
def test_control_the_same_race_without_conflict_handling_fails() -> None:
    partner, barrier = make_partner(), threading.Barrier(THREADS)

    def naive(number: int) -> object:
        mine = Customer.objects.for_partner(partner.pk, "live").filter(email="asha@example.com")
        missing = not mine.exists()
        barrier.wait()  # everyone has looked, nobody has written
        if missing:
            return Customer.objects.create(
                partner_id=partner.pk, environment="live", email="asha@example.com"
            )
        return mine.get()

    results = in_parallel(naive)
    assert sum(isinstance(result, IntegrityError) for result in results) == THREADS - 1


@pytest.mark.django_db
def test_one_e_mail_is_one_customer_per_tenant() -> None:
    first, second = make_partner(), make_partner()
    ids = {
        find_or_create_customer(
            partner_id=partner_id, environment=environment, email="a@b.in", now=clock.now()
        ).public_id
        for partner_id in (first.pk, second.pk, None)
        for environment in ("live", "test")
    }
    assert len(ids) == 6
    customer = named_customer(partner_id=first.pk, environment="test", email="A@B.IN")
    assert customer is not None
    assert customer.public_id in ids


@pytest.mark.django_db
def test_name_and_state_fill_gaps_and_replace_nothing() -> None:
    partner = make_partner()

    def ask(name: str, state: str) -> Customer:
        return find_or_create_customer(
            partner_id=partner.pk,
            environment="live",
            email="a@b.in",
            name=name,
            state=state,
            now=clock.now(),
        )

    assert ask("", "").name == ""
    assert ask("Asha", "27").name == "Asha"
    assert (ask("Other", "29").name, Customer.objects.get().state) == ("Asha", "27")


@pytest.mark.django_db
def test_the_share_in_force_is_the_latest_row_not_after_the_day() -> None:
    partner = make_partner()
    assert share_in_force(partner.pk, dt.date(2026, 1, 1)) == 3000
    for day, share in ((1, 2500), (10, 4000)):
        RevenueShare.objects.create(
            partner=partner, effective_from=dt.date(2026, 1, day), partner_bps=share
        )
    shares = [share_in_force(partner.pk, dt.date(2026, 1, day)) for day in (1, 9, 10, 31)]
    assert shares == [2500, 2500, 4000, 4000]


@pytest.mark.django_db
def test_a_partner_begins_with_its_share_and_a_slug_of_its_own() -> None:
    now = dt.datetime(2026, 3, 31, 20, 0, tzinfo=dt.UTC)  # already 1 April in India

    def make() -> Partner:
        return create_partner(
            slug="ACME", name="Acme", default_broker="zebu", actor=SYSTEM, now=now, share_bps=2000
        )

    partner = make()
    assert partner.slug == "acme"
    assert RevenueShare.objects.get().effective_from == dt.date(2026, 4, 1)
    with pytest.raises(InvalidRequest, match="taken"):
        make()
