"""Append-only record of who did what: one entry per action, in the action's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from quantleap.core.models import ActorKind, AuditEntry
from quantleap.core.request_context import current_request_id, current_staff_address
from quantleap.core.tenancy import Environment


@dataclass(frozen=True, slots=True)
class Actor:
    """The person or system that acts: staff (user name), partner key (key id), customer (usr id) or
    the system.

    ``via`` is the partner's key that issued the token of an acting customer.
    """

    kind: str
    id: str = ""
    via: str = ""

    @classmethod
    def staff(cls, user: Any) -> Actor:
        """Actor for a logged-in staff user."""
        return cls(ActorKind.STAFF, user.get_username())

    def __str__(self) -> str:
        return f"{self.kind} {self.id}".strip()

    def noted(self, data: Mapping[str, Any] | None) -> dict[str, Any]:
        """``data`` of an entry, with the key that issued the customer's token."""
        return {**(data or {}), **({"via_key": self.via} if self.via else {})}


SYSTEM: Final = Actor(ActorKind.SYSTEM, "system")


def record(
    *,
    actor: Actor,
    action: str,
    target_type: str,
    target_id: str,
    partner_id: int | None = None,
    environment: str = Environment.LIVE,
    data: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """Write one entry. ``data`` must contain no secret; its values must be JSON.

    An action in the console also records the address from which it came.
    """
    return AuditEntry.objects.create(
        actor_kind=actor.kind,
        actor_id=actor.id,
        action=action,
        target_type=target_type,
        target_id=target_id,
        partner_id=partner_id,
        environment=environment,
        data=actor.noted(data),
        request_id=current_request_id(),
        address=current_staff_address(),
    )
