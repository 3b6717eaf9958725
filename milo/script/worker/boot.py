"""Starts a worker: `python -s -P boot.py ROOT FD_IN FD_OUT MEMORY_MB ENGINE_PID KIND`, by its path.

Run by the engine with one fixed variable for an environment. Leaves five open files: 0 to 2 are
/dev/null, 3 brings requests, 4 takes replies. Imports the project only after that, so that nothing
reads a file, an environment or a descriptor that the engine did not mean to give.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import sys
import time

_REQUESTS = 3
_REPLIES = 4
_ABOVE = 16


def start(root: str, fds: tuple[int, int], memory_mb: int, engine: int, *, is_trial: bool) -> None:
    """Arrange descriptors and environment, then serve until the engine closes the pipe."""
    arrange(root, *fds)
    try:
        if is_trial:
            from milo.script.worker.trial import serve
        else:
            from milo.script.worker.service import serve
    except ImportError as error:
        _report(f"the script worker cannot start: {error}; run 'make venv' again")
        sys.exit(1)
    code = 1
    try:
        serve(_REQUESTS, _REPLIES, memory_mb, engine)
        code = 0
    finally:
        # Nothing is left to be tidied up or shown, and the locks would be in the way.
        os._exit(code)


def arrange(root: str, fd_in: int, fd_out: int) -> None:
    """Leave the two pipes as 3 and 4, one thread for numpy, and the project on the path."""
    # Both out of the way first: either number may be where the other belongs.
    raised = [fcntl.fcntl(fd, fcntl.F_DUPFD, _ABOVE) for fd in (fd_in, fd_out)]
    os.dup2(raised[0], _REQUESTS, inheritable=False)
    os.dup2(raised[1], _REPLIES, inheritable=False)
    # The engine passed these two only.
    for fd in {fd_in, fd_out, *raised} - {_REQUESTS, _REPLIES}:
        os.close(fd)
    # One thread: numpy's would need memory, and locks that later layers do not allow.
    os.environ.update(TZ="UTC", OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
    time.tzset()
    sys.path.insert(0, root)


def _report(message: str) -> None:
    """Send a fault frame by hand: the protocol's own module may be what is missing."""
    body = json.dumps({"request": 0, "kind": "worker", "message": message[:400]}).encode()
    os.write(_REPLIES, struct.pack("<IB", len(body), ord("F")) + body)


if __name__ == "__main__":
    start(
        sys.argv[1],
        (int(sys.argv[2]), int(sys.argv[3])),
        int(sys.argv[4]),
        int(sys.argv[5]),
        is_trial=sys.argv[6] == "trial",
    )
