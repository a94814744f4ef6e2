"""Who may change which staff users, and what the audit log records of a change.

Only superusers decide what a person may do, and who may log in. Nobody can remove the last
superuser who can log in; if that happens anyway, ``manage.py createsuperuser`` on the server helps.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from django.contrib.auth.models import Group

from quantleap.core import audit
from quantleap.core.audit import Actor
from quantleap.core.locks import transaction_lock
from quantleap.core.models import StaffUser

#: Fields that decide whether a person can log in and what they may do.
RIGHTS: Final = ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")
_OWN: Final = ("username", "email", "first_name", "last_name")

LAST_SUPERUSER: Final = (
    "This is the last superuser who can log in. Make somebody else a superuser first."
)


def permission_names(permissions: Any) -> list[str]:
    """``app.codename`` of each permission, sorted."""
    pairs = permissions.values_list("content_type__app_label", "codename")
    return sorted(f"{app}.{codename}" for app, codename in pairs)


def person_facts(person: StaffUser) -> dict[str, Any]:
    """What the audit log records of a person: everything but the password. Two queries."""
    own = {name: getattr(person, name) for name in (*_OWN, *RIGHTS[:3])}
    return {
        **own,
        "groups": sorted(person.groups.values_list("name", flat=True)),
        "user_permissions": permission_names(person.user_permissions),
    }


def role_facts(role: Group) -> dict[str, Any]:
    """What the audit log records of a role: its rights and its members. Two queries."""
    return {
        "name": role.name,
        "permissions": permission_names(role.permissions),
        "members": sorted(StaffUser.objects.filter(groups=role).values_list("username", flat=True)),
    }


def stored_facts(row: StaffUser | Group) -> dict[str, Any]:
    """The facts of a person or a role as currently stored."""
    if isinstance(row, StaffUser):
        return person_facts(StaffUser.objects.get(pk=row.pk))
    return role_facts(Group.objects.get(pk=row.pk))


def digest(facts: Mapping[str, Any]) -> str:
    """A short hash that differs for different facts; a form carries it to detect a concurrent
    change."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def lock_staff() -> None:
    """Allow one change of staff users or roles at a time, until the transaction ends."""
    transaction_lock("core.staff")


def is_last_superuser(person: StaffUser) -> bool:
    """Whether nobody else could log in as superuser. Call it under :func:`lock_staff`."""
    others = StaffUser.objects.filter(is_superuser=True, is_staff=True, is_active=True)
    return not any(other.has_usable_password() for other in others.exclude(pk=person.pk))


def may_change(actor: Any, person_id: Any) -> bool:
    """Whether ``actor``, who has the right to change staff, may change this person."""
    if actor.is_superuser:
        return True
    return not StaffUser.objects.filter(pk=person_id, is_superuser=True).exists()


def record_change(
    *, actor: Actor, kind: str, target_id: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    """Write the old and new values to the audit log; ``kind`` is ``staff`` or ``role``. No change,
    no entry.

    ``before`` is empty for a new person or role, ``after`` for a deleted one.
    """
    names = sorted({*before, *after})
    changed = {
        name: {"from": before.get(name), "to": after.get(name)}
        for name in names
        if before.get(name) != after.get(name)
    }
    if not changed:
        return
    what = "created" if not before else "changed" if after else "deleted"
    audit.record(
        actor=actor,
        action=f"{kind}.{what}",
        target_type=kind,
        target_id=target_id,
        data={"changed": changed},
    )


def record_password(*, actor: Actor, person: StaffUser) -> None:
    """Record that a password was set or removed, never which one."""
    audit.record(
        actor=actor,
        action="staff.password_set",
        target_type="staff",
        target_id=person.get_username(),
        data={"by": actor.id, "password_login": person.has_usable_password()},
    )
