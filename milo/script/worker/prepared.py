"""A worker with a script in it, and what the engine keeps about it (a room)."""

from __future__ import annotations

from dataclasses import dataclass, field

from milo.candles import Candles
from milo.model import ScriptHeader
from milo.script.protocol import MANY_CANDLES, candle_parts, history_frame
from milo.script.worker.process import Parts, WorkerProcess


@dataclass(slots=True)
class Prepared:
    """A worker with the script loaded, and what it has been told of the candles."""

    process: WorkerProcess
    header: ScriptHeader
    known: Candles = field(default_factory=Candles.empty)
    has_decided: bool = False
    """What it computes once for all candles it has, at least in part."""

    @property
    def memory_mb(self) -> int:
        return self.process.memory_mb

    def take_in(self, candles: Candles, *, with_forming: bool = False) -> Parts:
        """Return the frames of what the worker does not know yet, and note that it knows it.

        It may know more than these, but for `with_forming`: that candle's place is behind them.
        """
        count, before = len(candles), len(self.known)
        # Candles are contiguous: the same one in the same place means the same ones before it.
        common = min(count, before)
        is_same = not common or candles.candle(common - 1) == self.known.candle(common - 1)
        if is_same and (count == before or (count < before and count and not with_forming)):
            return []
        self.known = candles
        if is_same and count > before and count - before < MANY_CANDLES:
            return candle_parts(candles, before)
        self.has_decided = False
        return [history_frame(count), *(candle_parts(candles, 0) if count else [])]
