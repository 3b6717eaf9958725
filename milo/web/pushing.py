"""The WebSocket of one page: what it watches comes in, what has changed goes out.

Every page has a task of its own that makes the newest message whenever the page has taken the one
before. A page that is slow, or hidden, gets fewer messages and delays nobody; one that does not
read at all is cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import WSCloseCode, WSMsgType, web

from milo.charts.live import LiveFeed
from milo.errors import ConfigError, EngineError

log = logging.getLogger(__name__)

PAUSE_S: Final = 0.1
"""Between two messages to one page."""
SEND_LIMIT_S: Final = 2.0
HEARTBEAT_S: Final = 15.0
MOST_PAGES: Final = 64
_MAX_QUESTION: Final = 4_096
_MAX_NAME: Final = 64
_FAILURE_PAUSE_S: Final = 1.0
_BUFFER_BYTES: Final = 256 * 1024

Told = Callable[["Watch", LiveFeed], Awaitable[bytes | None]]
"""Return the next message of a feed for what a page watches; raises EngineError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What a page looks at, and the history of it that it has."""

    symbol: str | None
    interval: str | None
    series: str | None = None
    total: int = 0
    settled: int = 0
    """It has the overlays' items that end before this index."""


class Question(ValueError):
    """A page sent what is no question; the text says why."""


def parse_watch(text: str) -> Watch | bool:
    """Return what a page's text asks for: a Watch, or whether it is hidden now.

    Raises Question where it is neither.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise Question("that is no JSON") from None
    if not isinstance(found, dict):
        raise Question("that is no object")
    hidden = found.get("hidden")
    if isinstance(hidden, bool):
        return hidden
    watch = found.get("watch")
    if not isinstance(watch, dict):
        raise Question('either "watch" or "hidden" is expected')
    texts: dict[str, Any] = {name: watch.get(name) for name in ("symbol", "interval", "series")}
    for name, value in texts.items():
        if value is not None and not (isinstance(value, str) and 0 < len(value) <= _MAX_NAME):
            raise Question(f"{name} is no short text")
    counts: dict[str, Any] = {name: watch.get(name, 0) for name in ("total", "settled")}
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
            raise Question(f"{name} is no number of candles")
    return Watch(**texts, **counts)


class Pages:
    """All pages that look on at one server."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._open: set[Page] = set()

    def __len__(self) -> int:
        return len(self._open)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer a WebSocket until it ends."""
        if len(self._open) >= MOST_PAGES:
            return web.json_response({"error": "too many pages are open"}, status=503)
        # Per-message compression costs the server more than loopback gains.
        socket = web.WebSocketResponse(
            heartbeat=HEARTBEAT_S, max_msg_size=_MAX_QUESTION, compress=False
        )
        await socket.prepare(request)
        page = Page(socket, request, self._told)
        self._open.add(page)
        try:
            await page.run()
        finally:
            self._open.discard(page)
        return socket

    async def close(self) -> None:
        """Say goodbye to every page; those that do not listen are cut off."""
        await asyncio.gather(*(page.close(WSCloseCode.GOING_AWAY) for page in list(self._open)))


class Page:
    """One page's socket: a reader, and a writer beside it."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request, told: Told) -> None:
        self._socket = socket
        self._request = request
        self._told = told
        self._watch: Watch | None = None
        self._feed = LiveFeed()
        self._is_hidden = False
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Read until the page goes, and write meanwhile."""
        transport = self._request.transport
        if transport is not None:
            # What waits here is old news: `drain` is to say soon that the page does not read.
            transport.set_write_buffer_limits(high=_BUFFER_BYTES)
        writing = asyncio.create_task(self._write())
        try:
            await self._read()
        finally:
            writing.cancel()
            await asyncio.wait({writing})

    async def close(self, code: int, text: str = "") -> None:
        """Close within a moment, whether or not the page answers."""
        try:
            async with asyncio.timeout(0.1):
                await self._socket.close(code=code, message=text.encode(), drain=False)
        except TimeoutError:
            self._cut()

    def _cut(self) -> None:
        transport = self._request.transport
        if transport is not None:
            transport.abort()

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type is not WSMsgType.TEXT:
                await self.close(WSCloseCode.UNSUPPORTED_DATA, "only text is read here")
                return
            try:
                asked = parse_watch(message.data)
            except Question as error:
                await self.close(WSCloseCode.POLICY_VIOLATION, str(error))
                return
            if isinstance(asked, bool):
                self._is_hidden = asked
            else:
                self._watch = asked
                self._feed = LiveFeed(series=asked.series, total=asked.total, settled=asked.settled)
            self._changed.set()

    async def _write(self) -> None:
        while True:
            if self._watch is None or self._is_hidden:
                self._changed.clear()
                await self._changed.wait()
                continue
            self._changed.clear()
            pause_s = PAUSE_S
            try:
                text = await self._told(self._watch, self._feed)
            except ConfigError as error:
                await self._send(_failure(str(error)))
                self._watch = None
                continue
            except (EngineError, TimeoutError) as error:
                text = _failure(str(error) or "the engine is busy")
                pause_s = _FAILURE_PAUSE_S
            if text is not None and not await self._send(text):
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._changed.wait()

    async def _send(self, text: bytes) -> bool:
        try:
            async with asyncio.timeout(SEND_LIMIT_S):
                await self._socket.send_str(text.decode())
        except (TimeoutError, ConnectionError):
            log.info("chart_page_cut reason=%r", "it does not read")
            await self.close(WSCloseCode.TRY_AGAIN_LATER, "you do not read")
            self._cut()
            return False
        return True


def _failure(text: str) -> bytes:
    return json.dumps({"error": text}).encode()
