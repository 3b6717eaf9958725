"""Scripted stream servers on loopback: what they say, and how tests listen."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import WSMsgType, web

from milo.clock import monotonic_s
from milo.events import (
    KlineEvent,
)
from websocket_manager import StreamItem, WebSocketManager

FAST = (0.01, 0.05)
STREAM = "btcusdt@kline_1m"


def kline_frame(number: int, *, is_closed: bool = False) -> str:
    candle = {"t": 0, "i": "1m", "o": "1", "h": "1", "l": "1", "c": "1", "v": "1", "x": is_closed}
    event = {"e": "kline", "E": number, "s": "BTCUSDT", "k": candle}
    return json.dumps({"stream": STREAM, "data": event})


def leverage_frame(number: int) -> str:
    return json.dumps({"e": "ACCOUNT_CONFIG_UPDATE", "E": number, "ac": {"s": "A", "l": 5}})


Script = Callable[[web.WebSocketResponse, "Server"], Awaitable[None]]


class Server:
    """A WebSocket server; each connection runs the script, then stays open until it is closed."""

    def __init__(self) -> None:
        self.script: Script = say_nothing
        self.paths: list[str] = []
        self.labels: list[str | None] = []
        self.origins: list[str | None] = []
        self.live: list[web.WebSocketResponse] = []
        self.pings = 0
        self.pongs = 0
        self.url = ""

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        self.paths.append(request.path_qs)
        self.labels.append(request.headers.get("X-Milo-Stream"))
        self.origins.append(request.headers.get("Origin"))
        ws = web.WebSocketResponse(autoping=False)
        await ws.prepare(request)
        self.live.append(ws)
        script = asyncio.ensure_future(self.script(ws, self))
        try:
            async for message in ws:
                if message.type is WSMsgType.PING:
                    self.pings += 1
                    await ws.pong(message.data)
                elif message.type is WSMsgType.PONG:
                    self.pongs += 1
        finally:
            script.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await script
            self.live.remove(ws)
        return ws

    async def say(self, *frames: str) -> None:
        """Send the frames on the newest connection."""
        for frame in frames:
            await self.live[-1].send_str(frame)


async def say_nothing(ws: web.WebSocketResponse, server: Server) -> None:
    return


async def count_up(ws: web.WebSocketResponse, server: Server) -> None:
    """Send ten frames that carry the number of the connection."""
    for number in range(10):
        await ws.send_str(kline_frame(100 * len(server.paths) + number))


Make = Callable[..., WebSocketManager]


async def taken(manager: WebSocketManager, count: int) -> list[StreamItem]:
    items = []
    async with asyncio.timeout(10):
        while len(items) < count:
            items.append(await manager.next())
            manager.consumed(items[-1])
    return items


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in other threads
            await asyncio.sleep(0.002)


def numbers(items: list[StreamItem]) -> list[int]:
    return [item.event.event_ms for item in items if isinstance(item.event, KlineEvent)]


# --- raw servers

Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def raw_server(speak: Speak) -> AsyncIterator[tuple[str, list[float]]]:
    """Serve TCP connections by a script; yield the address and the times of the connections."""
    connections: list[float] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(monotonic_s())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await speak(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", connections
    finally:
        server.close()


async def stay_mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    return


async def shake_hands_and_say_nothing(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    request = await reader.readuntil(b"\r\n\r\n")
    key = next(line.split(b": ")[1] for line in request.split(b"\r\n") if b"WebSocket-Key" in line)
    guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    digest = hashlib.sha1(key + guid).digest()
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
    )
    await reader.read()
