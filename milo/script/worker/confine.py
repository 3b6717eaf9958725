"""Locks a worker process in, once, after its imports and before any script (a room; Linux).

Each lock is one the process cannot open again. The filter of system calls (seccomp) is the wall;
the others hold where it should have a hole, and it holds where they do.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import resource
import signal
import stat
from collections.abc import Collection
from enum import StrEnum
from pathlib import Path
from typing import Final

from milo.script.protocol import Held
from milo.script.worker import kernel, landlock, seccomp
from milo.script.worker.syscalls import REPLIES, REQUESTS

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_CAPBSET_DROP: Final = 24
_PR_SET_SECUREBITS: Final = 28
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_ROOT_IS_NOBODY: Final = 0xEF
"""Securebits: no capability comes with user 0, none is kept or raised; each bit with its lock,
but for `keep_caps`, which has its lock alone."""
_CAPSET: Final = {"x86_64": 126, "aarch64": 91}
_CAPABILITY_VERSION: Final = 0x2008_0522
_MOST_CAPABILITIES: Final = 64

_OPEN_FILES: Final = 8
_MEBIBYTE: Final = 1024 * 1024
_NULL_DEVICE: Final = os.makedev(1, 3)


class Lock(StrEnum):
    """One lock; the worker reports those that hold."""

    LIMITS = "limits"
    PRIVILEGES = "no new privileges"
    CAPABILITIES = "no capabilities"
    UNDUMPABLE = "no dumps"
    LANDLOCK = "landlock"
    SECCOMP = "seccomp"


EVERY_LOCK: Final = frozenset(Lock)


class Exposed(Exception):
    """The process was started with something that a worker must not have."""


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when the engine ends, even while a script spins.

    Ends it at once where the engine (`parent`) is gone already.
    """
    kernel.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def confine(memory_mb: int, locks: Collection[Lock] = EVERY_LOCK) -> Held:
    """Close every lock; memory may grow by `memory_mb` from here on. Return what holds.

    Landlock and seccomp are reported as missing where the kernel has none: whether a script may
    run then is for the engine to say. Raises Exposed where the process has more than it should,
    OSError where another lock cannot be closed.
    """
    _check_surroundings()
    held: list[Lock] = []
    version = landlock.version()
    missing = ""
    # In this order: each still needs what the next takes away.
    if Lock.LIMITS in locks:
        _set_limits(memory_mb)
        held.append(Lock.LIMITS)
    if Lock.PRIVILEGES in locks:
        kernel.prctl(_PR_SET_NO_NEW_PRIVS, 1)
        held.append(Lock.PRIVILEGES)
    if Lock.UNDUMPABLE in locks:
        kernel.prctl(_PR_SET_DUMPABLE, 0)
        held.append(Lock.UNDUMPABLE)
    if Lock.LANDLOCK in locks and version:
        # Wanted, not required: a container may forbid it though the kernel has it.
        with contextlib.suppress(OSError):
            landlock.deny_all(version)
            held.append(Lock.LANDLOCK)
    if Lock.CAPABILITIES in locks:
        _drop_capabilities()
        held.append(Lock.CAPABILITIES)
    if Lock.SECCOMP in locks:
        try:
            seccomp.install()
            held.append(Lock.SECCOMP)
        except OSError as error:
            missing = error.strerror or str(error)
    return Held(locks=tuple(held), landlock=version, missing=missing)


def _check_surroundings() -> None:
    """Raise Exposed unless this process has its five open files and one thread."""
    found = _open_files()
    if found != {0, 1, 2, REQUESTS, REPLIES}:
        raise Exposed(f"its open files are {sorted(found)}")
    for fd in (0, 1, 2):
        about = os.fstat(fd)
        if not stat.S_ISCHR(about.st_mode) or about.st_rdev != _NULL_DEVICE:
            raise Exposed(f"its file {fd} is not the null device")
    for fd, way in ((REQUESTS, os.O_RDONLY), (REPLIES, os.O_WRONLY)):
        is_pipe = stat.S_ISFIFO(os.fstat(fd).st_mode)
        if not is_pipe or fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != way:
            raise Exposed(f"its file {fd} is no pipe of one way")
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise Exposed(f"it has {threads} threads")


def _open_files() -> set[int]:
    # The listing itself needs a file, which is closed again by the time it is asked for.
    return {int(name) for name in os.listdir("/proc/self/fd") if _is_open(int(name))}


def _is_open(fd: int) -> bool:
    try:
        fcntl.fcntl(fd, fcntl.F_GETFD)
    except OSError:
        return False
    return True


def _set_limits(memory_mb: int) -> None:
    limit(resource.RLIMIT_AS, _virtual_bytes() + memory_mb * _MEBIBYTE)
    limit(resource.RLIMIT_MSGQUEUE, 0)
    set_plain_limits()


def set_plain_limits() -> None:
    """Set the limits that every Unix knows: no files, no processes, no dumps, no locked memory."""
    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_FSIZE, 0)
    limit(resource.RLIMIT_NPROC, 0)
    limit(resource.RLIMIT_MEMLOCK, 0)
    limit(resource.RLIMIT_NOFILE, _OPEN_FILES)


def limit(what: int, value: int) -> None:
    """Lower a limit for good, never below what was lower before. Raises OSError."""
    _, hard = resource.getrlimit(what)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(what, (value, value))


def _virtual_bytes() -> int:
    text = Path("/proc/self/statm").read_text(encoding="ascii")
    return int(text.split()[0]) * os.sysconf("SC_PAGESIZE")


def _drop_capabilities() -> None:
    """Give up what root may; who is not root has nothing to give up and may not say so."""
    try:
        for number in range(_MOST_CAPABILITIES):
            kernel.prctl(_PR_CAPBSET_DROP, number)
    except OSError as error:
        # Not allowed (not root), or past the last that this kernel knows.
        if error.errno not in (errno.EPERM, errno.EINVAL):
            raise
    try:
        kernel.prctl(_PR_SET_SECUREBITS, _ROOT_IS_NOBODY)
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
    kernel.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    machine = platform.machine()
    if machine in _CAPSET:
        head = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
        none = (ctypes.c_uint32 * 6)()
        kernel.system_call(_CAPSET[machine], ctypes.byref(head), ctypes.byref(none))
