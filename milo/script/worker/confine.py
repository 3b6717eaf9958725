"""What a worker process may do, set once after its imports (a room: it speaks to the kernel).

Memory, processor time, files and processes are limited by the kernel; a worker cannot gain
privileges and dies with the engine. Later layers (seccomp, Landlock) belong here too.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_SIGKILL: Final = 9
_OPEN_FILES: Final = 8
_MEBIBYTE: Final = 1024 * 1024


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the engine ends, even while a script spins."""
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, _SIGKILL)


def confine(memory_mb: int) -> None:
    """Set limits that this process cannot lift again: `memory_mb` more than it uses now.

    Raises OSError where the kernel refuses.
    """
    if sys.platform == "linux":
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _limit(resource.RLIMIT_AS, _virtual_bytes() + memory_mb * _MEBIBYTE)
        _limit(resource.RLIMIT_MSGQUEUE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NPROC, 0)
    _limit(resource.RLIMIT_MEMLOCK, 0)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)


def _limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(what, (value, value))


def _virtual_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[0]) * os.sysconf("SC_PAGESIZE")


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
