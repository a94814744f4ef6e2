"""What can be wrong with a request to this room."""

from quantleap.core.errors import DomainError


class AlreadyEngaged(DomainError):
    """409: this kill switch is on."""

    status = 409
    code = "already_engaged"
    error = "Kill switch already engaged"


class NotEngaged(DomainError):
    """409: this kill switch is off."""

    status = 409
    code = "not_engaged"
    error = "Kill switch is not engaged"
