"""A worker with a script in it, and what the engine keeps about it (a room)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from milo.candles import Candles
from milo.clock import monotonic_s
from milo.model import Candle, ScriptHeader
from milo.script.protocol import candle_frames, history_frame
from milo.script.worker.process import WorkerProcess

_DAY_S: Final = 24 * 3600.0


@dataclass(slots=True)
class Prepared:
    """A worker with the script loaded, and what it has been told of the candles."""

    process: WorkerProcess
    header: ScriptHeader
    known: int = 0
    last: Candle | None = None

    def take_in(self, candles: Candles) -> bytes:
        """Return the frames of what the worker does not know yet, and note that it knows it."""
        count = len(candles)
        known, last = self.known, self.last
        if known == count and (last is None or candles.candle(-1) == last):
            return b""
        self.known = count
        self.last = candles.candle(-1) if count else None
        # Candles are contiguous: the same one in the same place means the same ones before it.
        if known == 0:
            return candle_frames(candles, 0)
        if known < count and candles.candle(known - 1) == last:
            return candle_frames(candles, known)
        return history_frame() + (candle_frames(candles, 0) if count else b"")


class OutputMeter:
    """Counts printed text over 24 hours; what is over the limit is not passed on."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._since_s = monotonic_s()

    def take(self, text: str) -> str | None:
        """Return the text, or None where the limit is reached."""
        now = monotonic_s()
        if now - self._since_s >= _DAY_S:
            self._used, self._since_s = 0, now
        self._used += len(text.encode("utf-8", "replace"))
        return text if self._used <= self._limit else None
