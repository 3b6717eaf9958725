"""The system calls that a worker may make once it is locked: one table, read as it stands (no I/O).

What is not listed ends the process (SIGSYS). `REFUSED` calls fail with EPERM, so that what Python
tries on its own, such as a late import or the text of a traceback, fails like any missing file.
Numbers: the kernel's tables of x86-64 and aarch64. Those of aarch64 have not been run yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Outcome(Enum):
    """What becomes of a call."""

    ALLOW = "allow"
    REFUSE = "refuse"
    """It fails with EPERM."""
    KILL = "kill"
    """The whole process ends with SIGSYS."""


@dataclass(frozen=True, slots=True)
class Check:
    """One argument, cut by a mask, must be one of these values.

    Only the low 32 bits are looked at: of every argument tested here the kernel takes no more,
    or decides nothing by the rest.
    """

    argument: int
    mask: int
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """A call by its name and numbers (None: that machine has none), and when it is allowed."""

    name: str
    x86_64: int | None
    aarch64: int | None
    outcome: Outcome
    checks: tuple[Check, ...] = ()
    """All must hold."""
    otherwise: Outcome = Outcome.KILL
    """Where one does not."""

    def number(self, machine: str) -> int | None:
        """Return the call's number on a machine, as `uname -m` names it."""
        return {"x86_64": self.x86_64, "aarch64": self.aarch64}[machine]


REQUESTS: Final = 3
"""The descriptor that brings requests."""
REPLIES: Final = 4
"""The descriptor that takes replies."""

_WHOLE: Final = 0xFFFF_FFFF
_PROT_EXEC: Final = 0x4
_MAP_PRIVATE: Final = 0x02
_MAP_ANONYMOUS: Final = 0x20
# Shared or private, anonymous, locked in memory, huge pages: memory of its own and nothing else.
_MAP_TESTED: Final = 0x03 | _MAP_ANONYMOUS | 0x2000 | 0x40000
_MADV_DONTNEED: Final = 4
_MADV_FREE: Final = 8
_MADV_HUGEPAGE: Final = 14
_MADV_NOHUGEPAGE: Final = 15
_FUTEX_PLAIN: Final = (0, 1, 9, 10)
"""Wait and wake, and both with a bitset: what locks within one process need."""
_FUTEX_COMMAND: Final = _WHOLE & ~(128 | 256)
_ITIMER_PROF: Final = 2

_ALLOW, _REFUSE, _KILL = Outcome.ALLOW, Outcome.REFUSE, Outcome.KILL
_NO_CODE: Final = Check(2, _PROT_EXEC, (0,))

ALLOWED: Final = (
    # The two pipes, and nothing else that is open.
    Rule("read", 0, 63, _ALLOW, (Check(0, _WHOLE, (REQUESTS,)),), _REFUSE),
    Rule("write", 1, 64, _ALLOW, (Check(0, _WHOLE, (REPLIES,)),), _REFUSE),
    Rule("close", 3, 57, _ALLOW),
    # Memory of its own, never of a file, never executable.
    Rule(
        "mmap", 9, 222, _ALLOW,
        (_NO_CODE, Check(3, _MAP_TESTED, (_MAP_PRIVATE | _MAP_ANONYMOUS,))),
    ),
    Rule("mprotect", 10, 226, _ALLOW, (_NO_CODE,)),
    Rule("munmap", 11, 215, _ALLOW),
    Rule("mremap", 25, 216, _ALLOW),
    Rule("brk", 12, 214, _ALLOW),
    Rule(
        "madvise", 28, 233, _ALLOW,
        (Check(2, _WHOLE, (_MADV_DONTNEED, _MADV_FREE, _MADV_HUGEPAGE, _MADV_NOHUGEPAGE)),),
        _REFUSE,
    ),
    # Locks within the process.
    Rule("futex", 202, 98, _ALLOW, (Check(1, _FUTEX_COMMAND, _FUTEX_PLAIN),), _REFUSE),
    # The clock signal that names the line of an endless loop.
    Rule("setitimer", 38, 103, _ALLOW, (Check(0, _WHOLE, (_ITIMER_PROF,)),), _REFUSE),
    Rule("rt_sigprocmask", 14, 135, _ALLOW),
    Rule("rt_sigreturn", 15, 139, _ALLOW),
    Rule("restart_syscall", 219, 128, _ALLOW),
    # Clocks of the system and of itself; higher numbers are those of other processes.
    Rule("clock_gettime", 228, 113, _ALLOW, (Check(0, _WHOLE & ~0xF, (0,)),), _REFUSE),
    Rule("gettimeofday", 96, 169, _ALLOW),
    Rule("getrandom", 318, 278, _ALLOW),
    Rule("getpid", 39, 172, _ALLOW),
    Rule("gettid", 186, 178, _ALLOW),
    Rule("exit", 60, 93, _ALLOW),
    Rule("exit_group", 231, 94, _ALLOW),
)  # fmt: skip

REFUSED: Final = (
    # Late imports, and source lines of tracebacks.
    Rule("open", 2, None, _REFUSE),
    Rule("openat", 257, 56, _REFUSE),
    Rule("stat", 4, None, _REFUSE),
    Rule("lstat", 6, None, _REFUSE),
    Rule("fstat", 5, 80, _REFUSE),
    Rule("newfstatat", 262, 79, _REFUSE),
    Rule("statx", 332, 291, _REFUSE),
    Rule("access", 21, None, _REFUSE),
    Rule("faccessat", 269, 48, _REFUSE),
    Rule("faccessat2", 439, 439, _REFUSE),
    Rule("readlink", 89, None, _REFUSE),
    Rule("readlinkat", 267, 78, _REFUSE),
    Rule("getcwd", 79, 17, _REFUSE),
    Rule("getdents64", 217, 61, _REFUSE),
    # What Python asks a file that it is about to use, and sets when it ends.
    Rule("lseek", 8, 62, _REFUSE),
    Rule("ioctl", 16, 29, _REFUSE),
    Rule("fcntl", 72, 25, _REFUSE),
    Rule("rt_sigaction", 13, 134, _REFUSE),
    # The C library, before it tries another part of memory when one is full.
    Rule("sched_getaffinity", 204, 123, _REFUSE),
    # abort(), which then ends by an instruction that no process may use: told as a crash, not as
    # an attack.
    Rule("tgkill", 234, 131, _REFUSE),
)

RULES: Final = (*ALLOWED, *REFUSED)
