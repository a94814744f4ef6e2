"""One process that runs a whole installation on one machine: servers, web, workers, simulator.

``manage.py up`` is its command line; the kill tests hold a ``Supervisor`` themselves. Production
uses the machine's own service manager instead (docs/deploy.md).
"""

from quantleap.supervisor.parts import Layout, Part
from quantleap.supervisor.supervisor import (
    Supervisor,
    SupervisorError,
    environment_without_servers,
)

__all__ = ["Layout", "Part", "Supervisor", "SupervisorError", "environment_without_servers"]
