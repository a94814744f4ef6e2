"""Mails to customers about their address: a request to confirm it, or that it was changed.

They contain no name: a mistyped address belongs to a stranger, who must learn of nobody.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from partners.emails.confirmations import link_of
from partners.emails.models import CustomerMail
from partners.models import Partner
from quantleap.core.dates import moment_text
from quantleap.core.errors import InvalidTransition
from quantleap.core.mail import MailQueue, letter

_US: Final = "QuantLeap"


def _check_link(mail: CustomerMail, now: dt.datetime) -> None:
    """InvalidTransition if the link of a mail no longer works."""
    if mail.confirmation is not None and now >= mail.confirmation.expires_at:
        raise InvalidTransition("Its link has expired: request a new one on the customer's page.")


def _about(mail: CustomerMail) -> tuple[str, str]:
    return "customer", mail.customer.public_id


def _compose(mail: CustomerMail, backend: BaseEmailBackend) -> EmailMessage:
    name = _partner(mail.partner_id)
    if mail.confirmation is not None:
        subject, number = f"{_US}: please confirm your e-mail address", mail.confirmation.public_id
        body = _CONFIRM.format(
            stated=_STATED.format(name=name) if name else _OURS,
            link=link_of(mail.confirmation),
            until=moment_text(mail.confirmation.expires_at),
            whom=name or "us",
        )
    else:
        assert mail.change is not None  # noqa: S101  customer_mail_has_its_cause
        subject, number = f"{_US}: your e-mail address was changed", f"change.{mail.change.pk}"
        body = _CHANGED.format(
            where=name or _US, at=moment_text(mail.change.changed_at), whom=name or "us"
        )
    return letter(
        backend,
        recipient=mail.recipient,
        subject=subject,
        body=body,
        number=f"{number}.{mail.pk}",
    )


def _partner(partner_id: int | None) -> str:
    """The partner's name in one line; empty for a direct customer."""
    if partner_id is None:
        return ""
    name = Partner.objects.filter(pk=partner_id).values_list("name", flat=True).first()
    return " ".join((name or "").split())


QUEUE: Final = MailQueue(
    CustomerMail,
    _compose,
    about=_about,
    related=("customer", "confirmation", "change__customer"),
    check=_check_link,
)
send_due: Final = QUEUE.send_due
send_again: Final = QUEUE.send_again

_STATED: Final = "{name} has told QuantLeap that this is your e-mail address now."
_OURS: Final = "This is the e-mail address that QuantLeap has for you now."
_CONFIRM: Final = """\
Hello,

{stated} Invoices for the strategies that
you follow come to it.

Please confirm that it is yours:

{link}

The page asks again before it does anything. The link works once, until {until}.

If you know nothing of this, do nothing, and let {whom} know.
"""
_CHANGED: Final = """\
Hello,

on {at} your e-mail address at {where} was replaced by another one.
QuantLeap no longer sends invoices for the strategies that you follow to this address.

If you did not want this, tell {whom} at once.
"""
