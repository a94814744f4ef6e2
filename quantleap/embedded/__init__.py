"""A real PostgreSQL and a real Valkey for a clone that has neither.

With ``DATABASE_URL`` and ``REDIS_URL`` unset, ``make run``, ``make demo`` and the tests start both
servers from pip packages, below ``var/``, on unix sockets only. Production sets both URLs and never
starts anything from here (docs/deploy.md). Nothing in this package imports Django.

``discover`` is what settings call; ``EmbeddedServices`` is what the supervisor and the tests hold.
"""

from quantleap.embedded.errors import AlreadyRunning, EmbeddedServiceError
from quantleap.embedded.services import EmbeddedServices
from quantleap.embedded.state import ServiceUrls, discover

__all__ = [
    "AlreadyRunning",
    "EmbeddedServiceError",
    "EmbeddedServices",
    "ServiceUrls",
    "discover",
]
