"""The console's login allows nobody many tries."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from redis.exceptions import ConnectionError as RedisConnectionError

from quantleap.core import clock, login
from quantleap.core.models import AuditEntry, StaffUser

URL = "/admin/login/"
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _staff(monkeypatch: pytest.MonkeyPatch) -> None:
    StaffUser.objects.create_superuser("asha", password="correct horse")
    # One counting window per test: a minute that ends meanwhile would start to count anew.
    end = int(clock.timestamp()) + 600
    monkeypatch.setattr("django_ratelimit.core._get_window", lambda value, period: end)


def attempt(username: str = "asha", password: str = "wrong", address: str = "203.0.113.9") -> Any:
    form = {"username": username, "password": password}
    return Client(REMOTE_ADDR=address).post(URL, form)


def test_the_right_password_gets_in_and_the_wrong_one_does_not() -> None:
    assert attempt().status_code == 200
    assert attempt(password="correct horse").status_code == 302


def test_an_account_gets_ten_tries_from_all_addresses() -> None:
    for number in range(10):
        spelling = "asha" if number % 2 else " ASHA"
        assert attempt(spelling, address=f"203.0.113.{number}").status_code == 200
    refused = attempt(password="correct horse", address="198.51.100.1")
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "60")
    assert attempt("other").status_code == 200


def returning(username: str = "asha", password: str = "correct horse") -> Client:
    """A browser with which this person has logged in, and out again."""
    client = Client(REMOTE_ADDR="192.0.2.7")
    form = {"username": username, "password": password}
    assert client.post(URL, form).status_code == 302
    client.post("/admin/logout/")
    return client


def under_attack() -> None:
    for number in range(12):
        attempt(address=f"203.0.113.{number}")


def test_guesses_elsewhere_do_not_lock_out_a_known_browser() -> None:
    """Bug: ten wrong passwords from anywhere kept the administrator out for a minute."""
    client = returning()
    under_attack()
    form = {"username": "asha", "password": "correct horse"}
    assert attempt(password="correct horse").status_code == 429, "the control: an unknown browser"
    assert client.post(URL, form).status_code == 302


def test_a_known_browser_has_ten_tries_too() -> None:
    client = returning()
    wrong = {"username": "asha", "password": "wrong"}
    tries = [client.post(URL, wrong).status_code for _ in range(12)]
    assert tries == [200] * 10 + [429] * 2
    assert attempt().status_code == 200, "and uses up nobody else's"


def test_anothers_cookie_gains_no_tries() -> None:
    """Neither as it is nor under the name of the account that is attacked."""
    StaffUser.objects.create_superuser("ravi", password="battery staple")
    thief = returning("ravi", "battery staple")
    [stolen] = [v.value for k, v in thief.cookies.items() if k.startswith("known_device")]
    under_attack()
    thief.cookies[login._cookie_name("asha")] = stolen
    answer = thief.post(URL, {"username": "asha", "password": "correct horse"})
    assert answer.status_code == 429


def test_another_password_forgets_the_browsers() -> None:
    client = returning()
    person = StaffUser.objects.get(username="asha")
    person.set_password("new horse")
    person.save()
    under_attack()
    answer = client.post(URL, {"username": "asha", "password": "new horse"})
    assert answer.status_code == 429


def test_one_address_cannot_try_account_after_account() -> None:
    answers = [attempt(f"user{number}").status_code for number in range(31)]
    assert answers == [200] * 30 + [429]
    assert attempt(password="correct horse", address="198.51.100.1").status_code == 302


def test_a_spoofed_address_gains_no_tries() -> None:
    for number in range(31):
        form = {"username": f"user{number}", "password": "x"}
        client = Client(REMOTE_ADDR="203.0.113.9")
        answer = client.post(URL, form, headers={"X-Forwarded-For": f"198.51.100.{number}"})
    assert answer.status_code == 429


def test_without_the_counter_nobody_gets_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RedisConnectionError("no server")

    monkeypatch.setattr(login, "get_usage", broken)
    assert attempt(password="correct horse").status_code == 503


def test_looking_at_the_page_costs_no_try() -> None:
    for _ in range(40):
        assert Client(REMOTE_ADDR="203.0.113.9").get(URL).status_code == 200


# -- what is written down -------------------------------------------------------------------------
def written(action: str) -> list[tuple[str, str, str | None, Any]]:
    entries = AuditEntry.objects.filter(action=action).order_by("id")
    return list(entries.values_list("actor_id", "target_id", "address", "data"))


def test_a_login_and_a_logout_are_audited_with_their_address() -> None:
    client = Client(REMOTE_ADDR="203.0.113.9")
    form = {"username": "asha", "password": "correct horse"}
    client.post(URL, form, headers={"X-Forwarded-For": "198.51.100.1"})
    assert written("staff.logged_in") == [("asha", "asha", "203.0.113.9", {})]
    assert client.get("/admin/logout/").status_code == 405
    assert written("staff.logged_out") == []
    client.post("/admin/logout/")
    assert written("staff.logged_out") == [("asha", "asha", "203.0.113.9", {})]
    assert written("staff.login_failed") == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, "wrong password"),
        ({"is_active": False}, "switched off"),
        ({"is_staff": False}, "not staff"),
    ],
)
def test_a_failed_login_is_audited_with_its_reason(changes: Any, why: str) -> None:
    StaffUser.objects.update(**changes)
    attempt(password="wrong" if not changes else "correct horse")
    assert written("staff.login_failed") == [("system", "asha", "203.0.113.9", {"why": why})]
    assert written("staff.logged_in") == []


@pytest.mark.parametrize("typed", ["my-Secret-9", "as\0ha", ""])
def test_what_was_typed_as_a_name_is_not_kept(typed: str) -> None:
    """People type their password into the wrong field."""
    assert attempt(typed).status_code == 200
    assert written("staff.login_failed") == [
        ("system", "unknown", "203.0.113.9", {"why": "no such account"})
    ]


def test_a_lockout_is_audited_once_and_its_page_says_what_to_do() -> None:
    for number in range(15):
        answer = attempt(address=f"203.0.113.{number}")
    assert len(written("staff.login_failed")) == 10
    locked = written("staff.locked_out")
    assert [(who, data) for _, who, _, data in locked] == [
        ("asha", {"tries": "too many for this account"})
    ]
    assert "Wait a minute" in answer.content.decode()
