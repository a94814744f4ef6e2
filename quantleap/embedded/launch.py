"""Become another program, with fewer rights and a life tied to the starter's.

Run as a script by ``processes.spawn`` (``python -I -S launch.py ... -- program arguments``), never
imported: a child has to change its own credentials between fork and exec, and doing that in a
fresh interpreter is safe whatever threads the starter has. Standard library only.

Linux: ``--user`` drops root for good, keeping only ``--capability`` as an *ambient* capability, so
that a server run as ``nobody`` still reaches a clone below a 0700 home without any folder being
opened to others; ``--death-signal`` is what the kernel sends when the starter dies, ``kill -9``
included. Elsewhere both parts of Linux are left out.
"""

import argparse
import ctypes
import os
import sys
from typing import Final

PR_SET_PDEATHSIG: Final = 1
PR_SET_SECUREBITS: Final = 28
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_RAISE: Final = 2
SECBIT_NO_SETUID_FIXUP: Final = 1 << 2
CAPABILITY_VERSION_3: Final = 0x20080522

EXIT_CANNOT_LAUNCH: Final = 126


class _CapHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _CapData(ctypes.Structure):
    _fields_ = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


def _prctl(libc: ctypes.CDLL, option: int, *values: int) -> int:
    """prctl(2), every argument as wide as the kernel reads it."""
    padded = (*values, 0, 0, 0, 0)[:4]
    return int(libc.prctl(option, *(ctypes.c_ulong(value) for value in padded)))


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def drop_root(libc: ctypes.CDLL, uid: int, gid: int, capability: int | None) -> None:
    """Become ``uid``/``gid`` without groups, keeping at most one ambient capability."""
    if capability is not None:
        # Without this bit access(2), which PostgreSQL asks about its programs, answers for the
        # bare user id, as if there were no capability.
        _check(_prctl(libc, PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP), "set secure bits")
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    mask = 0 if capability is None else 1 << capability
    header = _CapHeader(CAPABILITY_VERSION_3, 0)
    data = (_CapData * 2)(_CapData(mask, mask, mask), _CapData(0, 0, 0))
    _check(libc.capset(ctypes.byref(header), ctypes.byref(data)), "set capabilities")
    if capability is not None:
        raised = _prctl(libc, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)
        _check(raised, "raise the ambient capability")
    _check(_prctl(libc, PR_SET_NO_NEW_PRIVS, 1), "forbid new privileges")


def main() -> int:
    """Parse the command line, change this process, and replace it by the program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--user", help="uid:gid to become (root only)")
    parser.add_argument("--capability", type=int, help="number of the capability to keep")
    parser.add_argument("--death-signal", type=int)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    os.umask(0o077)
    try:
        if sys.platform == "linux":
            libc = ctypes.CDLL(None, use_errno=True)
            if options.user:
                uid, gid = (int(part) for part in options.user.split(":"))
                drop_root(libc, uid, gid, options.capability)
            if options.death_signal:
                # After the change of user: the kernel forgets the signal when credentials change.
                _check(_prctl(libc, PR_SET_PDEATHSIG, options.death_signal), "death signal")
                if os.getppid() != options.parent:
                    print("launch: the starter is gone", file=sys.stderr)
                    return EXIT_CANNOT_LAUNCH
        elif options.user:
            uid, gid = (int(part) for part in options.user.split(":"))
            os.setgroups([])
            os.setregid(gid, gid)
            os.setreuid(uid, uid)
        os.execv(options.command[0], options.command)
    except OSError as error:
        print(f"launch: {options.command[0]}: {error}", file=sys.stderr)
    return EXIT_CANNOT_LAUNCH


if __name__ == "__main__":
    sys.exit(main())
