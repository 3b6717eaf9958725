"""How a platform locks a script's process in, and how the engine checks that (a room).

To serve another platform, write a back end and name it in `backend_of`.
"""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import Final, Protocol

from milo.model import Isolation
from milo.script.limits import MAX_MESSAGE
from milo.script.protocol import Held
from milo.script.text import clean_line
from milo.script.worker import confine

_WANTED: Final = {"Seccomp": "2", "NoNewPrivs": "1", "Threads": "1", "CapEff": "0000000000000000"}
"""What the kernel must say in /proc/PID/status of a worker that says it is locked."""
_FILTERS: Final = "Seccomp_filters"
"""How many a process has; kernels before 5.9 do not say."""


class Backend(Protocol):
    """One platform's way."""

    def follow(self, engine: int) -> None:
        """In the worker, at first: end with the engine, whose process id is given."""
        ...

    def lock(self, memory_mb: int) -> Held:
        """In the worker, after its imports: close every lock and return what holds."""
        ...

    def judge(self, pid: int, held: Held) -> Isolation:
        """In the engine: say how a worker is locked, by its own words and the kernel's."""
        ...


class LinuxBackend:
    """seccomp, which is required; Landlock where there is one; and the rest of `confine`."""

    def follow(self, engine: int) -> None:
        confine.die_with_parent(engine)

    def lock(self, memory_mb: int) -> Held:
        return confine.confine(memory_mb)

    def judge(self, pid: int, held: Held) -> Isolation:
        extra = "no Landlock in this kernel"
        if held.landlock:
            holds = confine.Lock.LANDLOCK in held.locks
            extra = f"Landlock {held.landlock}" if holds else "Landlock refused to us"
        if confine.Lock.SECCOMP not in held.locks:
            why = clean_line(held.missing, MAX_MESSAGE) or "the worker does not say why"
            text = f"the kernel gives no filter of system calls (seccomp: {why}); {extra}, limits"
            return Isolation(is_isolated=False, text=text)
        status = _status_of(pid)
        if status is None:
            text = f"seccomp, {extra}, limits; as the worker says, /proc hides it from the engine"
            return Isolation(is_isolated=True, text=text)
        wrong = [f"{key} {status.get(key)}" for key in _WANTED if status.get(key) != _WANTED[key]]
        # A container's own filter is inherited, and would pass for the worker's.
        own = (_status_of("self") or {}).get(_FILTERS, "0")
        if int(status.get(_FILTERS, "1")) <= int(own):
            wrong.append(f"{_FILTERS} {status.get(_FILTERS)}, as many as the engine's own")
        if wrong:
            text = f"the worker says that it is locked, the kernel says {', '.join(wrong)}"
            return Isolation(is_isolated=False, text=text)
        return Isolation(is_isolated=True, text=f"seccomp, {extra}, limits")


class PlainBackend:
    """Where no lock is known: a process of its own with limits. Runs trusted scripts only."""

    def follow(self, engine: int) -> None:
        """The pipe's end tells it; a script that spins is not ended by that."""

    def lock(self, memory_mb: int) -> Held:
        # Memory is not among them: macOS does not hold RLIMIT_AS.
        confine.set_plain_limits()
        return Held(locks=(confine.Lock.LIMITS,), landlock=0)

    def judge(self, pid: int, held: Held) -> Isolation:
        return Isolation(
            is_isolated=False, text=f"no lock is known for {sys.platform}; process and limits only"
        )


def backend_of(platform: str = sys.platform) -> Backend:
    """Return the back end of a platform, as `sys.platform` names it."""
    return LinuxBackend() if platform == "linux" else PlainBackend()


def _status_of(pid: int | str) -> dict[str, str] | None:
    """Return the kernel's words on a process; None where /proc does not show it to us."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EACCES, errno.EPERM):
            raise
        return None
    rows = (line.partition(":") for line in text.splitlines())
    return {key: value.strip() for key, _, value in rows}
