"""When a script is not run again: the rule that live runs and backtests share (layer 1)."""

from __future__ import annotations

from collections import deque
from typing import Final

FAILURES_TO_HALT: Final = 5
BREACHES_TO_HALT: Final = 3
BREACH_WINDOW_S: Final = 24 * 3600.0


class HaltRule:
    """Counts one script's failures: those in a row, and the budget breaches of 24 hours.

    Times are seconds of one clock that never goes back; a backtest's clock is that of its candles.
    """

    def __init__(self) -> None:
        self._in_row = 0
        self._breaches: deque[float] = deque()

    def succeeded(self) -> None:
        """Note an evaluation without an error."""
        self._in_row = 0

    def failed(self, now_s: float, *, is_breach: bool, is_security: bool) -> str:
        """Note an evaluation that failed; return why the script is halted now, "" where it is not.

        What only broken-out code can do (`is_security`) halts at once: no script of the language
        does it.
        """
        self._in_row += 1
        if is_breach:
            self._breaches.append(now_s)
        while self._breaches and now_s - self._breaches[0] > BREACH_WINDOW_S:
            self._breaches.popleft()
        if is_security:
            return "a security event"
        if self._in_row >= FAILURES_TO_HALT:
            return f"{FAILURES_TO_HALT} failures in a row"
        if len(self._breaches) >= BREACHES_TO_HALT:
            return f"{BREACHES_TO_HALT} budget breaches in 24 h"
        return ""
