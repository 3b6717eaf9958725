"""A script's failures on the candles of its history, and its halt (layer 1)."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from milo.backtest.decisions import DecisionError
from milo.errors import ScriptError
from milo.script.halting import HaltRule

_MOST_TOLD: Final = 20


class Failures:
    """Keeps the first failures, counts all, and applies the halting rule by the candles' clock.

    An evaluation happens at the close of its candle, as in a live run: that is when it fails.
    """

    def __init__(self, open_ms: NDArray[np.int64]) -> None:
        """`open_ms`: the open times of all candles of the history."""
        self.told: list[DecisionError] = []
        self.count = 0
        self.halted_at: int | None = None
        """The candle after whose failure the script is not run again."""
        self._open_ms = open_ms
        self._length_ms: int | None = None
        self._rule = HaltRule()

    @property
    def wants_words(self) -> bool:
        """False where further failures are only counted."""
        return len(self.told) < _MOST_TOLD

    def succeeded(self) -> None:
        """Note an evaluation without an error."""
        self._rule.succeeded()

    def failed(self, index: int, error: ScriptError | None) -> None:
        """Note that the evaluation of a candle failed; `error` may be None where nobody reads it
        and it was neither a breach of a budget nor a matter of security."""
        self.count += 1
        if error is not None and self.wants_words:
            self.told.append(DecisionError(index=index, line=error.line, message=error.message))
        why = self._rule.failed(
            self._close_ms(index) / 1000,
            is_breach=error is not None and error.breach,
            is_security=error is not None and error.security,
        )
        if why:
            self.halted_at = index

    def _close_ms(self, index: int) -> int:
        if self._length_ms is None:
            # Candles of one interval; a longer step is a gap in which nothing was recorded.
            steps = np.diff(self._open_ms)
            self._length_ms = int(steps.min()) if len(steps) else 0
        return int(self._open_ms[index]) + self._length_ms
