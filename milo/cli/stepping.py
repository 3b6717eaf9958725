"""Stepping: the embedded exchange's clock moves only when the engine has nothing left to do."""

from __future__ import annotations

import asyncio

import aiohttp
import msgspec

from milo.activity import Activity
from milo.cli.context import Streams
from milo.clock import VenueClock
from milo.errors import EngineError
from milo.ops.exchange_process import EmbeddedExchange

_NEVER = {"settling": -1}
"""Counts that agree with no connection: the exchange then only tells its own, and stands still."""


class Answer(msgspec.Struct, frozen=True):
    """What the exchange says to `idle`."""

    clock: int
    sent: dict[str, int]
    moved: bool
    finished: bool


class Stepper:
    """Reports idleness and waits for what each step brings."""

    def __init__(self, streams: Streams, activity: Activity) -> None:
        self._streams = streams
        self._activity = activity
        self._poked = asyncio.Event()
        self._expected: dict[str, int] = {}
        activity.when_idle(self.poke)

    def poke(self) -> None:
        """Look again: an event was consumed, or the engine became idle."""
        self._poked.set()

    async def run(
        self, exchange: EmbeddedExchange, clock: VenueClock, ended: asyncio.Event
    ) -> None:
        """Step the exchange until the run ends or the market has no more data."""
        async with exchange.control() as socket:
            while not ended.is_set():
                await self._until_idle()
                if ended.is_set():
                    return
                answer = await _ask(socket, self._streams.consumed_counts())
                self._expected = answer.sent
                clock.advance_to(answer.clock)
                if answer.finished and not answer.moved and self._has_all():
                    ended.set()

    async def settle(self, exchange: EmbeddedExchange) -> None:
        """Wait until all that the exchange has sent is dealt with, without moving its clock."""
        async with exchange.control() as socket:
            while True:
                await self._until_idle()
                self._expected = (await _ask(socket, _NEVER)).sent
                if self._has_all() and self._activity.is_idle:
                    return

    def _has_all(self) -> bool:
        arrived = self._streams.consumed_counts()
        return all(
            arrived[name] >= count for name, count in self._expected.items() if name in arrived
        )

    async def _until_idle(self) -> None:
        while not (self._activity.is_idle and self._streams.is_drained and self._has_all()):
            self._poked.clear()
            await self._poked.wait()


_decoder = msgspec.json.Decoder(Answer)
_encoder = msgspec.json.Encoder()


async def _ask(socket: aiohttp.ClientWebSocketResponse, consumed: dict[str, int]) -> Answer:
    await socket.send_str(_encoder.encode({"op": "idle", "consumed": consumed}).decode())
    message = await socket.receive()
    if message.type is not aiohttp.WSMsgType.TEXT:
        raise EngineError("the embedded exchange ended while it was being stepped")
    return _decoder.decode(message.data)
