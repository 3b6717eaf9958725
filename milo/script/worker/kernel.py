"""System calls that Python has no name for (a room: it speaks to the Linux kernel)."""

from __future__ import annotations

import ctypes
import os
from typing import Any


def prctl(option: int, *values: int) -> int:
    """Call prctl(2) and return its answer. Raises OSError where the kernel refuses."""
    words = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    return _checked(_libc().prctl(ctypes.c_int(option), *words))


def system_call(number: int, *arguments: int | Any) -> int:
    """Make a system call by its number: integers as words, ctypes pointers as they are.

    Raises OSError where the kernel refuses.
    """
    words = [ctypes.c_long(item) if isinstance(item, int) else item for item in arguments]
    return _checked(_libc().syscall(ctypes.c_long(number), *words))


def _libc() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    return library


def _checked(answer: int) -> int:
    if answer == -1:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return answer
