"""Starts a worker's interpreter (a room). Loads nothing else of ours: whoever is about to need a
worker starts it first, and loads the rest while it loads too."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PIPE_BYTES: Final = 1024 * 1024
BOOT = Path(__file__).with_name("boot.py")
_PROJECT: Final = Path(__file__).resolve().parents[3]
_END_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Spawned:
    """A worker that is starting, and the engine's ends of its two pipes, which do not block."""

    process: subprocess.Popen[bytes]
    to_worker: int
    from_worker: int
    memory_mb: int

    def discard(self) -> None:
        """Kill one that nobody has taken over, and wait until it is gone."""
        self.process.kill()
        os.close(self.to_worker)
        os.close(self.from_worker)
        # Where the kernel holds it in a call that no signal ends, it runs nothing any more.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_END_S)


def spawn(memory_mb: int, kind: str = "worker") -> Spawned:
    """Start the interpreter: no file but the two pipes, nothing of our environment, a session.

    The kernel kills it when the calling thread ends. Raises OSError where it cannot start.
    """
    request_end, to_worker = os.pipe()
    from_worker, reply_end = os.pipe()
    try:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and file
            [
                sys.executable, "-s", "-P", str(BOOT),
                str(_PROJECT), str(request_end), str(reply_end), str(memory_mb), str(os.getpid()),
                kind,
            ],
            # Texts hash the same in every worker: a set of them is in the same order in a
            # backtest and live. (-I would ignore it; without any other variable it is no safer.)
            env={"PYTHONHASHSEED": "0"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=True,
            pass_fds=(request_end, reply_end),
            start_new_session=True,
        )  # fmt: skip
    except BaseException:
        os.close(to_worker)
        os.close(from_worker)
        raise
    finally:
        os.close(request_end)
        os.close(reply_end)
    _let_it_go_first(process.pid)
    os.set_blocking(to_worker, False)
    os.set_blocking(from_worker, False)
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        # Where a user's share of pipe memory is spent, history goes over in more steps.
        with contextlib.suppress(OSError):
            fcntl.fcntl(to_worker, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return Spawned(process, to_worker, from_worker, memory_mb)


def _let_it_go_first(pid: int) -> None:
    """Let the kernel end this process before the engine where the machine's memory runs out.

    Many scripts can use up together what each of them may. Where the kernel has no such file, or a
    container keeps it from us, nothing is lost but the order.
    """
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text("1000", encoding="ascii")
