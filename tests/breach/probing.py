"""What probes are made of: their list, and calls to the kernel by number (x86-64)."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

About = dict[str, Any]
"""engine (its pid), folder, port, secrets_at (address of a secret in the engine), memory_mb."""

PAGE = 4096
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
LIBC.mmap.restype = ctypes.c_void_p
FAILED = ctypes.c_void_p(-1).value
HEAP = ctypes.create_string_buffer(1 << 16)
AT_CWD = -100


@dataclass(frozen=True)
class Probe:
    family: str
    attempt: Callable[[About], str | None]
    is_tame: bool
    for_root: bool
    """Shows its harm only where the user is root."""


PROBES: dict[str, Probe] = {}


def probe(
    family: str, *, is_tame: bool = True, for_root: bool = False
) -> Callable[[Callable[[About], str | None]], Callable[[About], str | None]]:
    def register(attempt: Callable[[About], str | None]) -> Callable[[About], str | None]:
        name = f"{family}: {attempt.__name__.replace('_', ' ')}"
        assert name not in PROBES
        PROBES[name] = Probe(family, attempt, is_tame, for_root)
        return attempt

    return register


def call(number: int, *arguments: Any) -> int:
    """Make a system call; OSError where it fails."""
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    answer: int = LIBC.syscall(ctypes.c_long(number), *words)
    if answer == -1:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return answer


def raw(
    family: str, name: str, number: int, *arguments: Any, is_tame: bool = True,
    for_root: bool = False,
) -> None:  # fmt: skip
    """Register a probe that is one system call; that it succeeds is the harm."""

    def attempt(about: About) -> str | None:
        return f"{name} gave {call(number, *arguments)}"

    attempt.__name__ = name
    probe(family, is_tame=is_tame, for_root=for_root)(attempt)


def found_secret(content: bytes) -> str | None:
    """Return a secret that lies in some bytes, put together so that this text holds none."""
    match = re.search(b"MILO" + b"-[A-Z]+-" + b"[0-9a-f]{32}", content)
    return f"a secret: {match[0].decode()}" if match else None


def memory_of(pid: int | str, opened: str = "mem") -> str | None:
    """Look for a secret in all readable memory of a process."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/{opened}", "rb", 0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            start, end = (int(part, 16) for part in span.split("-"))
            if not rights.startswith("rw") or end - start > 1 << 28:
                continue
            memory.seek(start)
            try:
                found = found_secret(memory.read(end - start))
            except (OSError, OverflowError):
                continue
            if found:
                return found
    return None


def path_of(about: About, name: str) -> str:
    return os.path.join(about["folder"], name)


def mapped(protection: int, flags: int = 0x22, fd: int = -1) -> int:
    """Map a page and return its address; OSError where the kernel refuses."""
    at: int | None = LIBC.mmap(None, ctypes.c_size_t(PAGE), protection, flags, fd, ctypes.c_long(0))
    if at is None or at == FAILED:
        raise OSError(ctypes.get_errno(), "mmap")
    return at
