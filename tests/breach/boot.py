"""The test's own worker: `python -I boot.py ROOT FD_IN FD_OUT MEMORY_MB ENGINE_PID PATHS`.

Started as the product starts its worker, it does the same up to the lock, then runs one probe for
each request in a child of its own, which locks itself with the product's code. It is itself not
locked: somebody has to tell how the child ended.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

REQUESTS, REPLIES = 3, 4
PATIENCE_S = 20.0


def main() -> None:
    root = sys.argv[1]
    sys.path.insert(0, root)
    # An interpreter that an unprivileged user can start may lack the libraries of ours.
    sys.path += sys.argv[6].split(os.pathsep)
    from milo.script.worker import boot

    boot.arrange(root, int(sys.argv[2]), int(sys.argv[3]))
    from milo.script.worker import confine, service
    from tests.breach import probes

    confine.die_with_parent(int(sys.argv[5]))
    service.prepare(REPLIES)
    # A probe that signals the whole group must not end the one who reports on it.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    waiting = b""
    while received := os.read(REQUESTS, 65_536):
        waiting += received
        while b"\n" in waiting:
            line, waiting = waiting.split(b"\n", 1)
            tell(run(json.loads(line), confine, probes))


def run(request: dict[str, Any], confine: Any, probes: Any) -> dict[str, Any]:
    """Run one probe in a locked child and return how that ended."""
    child = os.fork()
    if child == 0:
        os._exit(attempt(request, confine, probes))
    status = wait_for(child)
    ended = "killed" if status is None else "exit"
    number = 0 if status is None else status
    if status is not None and os.WIFSIGNALED(status):
        ended, number = "signal", os.WTERMSIG(status)
    elif status is not None:
        number = os.waitstatus_to_exitcode(status)
    return {"end": ended, "number": number}


def wait_for(child: int) -> int | None:
    """Return the child's status; None where it had to be killed."""
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return status
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def attempt(request: dict[str, Any], confine: Any, probes: Any) -> int:
    """Lock this child, then try; what it got goes out by the one way that it has."""
    confine.die_with_parent(os.getppid())
    try:
        if request["locks"]:
            confine.confine(request["memory_mb"], [confine.Lock(name) for name in request["locks"]])
    except confine.Exposed as error:
        tell({"exposed": str(error)})
        return 3
    try:
        if "call" in request:
            harm = None
            probes.call(*request["call"])
        else:
            harm = probes.PROBES[request["probe"]].attempt(request["about"])
    except (OSError, MemoryError) as error:
        tell({"refused": f"{type(error).__name__}: {error}"})
        return 0
    if harm is not None:
        tell({"harm": harm})
    return 0


def tell(content: dict[str, Any]) -> None:
    os.write(REPLIES, json.dumps(content).encode() + b"\n")


if __name__ == "__main__":
    main()
