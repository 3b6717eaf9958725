"""A clock that runs by itself: plays what is due, in small pieces, so that sockets stay alive."""

from __future__ import annotations

import asyncio

from milo.clock import monotonic_s
from milo.exchange.pace import Pace
from milo.exchange.playing import Player

_PIECE_S = 0.005
"""Longest stretch of playing without a turn for the sockets."""
_REST_S = 0.05
"""Longest sleep: a new subscription is noticed after it at the latest."""
_PATIENCE_S = 2.0
"""How long a request waits for a machine that is too slow, before it sees an older market."""
_HOUSEKEEPING_S = 0.25


class FreeRunner:
    """Moves the clock with the wall; at most the market's end."""

    def __init__(self, player: Player, pace: Pace) -> None:
        self._player = player
        self._venue = player.venue
        self._pace = pace
        self._housekept_s = 0.0
        self._has_caught_up = False

    @property
    def lag_ms(self) -> int:
        """Return how far the clock is behind: 0 unless the machine is too slow for the speed."""
        until_ms, next_ms = self._until(), self._venue.next_ms()
        if next_ms is None or next_ms > until_ms:
            return 0
        return until_ms - self._venue.now_ms

    def _until(self) -> int:
        end_ms = self._venue.feed.end_ms
        due_ms = self._pace.due_ms()
        return due_ms if end_ms is None else min(due_ms, end_ms)

    async def run(self) -> None:
        """Play for ever."""
        while True:
            if not self._play_piece(self._until()):
                await asyncio.sleep(0)
                continue
            self._has_caught_up = True
            self._keep_house()
            await asyncio.sleep(self._rest_s())

    async def catch_up(self) -> None:
        """Play all that is due now, before a request is answered.

        On start there may be days to play; later a request waits two seconds at the most.
        """
        until_ms = self._until()
        deadline_s = monotonic_s() + _PATIENCE_S
        while not self._play_piece(until_ms):
            await asyncio.sleep(0)
            if self._has_caught_up and monotonic_s() > deadline_s:
                return
        self._has_caught_up = True

    def _play_piece(self, until_ms: int) -> bool:
        """Play points until `until_ms`, for a moment at most; return whether all are played."""
        venue = self._venue
        stop_s = monotonic_s() + _PIECE_S
        while (next_ms := venue.next_ms()) is not None and next_ms <= until_ms:
            for group in self._player.play_next(next_ms):
                group.push()
            if monotonic_s() >= stop_s:
                return False
        if until_ms > venue.now_ms:
            venue.set_clock(until_ms)
        return True

    def _keep_house(self) -> None:
        now_s = monotonic_s()
        if now_s - self._housekept_s < _HOUSEKEEPING_S:
            return
        self._housekept_s = now_s
        self._player.expire_listen_key(self._pace.safety_ms())
        self._player.save_clock()
        if not self._venue.is_finished:
            self._player.repeat()

    def _rest_s(self) -> float:
        next_ms = self._venue.next_ms()
        if next_ms is None:
            return _REST_S
        ahead_s = (next_ms - self._pace.due_ms()) / 1000 / self._pace.speed
        return min(_REST_S, max(0.0, ahead_s))
