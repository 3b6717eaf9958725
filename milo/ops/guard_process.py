"""The guard as a process: find it, start it, end one that hangs.

A running guard holds `guard.lock` in the venue's folder and writes `guard.json`, readable by its
owner only. It is started as a session of its own, so that neither Ctrl-C nor the engine's death
ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from milo.clock import monotonic_s
from milo.config import child_environment
from milo.errors import EngineError
from milo.ops.folder_lock import GUARD_LOCK, holder_of
from milo.secret import Secret

ADDRESS_FILE = "guard.json"
LOG_FILE = "guard.log"
START_TIMEOUT_S = 30.0
DEATH_TIMEOUT_S = 5.0
_POLL_S = 0.02
_MAIN = Path(__file__).resolve().parents[2] / "main.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardAddress:
    """What `guard.json` says of a running guard."""

    pid: int
    port: int
    token: str
    venue: str
    """Where it sends its orders; an embedded exchange that was started again listens elsewhere."""

    def __repr__(self) -> str:
        return f"GuardAddress(pid={self.pid}, port={self.port})"


def write_address(folder: Path, address: GuardAddress) -> None:
    """Write `guard.json` whole or not at all, readable by its owner only."""
    content = dataclasses.asdict(address)
    temporary = folder / f".{ADDRESS_FILE}.{address.pid}"
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(file, "w", encoding="utf-8") as stream:
        json.dump(content, stream)
    temporary.replace(folder / ADDRESS_FILE)


def remove_address(folder: Path) -> None:
    """Take `guard.json` away, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        (folder / ADDRESS_FILE).unlink()


def running_guard(folder: Path) -> GuardAddress | None:
    """Return the guard that holds the folder's lock and says where it listens; None without one."""
    try:
        raw = json.loads((folder / ADDRESS_FILE).read_text(encoding="utf-8"))
        address = GuardAddress(
            pid=int(raw["pid"]),
            port=int(raw["port"]),
            token=str(raw["token"]),
            venue=str(raw["venue"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # A file that a dead guard left behind names a process that may be anybody's by now.
    return address if holder_of(folder, GUARD_LOCK) == address.pid else None


class GuardKeeper:
    """Starts and ends the guard of one venue's folder, for the engine that holds the folder."""

    def __init__(
        self, folder: Path, arguments: Sequence[str], *, venue: str, password: Secret | None
    ) -> None:
        """`password` is kept until `forget`: a guard that is lost has to be started again."""
        self._folder = folder
        self._venue = venue
        self._arguments = arguments
        self._password = password
        self._child: int | None = None

    def forget(self) -> None:
        """Overwrite the password: no guard will be started any more."""
        if self._password is not None:
            self._password.forget()

    def find(self) -> GuardAddress | None:
        """Return the guard that watches this venue, whoever started it."""
        self._reap()
        address = running_guard(self._folder)
        return address if address is not None and address.venue == self._venue else None

    def is_gone(self) -> bool:
        """Return whether no guard runs on this folder."""
        self._reap()
        return self._child is None and holder_of(self._folder, GUARD_LOCK) is None

    async def start(self, while_absent: Callable[[float], None]) -> GuardAddress:
        """Start a guard and wait until it listens; EngineError with its last line where it fails.

        `while_absent` is called with each monotonic second at which it did not listen yet.
        """
        self._child = self._spawn()
        pid = self._child
        deadline_s = monotonic_s() + START_TIMEOUT_S
        while monotonic_s() < deadline_s:
            looked_s = monotonic_s()
            address = running_guard(self._folder)
            if address is not None and address.pid == pid:
                return address
            self._reap()
            if self._child is None:
                raise EngineError(f"the guard did not start: {self._last_line()}")
            while_absent(looked_s)
            await asyncio.sleep(_POLL_S)
        raise EngineError(f"the guard did not start within {START_TIMEOUT_S:g} s")

    async def end(self) -> bool:
        """Kill the guard, whatever it is doing; return whether none runs any more."""
        deadline_s = monotonic_s() + DEATH_TIMEOUT_S
        while not self.is_gone():
            pid = self._child or holder_of(self._folder, GUARD_LOCK)
            if pid is not None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            if monotonic_s() > deadline_s:
                return False
            await asyncio.sleep(_POLL_S)
        return True

    def _spawn(self) -> int:
        command = [sys.executable, str(_MAIN), "--guard", "started", *self._arguments]
        log = self._folder / LOG_FILE
        password = None if self._password is None else self._password.bytes()
        read_end, write_end = os.pipe()
        try:
            pid = os.posix_spawn(
                sys.executable,
                command,
                child_environment(),
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, read_end, 0),
                    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                    (
                        os.POSIX_SPAWN_OPEN, 2, str(log),
                        os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600,
                    ),
                ],
                setsid=True,
                setsigdef=[signal.SIGINT, signal.SIGTERM],
            )  # fmt: skip
            if password is not None:
                # Far less than a pipe holds: this never waits.
                os.write(write_end, password)
                os.write(write_end, b"\n")
        except OSError as error:
            raise EngineError(f"cannot start the guard: {error.strerror}") from error
        finally:
            os.close(read_end)
            os.close(write_end)
        return pid

    def _reap(self) -> None:
        if self._child is None:
            return
        try:
            ended, _ = os.waitpid(self._child, os.WNOHANG)
        except ChildProcessError:
            ended = self._child
        if ended:
            self._child = None

    def _last_line(self) -> str:
        try:
            text = (self._folder / LOG_FILE).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            text = ""
        line = text.splitlines()[-1] if text else f"see {self._folder / LOG_FILE}"
        return line.removeprefix("error: ")
