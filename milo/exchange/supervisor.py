"""`--restart-on-fault`: starts the exchange, and starts it again after a fault that ends it.

The exchange is a child of this process. Clients see one exchange at one address, which does not
answer for a while: `exchange.json` keeps naming this process and the port of the first start.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from milo.exchange.fault_progress import down_ms_of
from milo.exchange.state_dir import ADDRESS_FILE, remove_address

RESTART_EXIT_CODE = 75
"""What an exchange ends with that wants to be started again."""


def supervise(state_dir: Path, arguments: Sequence[str]) -> int:
    """Run the exchange with these arguments until it ends for good; return its exit code.

    SIGTERM and SIGINT are passed on to it.
    """
    first = [argument for argument in arguments if argument != "--restart-on-fault"]
    first += ["--announced-pid", str(os.getpid())]
    runner = _Runner()
    with _passed_on(runner):
        exit_code = runner.run(first)
        while exit_code == RESTART_EXIT_CODE and not runner.wait(down_ms_of(state_dir) / 1000):
            exit_code = runner.run(_again(first, _port_of(state_dir)))
    if exit_code in (RESTART_EXIT_CODE, -signal.SIGTERM) and runner.is_told_to_end:
        remove_address(state_dir)  # it was down, or had hardly begun: nobody else does it
        return 0
    return exit_code


class _Runner:
    """Runs one exchange after the other."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._end = threading.Event()

    @property
    def is_told_to_end(self) -> bool:
        return self._end.is_set()

    def run(self, arguments: Sequence[str]) -> int:
        """Start an exchange and wait for its end."""
        command = [sys.executable, "-m", "milo.exchange", *arguments]
        self._child = subprocess.Popen(command)  # noqa: S603 - our own command line
        if self.is_told_to_end:
            self.pass_on()
        return self._child.wait()

    def wait(self, seconds: float) -> bool:
        """Wait while the exchange is down; return whether we were told to end meanwhile."""
        return self._end.wait(seconds)

    def end(self) -> None:
        """End the exchange, and start no other."""
        self._end.set()
        self.pass_on()

    def pass_on(self) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)


@contextlib.contextmanager
def _passed_on(runner: _Runner) -> Iterator[None]:
    before = {
        number: signal.signal(number, lambda *_: runner.end())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _again(first: Sequence[str], port: int) -> list[str]:
    """Return the arguments of a later start: the same port, and the account as it was left."""
    kept = [argument for argument in first if argument not in ("--fresh", "--resume")]
    return [*kept, "--port", str(port), "--resume"]


def _port_of(state_dir: Path) -> int:
    address = json.loads((state_dir / ADDRESS_FILE).read_text(encoding="utf-8"))
    return int(address["port"])
