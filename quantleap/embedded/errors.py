"""What can go wrong with embedded services, in sentences that say what to do."""


class EmbeddedServiceError(RuntimeError):
    """A server could not be started, reached or stopped; the message names the remedy."""


class AlreadyRunning(EmbeddedServiceError):
    """Another living process holds this folder's lock.

    ``pid`` is that process, or None where it could not be read; ``stopping`` that it said it was
    about to end.
    """

    def __init__(self, folder: str, pid: int | None, *, stopping: bool = False) -> None:
        who = f"process {pid}" if pid else "another process"
        super().__init__(
            f"the services in {folder} are already run by {who}; "
            f"stop it first (Ctrl-C where it runs, or `python -m quantleap.embedded stop`)"
        )
        self.pid = pid
        self.stopping = stopping
