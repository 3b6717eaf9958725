"""A worker that breaks the rules on purpose, for `--doctor` (a room).

Started and locked as every worker is, it reads no request, asks for a socket and says whether it
got one. Where the locks hold, the kernel ends it before it can.
"""

from __future__ import annotations

import os
import socket

from milo.script.protocol import Fault, Ready, Reply, reply_frame
from milo.script.worker.backend import backend_of


def serve(fd_in: int, fd_out: int, memory_mb: int, engine: int) -> None:
    """Lock this process in as the worker does, then try what it must not; `fd_in` is not read."""
    backend = backend_of()
    backend.follow(engine)
    held = backend.lock(memory_mb)
    reply: Reply = Ready(request=0, held=held)
    try:
        socket.socket().close()
    except OSError as error:
        reply = Fault(request=0, kind="worker", message=error.strerror or "refused")
    os.write(fd_out, reply_frame(reply))
