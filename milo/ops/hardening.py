"""What every process of ours that may hold keys does to itself before anything else.

A worker that has broken out runs as the same user: without this it could read our memory and our
environment through /proc, and a crash could leave both on the disk. Its own locks do not allow
that either; this holds where they have a hole.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from typing import Final

_PR_GET_DUMPABLE: Final = 3
_PR_SET_DUMPABLE: Final = 4


def harden() -> str:
    """Close this process's memory to others and leave no core dumps; return what failed, or "".

    On Linux only root may look into it afterwards: a debugger needs that too. Not inherited by a
    program that is started; each does it for itself.
    """
    problems = []
    try:
        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    except (OSError, ValueError) as error:
        problems.append(f"a crash may write a core dump ({error})")
    if sys.platform == "linux":
        try:
            _prctl(_PR_SET_DUMPABLE)
        except OSError as error:
            problems.append(f"its memory is open to other processes ({error.strerror})")
    return "; ".join(problems)


def is_hardened() -> bool:
    """Return whether nobody else may read this process's memory and no core dump is written."""
    soft, _ = resource.getrlimit(resource.RLIMIT_CORE)
    is_closed = sys.platform == "linux" and _prctl(_PR_GET_DUMPABLE) == 0
    return soft == 0 and is_closed


def _prctl(option: int) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    answer: int = library.prctl(ctypes.c_int(option), *[ctypes.c_ulong(0)] * 4)
    if answer == -1:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return answer
