"""Errors of requests to ``execution``."""

from quantleap.core.errors import DomainError


class AlreadyEngaged(DomainError):
    """409: this kill switch is already on."""

    status = 409
    code = "already_engaged"
    error = "Kill switch already engaged"


class NotEngaged(DomainError):
    """409: this kill switch is already off."""

    status = 409
    code = "not_engaged"
    error = "Kill switch is not engaged"
