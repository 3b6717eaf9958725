"""Whether anything is still being done: a counter that many parts share (layer 0).

A stepped exchange moves its clock only when the engine is idle, so every part that holds work
(a queued event, an evaluation, a request under way) counts itself in and out here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Activity:
    """Counts work in hand; tells one listener each time it falls to zero. One thread only."""

    def __init__(self) -> None:
        self._count = 0
        self._on_idle: Callable[[], None] | None = None

    @property
    def is_idle(self) -> bool:
        return self._count == 0

    def when_idle(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever the last work in hand is done."""
        self._on_idle = listener

    def begin(self) -> None:
        self._count += 1

    def end(self) -> None:
        """Count one piece of work out; every `begin` needs exactly one."""
        assert self._count > 0
        self._count -= 1
        if self._count == 0 and self._on_idle is not None:
            self._on_idle()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count a block of code as work."""
        self.begin()
        try:
            yield
        finally:
            self.end()
