"""One WebSocket of a client: what it has subscribed to, and its bounded queue.

A slow client stalls nobody: its frames wait in its own queue. Behind a backlog a newer frame of a
stream replaces the waiting one unless that is final (a closed candle); events of the account are
never dropped. A client that falls too far behind is cut off.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from aiohttp import WSCloseCode, web

UNROUTED = ""
PRIVATE = "private"

_CONFLATE_FROM = 64
_MOST_WAITING = 10_000
_INBOUND_PER_S = 10


class Delivery(NamedTuple):
    """Text to be sent: `stream` is its stream, or "" for what must arrive whatever follows."""

    text: str
    stream: str
    is_final: bool


class _Waiting:
    __slots__ = ("stream", "text")

    def __init__(self, text: str, stream: str) -> None:
        self.text = text
        self.stream = stream


class Connection:
    """A client's socket and its queue; frames go out in the order in which they came in."""

    def __init__(
        self, socket: web.WebSocketResponse, number: int, *, root: str, label: str, combined: bool
    ) -> None:
        self.number = number
        self.root = root
        """The entry point that was used: `public`, `market`, `private`, or "" for none."""
        self.label = label
        """What the engine calls it; "" for other clients."""
        self.is_combined = combined
        self.streams: dict[str, None] = {}
        """Names as subscribed, in that order, known ones or not."""
        self.user_events: dict[str, frozenset[str]] = {}
        """Listen keys, each with the event names wanted; an empty set means all."""
        self.sent = 0
        """Text frames that went into the queue and will be sent."""
        self._socket = socket
        self._queue: deque[_Waiting] = deque()
        self._newest: dict[str, _Waiting] = {}
        self._wake = asyncio.Event()
        self._overflow = asyncio.Event()
        self._is_writing = False
        self._inbound_second = 0
        self._inbound = 0

    def push(self, delivery: Delivery, *, wakes_writer: bool = True) -> None:
        """Queue a frame; the writer sends it as soon as the client takes it."""
        if self._overflow.is_set():
            return
        text, stream, is_final = delivery
        if stream and len(self._queue) >= _CONFLATE_FROM:
            waiting = self._newest.get(stream)
            if waiting is not None:
                waiting.text = text
                if is_final:
                    del self._newest[stream]
                return
        self.sent += 1
        waiting = _Waiting(text, stream)
        self._queue.append(waiting)
        if stream:
            if is_final:
                self._newest.pop(stream, None)
            else:
                self._newest[stream] = waiting
        if len(self._queue) > _MOST_WAITING:
            self._overflow.set()
        if wakes_writer:
            self._wake.set()

    async def send(self, deliveries: Iterable[Delivery]) -> None:
        """Queue frames and send them at once, without waiting for the writer's turn."""
        for delivery in deliveries:
            self.push(delivery, wakes_writer=False)
        await self.flush()

    @property
    def is_drained(self) -> bool:
        return not self._queue and not self._is_writing

    async def flush(self) -> None:
        """Send what waits now, unless the writer is at it already."""
        if self._is_writing or self._socket.closed:
            return
        self._is_writing = True
        try:
            while self._queue:
                waiting = self._queue.popleft()
                if waiting.stream and self._newest.get(waiting.stream) is waiting:
                    del self._newest[waiting.stream]
                await self._socket.send_str(waiting.text)
        except ConnectionError:
            self._queue.clear()  # the reader sees the same end
        finally:
            self._is_writing = False

    async def write(self) -> None:
        """Send frames for ever; ends when the socket is gone."""
        while not self._socket.closed:
            await self._wake.wait()
            self._wake.clear()
            await self.flush()

    async def cut_off(self) -> None:
        """Wait until the client is too far behind, then close its socket with 1008."""
        await self._overflow.wait()
        self._queue.clear()
        await self.close(WSCloseCode.POLICY_VIOLATION, b"too slow")

    async def close(self, code: int, reason: bytes) -> None:
        await self._socket.close(code=code, message=reason, drain=False)

    def count_inbound(self, now_s: float) -> bool:
        """Count a message from the client; return whether it keeps to ten a second."""
        if int(now_s) != self._inbound_second:
            self._inbound_second, self._inbound = int(now_s), 0
        self._inbound += 1
        return self._inbound <= _INBOUND_PER_S
