"""What the pages of queued mails have in common (:mod:`quantleap.core.mail`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django.http import HttpRequest

from quantleap.core import clock
from quantleap.core.admin.base import LargeTableMixin, ReadOnlyAdmin
from quantleap.core.audit import Actor
from quantleap.core.confirmation import confirmed
from quantleap.core.mail import MailQueue


class QueuedMailAdmin(LargeTableMixin, ReadOnlyAdmin):
    """Mails of one queue: read-only, with an action that sends one again."""

    queue: ClassVar[MailQueue[Any]]
    actions_detail = ("send_again",)

    def what_sending_does(self, request: HttpRequest, mail: Any) -> Sequence[str]:
        """The consequences, shown before sending."""
        return (f"{mail.recipient} gets this mail once more.",)

    @confirmed(description="Send again", explain="what_sending_does", permission="act", icon="send")
    def send_again(self, request: HttpRequest, mail: Any, data: dict[str, Any]) -> str:
        """Make the mail due at once."""
        changed = self.queue.send_again(
            mail_id=mail.pk, actor=Actor.staff(request.user), now=clock.now()
        )
        return "It is sent again." if changed else "It was already waiting to be sent."
