"""Landlock, the kernel's second lock: no file, no TCP port, no signal out (a room).

Used where the kernel has it; the filter of system calls is what is required.
Source: https://docs.kernel.org/userspace-api/landlock.html; its numbers are the same everywhere.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

from milo.script.worker import kernel

_CREATE_RULESET: Final = 444
_RESTRICT_SELF: Final = 446
_ASK_VERSION: Final = 1

_FILE_RIGHTS: Final = ((1, (1 << 13) - 1), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
"""(Version, rights that came with it): all of them are handled, so all are denied."""
_TCP_RIGHTS: Final = (4, 0b11)
_SCOPES: Final = (6, 0b11)
"""Abstract sockets and signals of processes outside."""
_ATTRIBUTE_BYTES: Final = ((1, 8), (4, 16), (6, 24))


def version() -> int:
    """Return the kernel's version of Landlock; 0 where it has none or it is switched off."""
    try:
        return kernel.system_call(_CREATE_RULESET, 0, 0, _ASK_VERSION)
    except OSError:
        # ENOSYS, EOPNOTSUPP, or a container that forbids the call: there is none for us.
        return 0


def deny_all(known: int) -> None:
    """Take away every right that version `known` of Landlock handles, for good.

    Needs no_new_privs. Raises OSError where the kernel refuses.
    """
    files = sum(bits for since, bits in _FILE_RIGHTS if known >= since)
    ports = _TCP_RIGHTS[1] if known >= _TCP_RIGHTS[0] else 0
    scopes = _SCOPES[1] if known >= _SCOPES[0] else 0
    attribute = (ctypes.c_uint64 * 3)(files, ports, scopes)
    size = max(count for since, count in _ATTRIBUTE_BYTES if known >= since)
    ruleset = kernel.system_call(_CREATE_RULESET, ctypes.byref(attribute), size, 0)
    try:
        kernel.system_call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
