"""A progress bar on the terminal, where there is one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType

from milo.backtest.progress import progress_line
from milo.cli.context import App
from milo.clock import monotonic_s

_DRAWN_EVERY_S = 0.1


class Progress:
    """Counts several works together and draws one bar; a context manager that wipes it away."""

    def __init__(self, app: App, total: int, *, noun: str = "candles") -> None:
        self._is_drawn = sys.stderr.isatty() and not app.config.verbose
        self._total = total
        self._noun = noun
        self._done: list[int] = []
        self._began_s = self._drawn_s = monotonic_s()
        self._has_line = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._has_line:
            print("\r" + " " * 80 + "\r", end="", file=sys.stderr, flush=True)

    def counter(self) -> Callable[[int], None]:
        """Return what one work calls with how much of it is done so far."""
        place = len(self._done)
        self._done.append(0)

        def count(done: int) -> None:
            self._done[place] = done
            self._draw()

        return count

    def _draw(self) -> None:
        now_s = monotonic_s()
        # Short works show nothing: a bar that flashes up tells nobody anything.
        if not self._is_drawn or now_s - self._drawn_s < _DRAWN_EVERY_S:
            return
        self._drawn_s, self._has_line = now_s, True
        line = progress_line(
            sum(self._done), self._total, seconds=now_s - self._began_s, noun=self._noun
        )
        print("\r" + line, end="", file=sys.stderr, flush=True)
