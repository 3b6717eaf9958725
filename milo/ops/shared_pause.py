"""A pause that the venue asked for, known to every process of ours on this computer.

Rate limits count by IP address: a guard, or an engine that is started during a ban, must not ask
what another process was told not to. One small file in the venue's folder holds the end of it.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from milo.clock import wall_ms

PAUSE_FILE = "pause"
_LONGEST_MS = 3 * 24 * 3600 * 1000
"""No venue bans for longer: a later end means that this computer's clock was set back."""


class SharedPause:
    """Reads and writes the end of the pause; a file that cannot be read holds nobody back."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / PAUSE_FILE
        self._stamp = 0
        self._until_ms = 0

    def left_s(self) -> float:
        """Return the wall seconds that are left of it; 0.0 without one."""
        try:
            stamp = os.stat(self._path).st_mtime_ns
        except OSError:
            return 0.0
        if stamp != self._stamp:
            self._stamp = stamp
            with contextlib.suppress(OSError, ValueError):
                self._until_ms = int(self._path.read_text("ascii"))
        left_ms = self._until_ms - wall_ms()
        return left_ms / 1000 if 0 < left_ms <= _LONGEST_MS else 0.0

    def extend(self, pause_s: float) -> None:
        """Tell all that the pause goes on for so long from now."""
        if pause_s <= self.left_s():
            return
        partial = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            partial.write_text(str(wall_ms() + int(pause_s * 1000)), "ascii")
            partial.replace(self._path)
