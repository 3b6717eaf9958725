"""Handing stream items from threads to the event loop, and back the counts of what was consumed.

Threads put, the loop takes. The loop is woken once for all that came since it last looked, so that
a burst costs one wake-up. The lock is held for a few operations only, never across an await.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

from milo.events import StreamReset
from milo.wire.backlog import Backlog, StreamItem

logger = logging.getLogger(__name__)


class Handover:
    """The backlog between threads and loop, and the news for those who wait in the loop."""

    def __init__(self, size: int) -> None:
        self._lock = threading.Lock()
        self._backlog = Backlog(size)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._filled: asyncio.Future[None] | None = None
        self._changed: asyncio.Future[None] | None = None
        self._end: Exception | None = None
        self._is_waking = False
        self._invalid = 0

    # --- for the loop

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    @property
    def queued(self) -> int:
        return len(self._backlog)

    @property
    def dropped(self) -> int:
        return self._backlog.dropped

    @property
    def invalid(self) -> int:
        return self._invalid

    def take(self) -> StreamItem | None:
        """Return the oldest item; None where there is none, and `filled` then waits for one."""
        with self._lock:
            if self._end is not None:
                raise self._end
            item = self._backlog.take()
            if item is None:
                self._filled = asyncio.get_running_loop().create_future()
            return item

    async def filled(self) -> None:
        waiter = self._filled
        if waiter is not None:
            await waiter

    async def changed(self) -> None:
        """Wait until a connection opened, was lost or ended."""
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._changed)

    def consume(self, item: StreamItem) -> None:
        with self._lock:
            self._backlog.consume(item)

    def consumed(self) -> dict[str, int]:
        with self._lock:
            return self._backlog.consumed()

    def arrived(self) -> dict[str, int]:
        with self._lock:
            return self._backlog.arrived()

    def end(self, error: Exception) -> None:
        """Let `take` raise this from now on, also for one who waits."""
        with self._lock:
            self._end = self._end or error
        self._wake()

    # --- for the threads

    def open(self, connection: str, route: str, reset: StreamReset | None) -> None:
        """Count a connection from now on, and announce the gap before what it brings."""
        with self._lock:
            self._backlog.open(connection, route)
        if reset is not None:
            self.put(StreamItem(connection=connection, event=reset, is_frame=False))

    def lose(self, connection: str) -> None:
        with self._lock:
            self._backlog.close(connection)

    def put(self, item: StreamItem) -> None:
        with self._lock:
            self._backlog.put(item)
            must_wake = self._filled is not None and not self._is_waking
            self._is_waking = self._is_waking or must_wake
        if must_wake:
            self.call(self._wake)

    def count_invalid(self) -> int:
        """Count a frame that could not be read; return how many there were."""
        with self._lock:
            self._invalid += 1
            return self._invalid

    def announce(self) -> None:
        """Tell those who wait for `changed`."""
        self.call(self._tell)

    def call(self, function: Callable[..., None], *arguments: object) -> None:
        """Run the function in the loop, if there still is one."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            # The loop was closed without closing the streams first: their threads see `is_alive`.
            logger.debug("stream_loop_gone")

    @property
    def is_alive(self) -> bool:
        return self._loop is not None and not self._loop.is_closed()

    def _wake(self) -> None:
        with self._lock:
            waiter, self._filled = self._filled, None
            self._is_waking = False
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _tell(self) -> None:
        news, self._changed = self._changed, None
        if news is not None and not news.done():
            news.set_result(None)
