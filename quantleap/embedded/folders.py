"""Private folders for the servers, and the account that may enter them."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import sys
import tempfile
from pathlib import Path
from typing import Final

from quantleap.embedded.errors import EmbeddedServiceError
from quantleap.embedded.processes import RunAs

# A unix socket's path has 108 bytes on Linux and 104 on macOS, terminator included.
LONGEST_SOCKET_PATH: Final = 100

CAP_DAC_OVERRIDE: Final = 1
CAP_DAC_READ_SEARCH: Final = 2
CAP_SETPCAP: Final = 8  # needed to lend one of the others


def private_folder(path: Path, run_as: RunAs | None) -> Path:
    """Create ``path`` (and missing parents) as a 0700 folder of the servers' account.

    Only ``path`` itself is ever chmodded. Raises EmbeddedServiceError if it exists and belongs to
    somebody else, as after a run under another account.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.stat()
    if run_as is not None and status.st_uid == 0:
        os.chown(path, run_as.uid, run_as.gid)
    expected = run_as.uid if run_as is not None else os.getuid()
    owner = path.stat().st_uid
    if owner != expected:
        raise EmbeddedServiceError(
            f"{path} belongs to user id {owner}, but the servers would run as user id {expected}; "
            f"start as the user who started before, or remove that folder to begin anew"
        )
    if stat.S_IMODE(status.st_mode) != 0o700:
        path.chmod(0o700)
    return path


def socket_folder(preferred: Path, socket_name: str, run_as: RunAs | None) -> tuple[Path, bool]:
    """Where a socket can live: ``preferred``, or a new temporary 0700 folder if it is too long.

    Returns the folder and whether it is temporary (the caller removes it at stop).
    """
    if len(os.fsencode(preferred / socket_name)) <= LONGEST_SOCKET_PATH:
        return preferred, False
    folder = Path(tempfile.mkdtemp(prefix="quantleap-"))
    if run_as is not None:
        os.chown(folder, run_as.uid, run_as.gid)
    return folder, True


def remove_socket_folder(folder: Path) -> None:
    """Remove a temporary socket folder, refusing anything that ``socket_folder`` did not make."""
    if folder.parent == Path(tempfile.gettempdir()) and folder.name.startswith("quantleap-"):
        shutil.rmtree(folder, ignore_errors=True)


def server_account(base_dir: Path, programs: list[Path]) -> RunAs | None:
    """The account for the servers: None is "as I am"; as root it is ``nobody``.

    PostgreSQL refuses to run as root. ``nobody`` keeps one ambient capability where it needs one to
    reach the clone: reading and searching if that is enough, else overriding permissions (a pip run
    under umask 077 leaves programs that only root may execute). Raises EmbeddedServiceError where
    neither the path is open nor the capability at hand.
    """
    if os.geteuid() != 0:
        return None
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError as error:
        raise EmbeddedServiceError(
            "running as root, but there is no user `nobody` for PostgreSQL to run as; "
            "start as an ordinary user, or set DATABASE_URL and REDIS_URL"
        ) from error
    account = RunAs(nobody.pw_uid, nobody.pw_gid)
    executable = all(_open_to_others(program, 0o5) for program in programs)
    reachable = all(
        _open_to_others(folder, 0o1)
        for path in (*programs, base_dir / "servers")
        for folder in path.parents
    )
    if executable and reachable:
        return account
    available = _effective_capabilities()
    capabilities = [CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE] if executable else [CAP_DAC_OVERRIDE]
    for capability in capabilities:
        needed = 1 << capability | 1 << CAP_SETPCAP
        if available & needed == needed:
            return RunAs(account.uid, account.gid, capability)
    raise EmbeddedServiceError(
        f"running as root, the servers run as `nobody`, who cannot reach {base_dir} or the "
        f"programs in {programs[0].parent}, and this container lacks the capabilities to lend "
        f"access (CAP_SETPCAP with CAP_DAC_READ_SEARCH or CAP_DAC_OVERRIDE); start as an "
        f"ordinary user, move the clone to a folder open to all (mode 0755), or set DATABASE_URL "
        f"and REDIS_URL"
    )


def _open_to_others(path: Path, bits: int) -> bool:
    try:
        return path.stat().st_mode & bits == bits
    except FileNotFoundError:
        return True  # not there yet: it will be ours


def _effective_capabilities() -> int:
    if sys.platform != "linux":
        return 0
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0
