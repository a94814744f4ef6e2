"""A customer's address: changed by one service, kept as history, confirmed by its owner only."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core import mail
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.urls import reverse

from partners.emails import confirmations, mails
from partners.emails.changes import change_email, change_external_id
from partners.emails.confirmations import VALID_FOR, Standing
from partners.emails.models import CustomerMail, EmailChange, EmailConfirmation
from partners.errors import EmailTaken, ExternalIdTaken
from partners.models import Customer
from partners.tests.factories import make_customer, make_partner, make_tenant
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.crypto import fingerprint
from quantleap.core.errors import InvalidRequest, InvalidTransition, NotFound
from quantleap.core.models import AuditEntry, OutboxEvent, StaffUser
from quantleap.core.tests.confirming import confirm

NOW = dt.datetime(2026, 11, 30, 5, 0, tzinfo=dt.UTC)
OLD, NEW = "asha@example.com", "asha.rao@example.net"

pytestmark = pytest.mark.django_db


@pytest.fixture
def asha() -> Customer:
    return make_customer(make_partner("zebu", name="Zebu Securities"), OLD)


def change(customer: Customer, email: str = NEW, now: dt.datetime = NOW) -> bool:
    return change_email(
        customer_id=customer.pk, email=email, reason="asked by phone", actor=SYSTEM, now=now
    ).changed


def link_to(recipient: str) -> str:
    """The link in the last mail to an address, from its path on."""
    body = next(str(message.body) for message in reversed(mail.outbox) if message.to == [recipient])
    match = re.search(r"^https?://\S+$", body, re.MULTILINE)
    assert match is not None
    parts = urlsplit(match[0])
    return f"{parts.path}?{parts.query}"


def token_to(recipient: str) -> str:
    return parse_qs(urlsplit(link_to(recipient)).query)["token"][0]


# -- the change ------------------------------------------------------------------------------------
def test_a_change_is_history_and_the_audit_names_no_address(asha: Customer) -> None:
    assert change(asha, " Asha.Rao@EXAMPLE.net ")
    asha.refresh_from_db()
    assert (asha.email, asha.email_confirmed_at) == (NEW, None)
    row = EmailChange.objects.get()
    assert (row.from_email, row.to_email, row.changed_at) == (OLD, NEW, NOW)
    assert (row.actor_kind, row.reason) == ("SYSTEM", "asked by phone")
    entry = AuditEntry.objects.get(action="customer.email_changed")
    assert entry.data == {"change": row.pk, "reason": "asked by phone"}
    event = OutboxEvent.objects.get(type="customer.email_changed")
    assert (event.object_id, event.payload["user_email"]) == (asha.public_id, NEW)


def test_the_same_address_again_changes_nothing(asha: Customer) -> None:
    assert not change(asha, OLD.upper().replace("EXAMPLE.COM", "example.com"))
    assert not EmailChange.objects.exists()
    assert not CustomerMail.objects.exists()


def test_only_the_same_partners_addresses_are_taken(
    asha: Customer,
) -> None:
    partner_id = asha.partner_id
    other = make_customer(make_partner("other"), "taken@example.com")
    assert change(asha, other.email)
    neighbour = Customer.objects.create(partner_id=partner_id, email="n@example.com")
    with pytest.raises(EmailTaken) as caught:
        change(asha, neighbour.email)
    assert neighbour.public_id not in str(caught.value.details)
    assert EmailChange.objects.count() == 1


@pytest.mark.parametrize(
    "email",
    ["", "nobody", "\u212airan@example.com", "x" * 10_000 + "@example.com", "a@b.in\nBcc: c@d.in"],
    ids=["empty", "no at", "kelvin", "long", "two lines"],
)
def test_what_is_no_address_is_refused(asha: Customer, email: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        change(asha, email)
    assert "user_email" in caught.value.details


def test_a_reason_too_long_or_of_two_lines_is_refused(asha: Customer) -> None:
    for reason in ("x" * 201, "a\nb", "a\0b"):
        with pytest.raises(InvalidRequest, match="reason"):
            change_email(customer_id=asha.pk, email=NEW, reason=reason, actor=SYSTEM, now=NOW)
    with pytest.raises(NotFound):
        change_email(customer_id=0, email=NEW, reason="", actor=SYSTEM, now=NOW)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE partners_emailchange SET to_email = 'x@example.com'",
        "DELETE FROM partners_emailchange",
        "UPDATE partners_emailconfirmation SET email = 'x@example.com'",
        "UPDATE partners_emailconfirmation SET expires_at = now() + interval '1 year'",
        "DELETE FROM partners_emailconfirmation",
    ],
    ids=["change", "remove", "another address", "longer", "forget"],
)
def test_the_database_edits_no_history(asha: Customer, statement: str) -> None:
    change(asha)
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def test_what_was_confirmed_stays_confirmed(asha: Customer) -> None:
    change(asha)
    row = EmailConfirmation.objects.get()
    EmailConfirmation.objects.filter(pk=row.pk).update(confirmed_at=NOW)
    with pytest.raises(DatabaseError), transaction.atomic():
        EmailConfirmation.objects.filter(pk=row.pk).update(confirmed_at=None)


# -- the mails -------------------------------------------------------------------------------------
def test_the_old_address_does_not_learn_the_new_one(asha: Customer) -> None:
    asha.name = "Asha Rao"
    asha.save()
    change(asha)
    assert mails.send_due(now=NOW) == 2
    to_new, to_old = (next(m for m in mail.outbox if m.to == [address]) for address in (NEW, OLD))
    assert "Zebu Securities has told QuantLeap" in str(to_new.body)
    assert "until 7 Dec 2026, 10:30 IST" in str(to_new.body)
    assert "on 30 Nov 2026, 10:30 IST your e-mail address at Zebu Securities" in str(to_old.body)
    for message in (to_new, to_old):
        text = str(message.message())
        assert "Asha" not in text.replace(f"To: {message.to[0]}", "")  # a typo is a stranger's
    assert NEW not in str(to_old.message())
    assert "confirm-email" not in str(to_old.body)
    assert mails.send_due(now=NOW + dt.timedelta(days=9)) == 0


def test_neither_the_link_nor_its_token_lies_in_the_database(asha: Customer) -> None:
    change(asha)
    mails.send_due(now=NOW)
    stored = str([list(model.objects.values()) for model in (CustomerMail, EmailConfirmation)])
    token = token_to(NEW)
    assert token not in stored
    assert token.partition(".")[2] not in stored


def test_the_test_environment_mails_nobody() -> None:
    customer = make_customer(make_partner(), OLD, environment="test")
    assert change(customer)
    assert not CustomerMail.objects.exists()
    with pytest.raises(InvalidTransition, match="test environment"):
        confirmations.send_again(customer_id=customer.pk, actor=SYSTEM, now=NOW)


def test_a_direct_customer_is_written_to_in_our_own_name() -> None:
    change(make_customer(None, OLD))
    mails.send_due(now=NOW)
    assert "QuantLeap has told QuantLeap" not in str(mail.outbox[0].body)


# -- confirming ------------------------------------------------------------------------------------
def test_a_get_shows_and_confirms_nothing_a_post_confirms_once(
    asha: Customer, client: Client
) -> None:
    change(asha, now=clock.now())
    mails.send_due(now=clock.now())
    link = link_to(NEW)
    for _ in range(3):  # scanners open every link
        shown = client.get(link)
        assert shown.status_code == 200
    text = shown.content.decode()
    assert "Is this your e-mail address?" in text
    assert NEW in text
    assert (shown.headers["Referrer-Policy"], shown.headers["Cache-Control"]) == (
        "no-referrer",
        "no-store, private",
    )
    asha.refresh_from_db()
    assert asha.email_confirmed_at is None
    strict = Client(enforce_csrf_checks=True)  # no cookie is needed
    for _ in range(2):
        done = strict.post("/confirm-email", {"token": token_to(NEW)})
        assert "Your e-mail address is confirmed" in done.content.decode()
    asha.refresh_from_db()
    assert asha.email_confirmed_at == EmailConfirmation.objects.get().confirmed_at is not None
    assert AuditEntry.objects.filter(action="customer.email_confirmed").count() == 1
    assert OutboxEvent.objects.filter(type="customer.email_confirmed").count() == 1


def test_a_link_is_over_after_a_week(asha: Customer) -> None:
    change(asha)
    mails.send_due(now=NOW)
    token = token_to(NEW)
    last = NOW + VALID_FOR - dt.timedelta(seconds=1)
    assert confirmations.look(token, last).standing is Standing.OPEN
    assert confirmations.confirm(token=token, now=NOW + VALID_FOR).standing is Standing.EXPIRED
    asha.refresh_from_db()
    assert asha.email_confirmed_at is None


def test_a_link_for_an_address_of_before_confirms_nothing(asha: Customer) -> None:
    change(asha)
    mails.send_due(now=NOW)
    token = token_to(NEW)
    change(asha, "third@example.com", NOW + dt.timedelta(hours=1))
    link = confirmations.confirm(token=token, now=NOW + dt.timedelta(hours=2))
    assert link.standing is Standing.REPLACED
    assert not EmailConfirmation.objects.filter(confirmed_at__isnull=False).exists()


@pytest.mark.parametrize(
    "token",
    ["", "x", "emc_0.0", "x" * 10_000, "é", "' OR 1=1 --", "\u202eabc"],
    ids=["none", "short", "made up", "long", "not ascii", "sql", "turned"],
)
def test_a_token_of_nobodys_is_a_page_that_says_so(client: Client, token: str) -> None:
    for answer in (
        client.get("/confirm-email", {"token": token}),
        client.post("/confirm-email", {"token": token}),
    ):
        assert answer.status_code == 404
        assert "This link does not work" in answer.content.decode()


def test_a_token_with_another_signature_opens_nothing(asha: Customer) -> None:
    change(asha)
    mails.send_due(now=NOW)
    token = token_to(NEW)
    wrong = token[:-1] + ("0" if token[-1] != "0" else "1")
    assert confirmations.look(wrong, NOW).standing is Standing.UNKNOWN
    # control: whoever can write our tables, but does not know our secret, makes no link either
    row = EmailConfirmation.objects.get()
    forged = f"{row.public_id}.{'0' * 64}"
    hashed = fingerprint(forged, purpose="partners.email_confirmation.stored")
    stored = EmailConfirmation.objects.create(
        customer=asha, email=NEW, token_hash=hashed, expires_at=NOW + VALID_FOR
    )
    assert stored.token_hash == hashed
    assert confirmations.look(forged, NOW).standing is Standing.UNKNOWN


def test_other_methods_are_refused(client: Client) -> None:
    assert client.put("/confirm-email").status_code == 405
    assert client.get("/confirm-email/").status_code == 404


# -- over HTTP -------------------------------------------------------------------------------------
def test_a_partners_change_names_its_key_and_is_idempotent() -> None:
    """A repeated request is one change."""
    tenant = make_tenant()
    customer = make_customer(tenant.partner, OLD)
    url = f"/partner/customers/{customer.public_id}/email"
    body = {"user_email": NEW, "reason": "told us in the app"}
    first = tenant.client.post(url, body, headers={"Idempotency-Key": "k1"})
    again = tenant.client.post(url, body, headers={"Idempotency-Key": "k1"})
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.headers["Idempotent-Replayed"] == "true"
    row = EmailChange.objects.get()
    assert (row.actor_kind, row.actor_id) == ("PARTNER", tenant.key.key_public_id)
    third = tenant.client.post(url, body).json()
    assert (third["changed"], third["customer"]["user_email"]) == (False, NEW)
    # a late repetition of an older request does not bring the older address back
    assert tenant.client.post(url, {"user_email": "c@example.com"}).status_code == 200
    late = tenant.client.post(url, body, headers={"Idempotency-Key": "k1"})
    assert late.headers["Idempotent-Replayed"] == "true"
    customer.refresh_from_db()
    assert customer.email == "c@example.com"


def test_a_taken_address_is_a_409_without_its_owner() -> None:
    tenant = make_tenant()
    mine, other = make_customer(tenant.partner, OLD), make_customer(tenant.partner, NEW)
    url = f"/partner/customers/{mine.public_id}/email"
    answer = tenant.client.post(url, {"user_email": NEW})
    assert (answer.status_code, answer.json()["code"]) == (409, "email_taken")
    assert "Nothing has changed" in answer.json()["details"]["user_email"]
    assert other.public_id not in answer.content.decode()


def test_the_list_of_customers_costs_the_same_however_long(
    django_assert_num_queries: Any,
) -> None:
    tenant = make_tenant()
    tenant.client.get("/partner/customers")  # notes the key's use
    for number in range(3):
        make_customer(tenant.partner, f"a{number}@example.com")
    with django_assert_num_queries(3):
        assert len(tenant.client.get("/partner/customers").json()["customers"]) == 3


# -- in the console --------------------------------------------------------------------------------
@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(StaffUser.objects.create_superuser("boss"))
    return client


def test_staff_change_an_address_after_reading_it_twice(asha: Customer, staff: Client) -> None:
    page = reverse("admin:partners_customer_change", args=[asha.pk])
    assert "Not confirmed: no mail was sent" in staff.get(page).content.decode()
    url = reverse("admin:partners_customer_change_email", args=[asha.pk])
    body = {"user_email": "Asha.Rao@example.net", "reason": "wrote to us"}
    asked = confirm(staff, url, body)
    assert NEW in asked.content.decode()  # the exact address, once more
    assert not EmailChange.objects.exists()
    done = confirm(staff, url, {**body, "again": "yes"}, follow=True)
    assert f"{OLD} is {NEW} now." in done.content.decode()
    row = EmailChange.objects.get()
    assert (row.actor_kind, row.actor_id, row.reason) == ("STAFF", "boss", "wrote to us")
    shown = staff.get(page).content.decode()
    assert "Not confirmed: asked on" in shown
    assert OLD in shown  # the panel of changes
    for model, term in (("emailchange", "ASHA@ex"), ("customermail", "asha.rao")):
        answer = staff.get(reverse(f"admin:partners_{model}_changelist"), {"q": term})
        assert NEW in answer.content.decode(), model


def test_staff_ask_for_a_confirmation_of_a_first_address(asha: Customer, staff: Client) -> None:
    url = reverse("admin:partners_customer_ask_for_confirmation", args=[asha.pk])
    assert "works for 7 days" in staff.get(url).content.decode()
    confirm(staff, url, {})
    mails.send_due(now=clock.now())
    assert Client().post("/confirm-email", {"token": token_to(OLD)}).status_code == 200
    assert (
        "Confirmed on"
        in staff.get(reverse("admin:partners_customer_change", args=[asha.pk])).content.decode()
    )
    assert confirm(staff, url, {}).status_code == 409


def test_staff_put_a_wrong_id_right_and_find_people_by_it(asha: Customer, staff: Client) -> None:
    Customer.objects.filter(pk=asha.pk).update(external_user_id="wrong-1")
    other = Customer.objects.create(
        partner_id=asha.partner_id, email="b@example.com", external_user_id="right-1"
    )
    url = reverse("admin:partners_customer_change_external_id", args=[asha.pk])
    taken = {"external_user_id": "right-1", "reason": "typo", "again": "yes"}
    confirm(staff, url, {**taken, "again": ""})
    assert "Another customer has this id" in confirm(staff, url, taken).content.decode()
    with pytest.raises(ExternalIdTaken):
        change_external_id(customer_id=asha.pk, external_user_id="right-1", reason="", actor=SYSTEM)
    assert change_external_id(
        customer_id=other.pk, external_user_id="", reason="", actor=SYSTEM
    ).changed
    assert change_external_id(
        customer_id=asha.pk, external_user_id="right-1", reason="", actor=SYSTEM
    ).changed
    entry = AuditEntry.objects.filter(action="customer.external_id_changed").first()
    assert entry is not None
    assert "right-1" not in str(entry.data)
    answer = staff.get(reverse("admin:partners_customer_changelist"), {"q": "right-"})
    assert OLD in answer.content.decode()


def test_a_mail_is_sent_again_while_its_link_works(asha: Customer, staff: Client) -> None:
    change(asha, now=clock.now())
    mails.send_due(now=clock.now())
    row = CustomerMail.objects.get(kind="CONFIRM")
    url = reverse("admin:partners_customermail_send_again", args=[row.pk])
    assert confirm(staff, url, {}).status_code == 302
    assert mails.send_due(now=clock.now()) == 1
    assert token_to(NEW)  # the same link
    late = clock.now() + VALID_FOR
    with pytest.raises(InvalidTransition, match="link has expired"):
        mails.send_again(mail_id=row.pk, actor=SYSTEM, now=late)
