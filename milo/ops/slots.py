"""A few places for requests under way, with some more for those that protect."""

from __future__ import annotations

import asyncio
from collections import deque

from milo.wire.limits import Lane

RESERVED = 4
"""Places that only protective requests take: slow answers to others must not hold them up."""


class Slots:
    """At most `count` requests at once; the protective lane goes first and has some more."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._busy = 0
        self._waiting: dict[Lane, deque[asyncio.Future[None]]] = {lane: deque() for lane in Lane}

    async def acquire(self, lane: Lane) -> None:
        if self._busy < self._room(lane) and not self._waiting[lane]:
            self._busy += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting[lane].append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                # The slot came in the same moment.
                self.release()
            elif turn in self._waiting[lane]:
                self._waiting[lane].remove(turn)
            raise

    def release(self) -> None:
        self._busy -= 1
        for lane in (Lane.PROTECTIVE, Lane.URGENT, Lane.NORMAL):
            while self._waiting[lane] and self._busy < self._room(lane):
                turn = self._waiting[lane].popleft()
                if not turn.done():
                    self._busy += 1
                    turn.set_result(None)

    def _room(self, lane: Lane) -> int:
        return self._count + (RESERVED if lane is Lane.PROTECTIVE else 0)
