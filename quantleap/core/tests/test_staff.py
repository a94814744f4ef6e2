"""People and roles of the console: who may change whom, what is audited, who stays out.

Bug: `change_staffuser` alone made its owner superuser and took over `admin`, and nothing was
audited.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission
from django.db import connections
from django.test import Client
from django.urls import reverse

from quantleap.core.admin.staff import OUT_OF_DATE
from quantleap.core.models import AuditEntry, StaffUser
from quantleap.core.staff import LAST_SUPERUSER, digest, person_facts

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"
PEOPLE = "/admin/core/staffuser/"
ROLES = "/admin/auth/group/"


def person(name: str, *rights: str, **fields: Any) -> StaffUser:
    user = StaffUser.objects.create_user(
        name, f"{name}@example.com", PASSWORD, is_staff=True, **fields
    )
    chosen = Permission.objects.filter(codename__in=rights)
    assert chosen.count() == len(rights), "no such right"
    user.user_permissions.set(chosen)
    return user


def boss(name: str = "admin") -> StaffUser:
    return StaffUser.objects.create_superuser(name, f"{name}@example.com", PASSWORD)


def browser(user: StaffUser) -> Client:
    client = Client(REMOTE_ADDR="203.0.113.9")
    client.force_login(user)
    return client


def change(row: Any, page: str = "change") -> str:
    kind = "core_staffuser" if isinstance(row, StaffUser) else "auth_group"
    return reverse(f"admin:{kind}_{page}", args=[row.pk])


def password_page(user: StaffUser) -> str:
    return reverse("admin:auth_user_password_change", args=[user.pk])


def form_of(user: StaffUser, **changes: Any) -> dict[str, Any]:
    """What the page posts for this person, with these fields otherwise; False: not ticked."""
    shown = {
        "first_name": user.first_name,
        "last_name": user.last_name,
        "email": user.email,
        **{name: "on" for name in ("is_active", "is_staff", "is_superuser") if getattr(user, name)},
        "groups": list(user.groups.values_list("pk", flat=True)),
        "user_permissions": list(user.user_permissions.values_list("pk", flat=True)),
    }
    return {name: value for name, value in (shown | changes).items() if value is not False}


def rights(user: StaffUser) -> dict[str, Any]:
    facts = person_facts(StaffUser.objects.get(pk=user.pk))
    return {
        name: facts[name] for name in ("is_superuser", "is_staff", "groups", "user_permissions")
    }


NEW_PASSWORD = {
    "usable_password": "true",
    "password1": "other horse battery",
    "password2": "other horse battery",
    "set-password": "1",
}


# -- taking over ----------------------------------------------------------------------------------
def test_the_right_to_change_staff_does_not_make_a_superuser() -> None:
    boss()
    clerk = person("clerk", "change_staffuser", "view_staffuser")
    role = Group.objects.create(name="Everything")
    before = rights(clerk)
    some = Permission.objects.filter(codename="delete_logentry").values_list("pk", flat=True)
    answer = browser(clerk).post(
        change(clerk),
        form_of(
            clerk, is_superuser="on", groups=[role.pk], user_permissions=list(some), email="c@x.in"
        ),
    )
    assert answer.status_code == 302
    assert rights(clerk) == before
    clerk.refresh_from_db()
    assert clerk.email == "c@x.in"


def test_the_right_to_change_staff_does_not_reach_a_superuser() -> None:
    admin, clerk = boss(), person("clerk", "change_staffuser", "view_staffuser")
    client = browser(clerk)
    assert client.post(change(admin), form_of(admin, email="evil@x.in")).status_code == 403
    assert client.get(password_page(admin)).status_code == 403
    assert client.post(password_page(admin), NEW_PASSWORD).status_code == 403
    admin.refresh_from_db()
    assert admin.email == "admin@example.com"
    assert admin.check_password(PASSWORD)


def test_only_superusers_set_other_peoples_passwords() -> None:
    clerk, other = person("clerk", "change_staffuser", "view_staffuser"), person("other")
    client = browser(clerk)
    assert client.post(password_page(other), NEW_PASSWORD).status_code == 403
    own = client.post(password_page(clerk), NEW_PASSWORD)
    assert own["Location"] == reverse("admin:password_change"), "it asks for the old one"
    for user in (clerk, other):
        user.refresh_from_db()
        assert user.check_password(PASSWORD)


def test_only_superusers_add_people_and_change_roles() -> None:
    """And nobody deletes people."""
    every = ("add", "change", "delete", "view")
    clerk = person(
        "clerk", *(f"{verb}_{kind}" for verb in every for kind in ("staffuser", "group"))
    )
    role, other = Group.objects.create(name="Finance"), person("other")
    client = browser(clerk)
    assert client.get(f"{PEOPLE}add/").status_code == 403
    assert client.get(f"{ROLES}add/").status_code == 403
    assert client.post(change(role), {"name": "Mine", "permissions": []}).status_code == 403
    assert client.post(change(role, "delete"), {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [role.pk], "post": "yes", "index": 0}
    client.post(ROLES, chosen)
    assert Group.objects.get().name == "Finance"
    for somebody in (client, browser(boss())):
        assert somebody.post(change(other, "delete"), {"post": "yes"}).status_code == 403
    assert StaffUser.objects.filter(username="other").exists()


def test_no_page_shows_anything_of_a_password() -> None:
    other = person("other")
    looks = person("looks", "view_staffuser")
    for client in (browser(looks), browser(boss())):
        page = client.get(change(other)).content.decode()
        assert "other@example.com" in page
        assert other.password.split("$")[-1][:6] not in page
        assert "algorithm" not in page


# -- the last superuser ---------------------------------------------------------------------------
@pytest.mark.parametrize("field", ["is_active", "is_staff", "is_superuser"])
def test_nobody_locks_out_the_last_superuser(field: str) -> None:
    admin = boss()
    person("retired", is_superuser=True).set_unusable_password()
    StaffUser.objects.filter(username="retired").update(password="!never")
    person("away", is_superuser=True)
    StaffUser.objects.filter(username="away").update(is_active=False)
    answer = browser(admin).post(change(admin), form_of(admin, **{field: False}))
    assert answer.status_code == 200
    assert LAST_SUPERUSER in answer.content.decode()
    assert getattr(StaffUser.objects.get(pk=admin.pk), field) is True
    # the control: with a second one it goes
    other = boss("other")
    assert browser(other).post(change(admin), form_of(admin, **{field: False})).status_code == 302


@pytest.mark.django_db(transaction=True)
def test_two_superusers_who_demote_each_other_leave_one() -> None:
    pair = [boss("one"), boss("two")]
    start = threading.Barrier(2)
    statuses: list[int] = []

    def demote(demoting: StaffUser, other: StaffUser) -> None:
        client = browser(demoting)
        start.wait()
        statuses.append(client.post(change(other), form_of(other, is_superuser=False)).status_code)
        connections.close_all()

    threads = [threading.Thread(target=demote, args=ends) for ends in (pair, list(reversed(pair)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert StaffUser.objects.filter(is_superuser=True).count() == 1
    assert len(statuses) == 2


def test_a_stale_page_saves_nothing() -> None:
    admin, other = boss(), person("other")
    client = browser(admin)
    seen = digest(person_facts(other))
    assert seen in client.get(change(other)).content.decode()
    old_form = form_of(other, is_staff="on", seen=seen)
    StaffUser.objects.filter(pk=other.pk).update(is_staff=False)
    answer = client.post(change(other), old_form)
    assert OUT_OF_DATE in answer.content.decode()
    assert StaffUser.objects.get(pk=other.pk).is_staff is False
    fresh = digest(person_facts(StaffUser.objects.get(pk=other.pk)))
    assert client.post(change(other), {**old_form, "seen": fresh}).status_code == 302


# -- what is written down -------------------------------------------------------------------------
def last_entry() -> AuditEntry:
    entry = AuditEntry.objects.first()
    assert entry is not None
    return entry


def test_a_change_is_audited_with_values_and_address() -> None:
    admin, other = boss(), person("other", "view_group")
    role = Group.objects.create(name="Finance")
    form = form_of(other, is_staff=False, groups=[role.pk], user_permissions=[])
    client = browser(admin)
    client.post(change(other), form, headers={"X-Forwarded-For": "198.51.100.7"})
    entry = last_entry()
    assert (entry.actor_id, entry.action, entry.target_id) == ("admin", "staff.changed", "other")
    assert entry.address == "203.0.113.9", "not the address that the caller made up"
    assert entry.data["changed"] == {
        "is_staff": {"from": True, "to": False},
        "groups": {"from": [], "to": ["Finance"]},
        "user_permissions": {"from": ["auth.view_group"], "to": []},
    }
    count = AuditEntry.objects.count()
    client.post(change(other), form)
    assert AuditEntry.objects.count() == count, "nothing changed, nothing to write"


def test_the_audit_never_contains_a_password() -> None:
    admin = boss()
    client = browser(admin)
    client.post(f"{PEOPLE}add/", {"username": "new", **NEW_PASSWORD})
    new = StaffUser.objects.get(username="new")
    assert new.is_staff is False
    entry = last_entry()
    assert (entry.action, entry.target_id) == ("staff.created", "new")
    assert entry.data["changed"]["username"] == {"from": None, "to": "new"}
    answer = client.post(
        password_page(new),
        {**NEW_PASSWORD, "password1": "x y z 1 2 3 4", "password2": "x y z 1 2 3 4"},
    )
    assert answer.status_code == 302
    assert last_entry().action == "staff.password_set"
    written = str(list(AuditEntry.objects.values_list("data", flat=True)))
    assert "horse" not in written
    assert "x y z" not in written
    assert new.password not in written


def test_roles_are_audited_with_their_rights_and_members() -> None:
    admin, other = boss(), person("other")
    client = browser(admin)
    view = Permission.objects.get(codename="view_auditentry")
    client.post(f"{ROLES}add/", {"name": "Auditor", "permissions": [view.pk]})
    role = Group.objects.get()
    assert last_entry().action == "role.created"
    assert last_entry().data["changed"]["permissions"]["to"] == ["core.view_auditentry"]
    client.post(change(role), {"name": "Auditors", "permissions": []})
    assert last_entry().data["changed"] == {
        "name": {"from": "Auditor", "to": "Auditors"},
        "permissions": {"from": ["core.view_auditentry"], "to": []},
    }
    other.groups.add(role)
    client.post(change(role, "delete"), {"post": "yes"})
    assert (last_entry().action, last_entry().data["changed"]["members"]["from"]) == (
        "role.deleted",
        ["other"],
    )
    assert not Group.objects.exists()


def test_there_is_one_history_and_it_is_the_audit() -> None:
    admin, other = boss(), person("other")
    client = browser(admin)
    client.post(change(other), form_of(other, first_name="Asha"))
    assert not LogEntry.objects.exists()
    answer = client.get(change(other, "history"), follow=True)
    assert answer.redirect_chain == [("/admin/core/auditentry/?q=other", 302)]
    assert "staff.changed" in answer.content.decode()
    looks = browser(person("looks", "view_staffuser"))
    assert looks.get(change(other, "history")).status_code == 403, "without the audit's right"


# -- open sessions --------------------------------------------------------------------------------
def test_whoever_is_switched_off_is_out_at_once() -> None:
    admin, other = boss(), person("other", "view_auditentry")
    theirs = browser(other)
    assert theirs.get("/admin/core/auditentry/").status_code == 200
    browser(admin).post(change(other), form_of(other, is_active=False))
    answer = theirs.get("/admin/core/auditentry/")
    assert answer["Location"].startswith("/admin/login/")


def test_a_changed_password_ends_the_other_sessions() -> None:
    other = person("other", "view_auditentry")
    here, there = browser(other), browser(other)
    fields = {
        "old_password": PASSWORD,
        "new_password1": "z9 horse battery",
        "new_password2": "z9 horse battery",
    }
    assert here.post("/admin/password_change/", fields).status_code == 302
    assert last_entry().action == "staff.password_set"
    assert here.get("/admin/core/auditentry/").status_code == 200
    assert there.get("/admin/core/auditentry/").status_code == 302
    again = browser(StaffUser.objects.get(pk=other.pk))
    assert browser(boss()).post(password_page(other), NEW_PASSWORD).status_code == 302
    assert again.get("/admin/core/auditentry/").status_code == 302


def test_the_old_password_cannot_be_guessed_in_an_open_console() -> None:
    client = browser(person("other"))
    fields = {"old_password": "guess", "new_password1": "z9 horse", "new_password2": "z9 horse"}
    statuses = {client.post("/admin/password_change/", fields).status_code for _ in range(12)}
    assert statuses == {200, 429}
