"""Runs a command on a kernel that gives no seccomp filters: `python without_seccomp.py ERRNO ...`.

A filter of its own makes every later seccomp(2) fail as it does in kernels and containers that have
none or forbid it. Child processes inherit that.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys

PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
FILTER = 2
SECCOMP = {"x86_64": 317, "aarch64": 277}


class Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def refuse_filters(error: int) -> None:
    steps = [
        (0x20, 0, 0, 0),  # load the number
        (0x15, 0, 1, SECCOMP[platform.machine()]),  # is it seccomp?
        (0x06, 0, 0, 0x0005_0000 | error),  # fail
        (0x06, 0, 0, 0x7FFF_0000),  # allow
    ]
    code = b"".join(struct.pack("<HBBI", *step) for step in steps)
    program = Program(len(steps), code)
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero) == 0
    assert (
        libc.prctl(PR_SET_SECCOMP, ctypes.c_ulong(FILTER), ctypes.byref(program), zero, zero) == 0
    )


if __name__ == "__main__":
    refuse_filters(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
