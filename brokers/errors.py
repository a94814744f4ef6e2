"""Errors of this room that a caller can act on."""

from __future__ import annotations

from quantleap.core.errors import DomainError, InvalidRequest


class ClientIdTaken(DomainError):
    """409: this client id belongs to another customer."""

    status = 409
    code = "client_id_taken"
    error = "Broker account belongs to another customer"


class AmbiguousClientId(DomainError):
    """409: one client id exists at two brokers; ``broker_name`` decides."""

    status = 409
    code = "ambiguous_client_id"
    error = "Client id is known at more than one broker"


class InvalidState(InvalidRequest):
    """400: the login state is wrong, used, expired or of another account; the answer never says
    which."""

    code = "invalid_state"
    error = "Invalid or expired login state"


class FeedLoginLost(InvalidRequest):
    """400: the broker's redirect belongs to no login begun in this session."""

    code = "invalid_state"
    error = "No login to finish"


class BrokerRejected(DomainError):
    """422: the broker refused, with its own text (``broker_response``)."""

    status = 422
    code = "broker_rejected"
    error = "Rejected by the broker"


class BrokerNotEnabled(DomainError):
    """422: this installation does not talk to that live broker."""

    status = 422
    code = "broker_not_enabled"
    error = "Broker is not enabled"


class BrokerUnavailable(DomainError):
    """503: the broker did not answer, or its answer could not be read."""

    status = 503
    code = "unavailable"
    error = "The broker did not answer"


class AccountNotUsable(DomainError):
    """409: the account's status does not allow this."""

    status = 409
    code = "invalid_transition"
    error = "Broker account is not usable"


class OpenPositions(DomainError):
    """409: the account has open positions; exit them first, or ask for ``EXIT_NOW``."""

    status = 409
    code = "open_positions"
    error = "Broker account has open positions"


class InstrumentFileError(DomainError):
    """The instrument file is empty, broken or suspiciously short; nothing was imported."""

    code = "invalid_instrument_file"
    error = "Instrument file refused"


class CredentialsUnreadable(AccountNotUsable):
    """409: the stored values were encrypted with a missing key, or not by us."""

    code = "credentials_unreadable"
    error = "The stored credentials cannot be read; enter them again"
