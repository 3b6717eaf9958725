"""A clock that stands still until the engine is idle, so that every run is the same.

The engine says on the control socket what it has consumed of each of its connections. If that is
all that was sent, the market moves to the next moment that concerns one of them, and one connection
is told of it. `wire` words of the control route: see docs/embedded-exchange.md.
"""

from __future__ import annotations

import asyncio
from collections import deque

import msgspec

from milo.clock import monotonic_s
from milo.exchange.connections import Connection
from milo.exchange.pace import Pace
from milo.exchange.playing import Player
from milo.exchange.streams import Group, StreamHub
from milo.intervals import DAY_MS

_PIECE_S = 0.005
_FARTHEST_MS = DAY_MS
"""Exchange time without news after which the engine is told of the clock all the same."""


class _Idle(msgspec.Struct):
    op: str
    consumed: dict[str, int]


_IDLE = msgspec.json.Decoder(_Idle)


class Stepper:
    """Carries out the engine's idle reports."""

    def __init__(self, player: Player, hub: StreamHub, pace: Pace) -> None:
        self._player = player
        self._venue = player.venue
        self._hub = hub
        self._pace = pace
        self._pending: deque[Group] = deque()
        self._is_stepping = False

    async def on_message(self, text: str) -> str:
        """Carry out a message of the control socket and return the reply's text."""
        try:
            idle = _IDLE.decode(text)
        except msgspec.MsgspecError as error:
            return _refused(f"not understood: {error}")
        if idle.op != "idle":
            return _refused(f"unknown op {idle.op!r}")
        if not self._pace.is_stepped:
            return _refused("this exchange runs by itself: start it with --speed max to step it")
        if self._is_stepping:  # another control socket is at it
            return self._reply(has_moved=False)
        self._is_stepping = True
        try:
            return self._reply(await self._step(idle.consumed))
        finally:
            self._is_stepping = False

    async def _step(self, consumed: dict[str, int]) -> bool:
        """Move on if everything was consumed; return whether anything moved."""
        for connection in self._hub.labelled:
            if consumed.get(connection.label) != connection.sent or not connection.is_drained:
                return False
        start_ms = self._venue.now_ms
        group = await self._next_group()
        if group is not None:
            await group.connection.send(group.deliveries)
        self._player.expire_listen_key(self._pace.safety_ms())
        self._player.save_clock()
        return group is not None or self._venue.now_ms != start_ms

    async def _next_group(self) -> Group | None:
        """Return the next frames for one of the engine's connections; None where none come."""
        farthest_ms = self._venue.now_ms + _FARTHEST_MS
        stop_s = monotonic_s() + _PIECE_S
        while True:
            while self._pending:
                group = self._pending.popleft()
                if group.connection in self._hub.connections:
                    return group
            if self._venue.now_ms >= farthest_ms or not self._hub.has_labelled_interest():
                return None
            if not self._play_on():
                return None
            if monotonic_s() >= stop_s:
                await asyncio.sleep(0)
                stop_s = monotonic_s() + _PIECE_S

    def _play_on(self) -> bool:
        """Play the next instant; False at the market's end."""
        next_ms = self._venue.next_ms()
        if next_ms is None:
            end_ms = self._venue.feed.end_ms
            if end_ms is not None and end_ms > self._venue.now_ms:
                self._venue.set_clock(end_ms)
            return False
        for group in self._player.play_next(next_ms):
            if group.connection.label:
                self._pending.append(group)
            else:
                group.push()
        return True

    def _reply(self, has_moved: bool) -> str:
        sent = ",".join(f"{_quoted(c)}:{c.sent}" for c in self._hub.labelled)
        moved = "true" if has_moved else "false"
        finished = "true" if self._venue.is_finished and not self._pending else "false"
        return (
            f'{{"clock":{self._venue.now_ms},"sent":{{{sent}}},'
            f'"moved":{moved},"finished":{finished}}}'
        )


def _quoted(connection: Connection) -> str:
    return msgspec.json.encode(connection.label).decode()


def _refused(reason: str) -> str:
    return msgspec.json.encode({"error": reason}).decode()
