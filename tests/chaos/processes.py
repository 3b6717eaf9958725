"""The processes of one run: started in sessions of their own, killed by pid, never left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.market import PROJECT

ADDRESS_FILE = "exchange.json"
GUARD_FILE = "guard.json"
START_TIMEOUT_S = 20.0
END_TIMEOUT_S = 8.0
POLL_S = 0.01


def wall_ms() -> float:
    return time.time() * 1000


def environment() -> dict[str, str]:
    """Return an environment without any MILO_* of the person who runs this."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MILO_")}
    return kept | {"PYTHONPATH": str(PROJECT)}


@dataclass(slots=True)
class Diary:
    """What was done to the processes of a run, one JSON line each."""

    path: Path
    lines: list[dict[str, Any]] = field(default_factory=list)

    def note(self, kind: str, **more: Any) -> None:
        line = {"t": round(wall_ms(), 3), "kind": kind, **more}
        self.lines.append(line)
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")


class Child:
    """A process that the run started."""

    def __init__(self, arguments: Sequence[str], *, log: Path) -> None:
        with log.open("ab") as file:  # the child has its own handle
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd=PROJECT,
                env=environment(),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def poll(self) -> int | None:
        return self.process.poll()

    def kill(self) -> None:
        """Kill -9, and wait until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(END_TIMEOUT_S)

    def end(self, timeout_s: float = END_TIMEOUT_S) -> int | None:
        """Ask for an orderly end; return its exit code, None where it had to be killed."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        return self.wait(timeout_s)

    def wait(self, timeout_s: float) -> int | None:
        """Return its exit code; None where it had to be killed."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return None


def read_json(path: Path) -> dict[str, Any] | None:
    """Return what a process wrote; None while there is nothing whole."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content


def is_answering(venue: Path) -> bool:
    """Whether somebody listens where the exchange says that it does."""
    address = read_json(venue / ADDRESS_FILE)
    if address is None:
        return False
    try:
        socket.create_connection(("127.0.0.1", int(address["port"])), timeout=0.2).close()
    except OSError:
        return False
    return True


def is_of(pid: int, folder: Path) -> bool:
    """Whether the process runs, and its command line names the run's own folder."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return str(folder).encode() in words


def kill_pid(pid: int, folder: Path) -> bool:
    """Kill -9 a process of this run by its id; return whether it was there."""
    if not is_of(pid, folder):
        return False
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def remaining(folder: Path) -> list[int]:
    """Return the processes whose command line names the run's own folder."""
    own = os.getpid()
    pids = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())
    return [pid for pid in pids if pid != own and is_of(pid, folder)]


def sweep(folder: Path) -> int:
    """Kill what is left of a run; return how many there were."""
    found = 0
    for pid in remaining(folder):
        found += kill_pid(pid, folder)
    return found
