"""Errors of embedded services, as sentences that say what to do."""


class EmbeddedServiceError(RuntimeError):
    """A server could not be started, reached or stopped; the message says what to do."""


class AlreadyRunning(EmbeddedServiceError):
    """Another live process holds this folder's lock.

    ``pid`` is that process, or None if it could not be read; ``stopping``: it said that it was
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
