"""A proxy between Milo and an exchange: it hears every secret on the way, and can misbehave.

What it heard (API keys, signatures, listen keys) is what a test then looks for in everything that
Milo left behind. Its misbehaviour is that of real gateways: error pages that repeat the request.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from urllib.parse import parse_qsl

import aiohttp
from aiohttp import web

_PASSED_ON = ("X-MBX-APIKEY", "Content-Type", "User-Agent")


class Mood(StrEnum):
    """What the proxy does with a signed request."""

    HONEST = "honest"
    PAGE = "page"
    """A 500 with a plain page that repeats request line, headers and body."""
    REFUSAL = "refusal"
    """A refusal in the venue's own form whose message repeats the request."""
    SUCCESS = "success"
    """A 200 whose body is no answer but repeats the request."""
    GARBAGE = "garbage"
    """Bytes that are no HTTP."""
    CUT = "cut"
    """The connection breaks before an answer."""


class OverhearingProxy:
    """Passes REST and streams on to `venue_url`; `mood` says how signed requests fare."""

    def __init__(self, venue_url: str) -> None:
        self.venue_url = venue_url
        self.url = ""
        self.mood = Mood.HONEST
        self.refused_paths: frozenset[str] = frozenset()
        """Paths that are refused with an echo in every mood."""
        self.overheard: set[str] = set()
        self.misbehaved = 0
        self._session: aiohttp.ClientSession | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._stream(request)
        body = await request.read()
        self._overhear(request, body)
        is_secret = "X-MBX-APIKEY" in request.headers
        mood = Mood.REFUSAL if request.path in self.refused_paths else self.mood
        if is_secret and mood is not Mood.HONEST:
            self.misbehaved += 1
            return self._misbehave(request, body, mood)
        return await self._pass_on(request, body)

    def _overhear(self, request: web.Request, body: bytes) -> None:
        self.overheard.add(request.headers.get("X-MBX-APIKEY", ""))
        for part in (request.query_string, body.decode("latin-1")):
            told = dict(parse_qsl(part))
            self.overheard.update(told.get(name, "") for name in ("signature", "listenKey"))

    def _misbehave(self, request: web.Request, body: bytes, mood: Mood) -> web.StreamResponse:
        # The secret ones first: what is shown of a message is cut.
        names = sorted(request.headers, key=lambda name: name != "X-MBX-APIKEY")
        lines = [f"{name}: {request.headers[name]}" for name in names]
        echo = "\n".join([f"{request.method} {request.raw_path}", *lines, body.decode("latin-1")])
        match mood:
            case Mood.PAGE:
                return web.Response(status=500, text=f"Internal error\n{echo}")
            case Mood.REFUSAL:
                return web.json_response({"code": -1022, "msg": f"Bad: {echo}"}, status=400)
            case Mood.SUCCESS:
                return web.json_response({"echo": echo, "listenKey": 5})
            case Mood.GARBAGE:
                assert request.transport is not None
                request.transport.write(b"HTTP/9.9 \xff\xfe nonsense\r\n" + echo.encode())
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    async def _pass_on(self, request: web.Request, body: bytes) -> web.Response:
        assert self._session is not None
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        url = aiohttp.client.URL(self.venue_url + request.raw_path, encoded=True)
        async with self._session.request(
            request.method, url, data=body or None, headers=headers
        ) as answer:
            content = await answer.read()
            if request.path.endswith("/listenKey") and answer.status == 200:
                self.overheard.add(str(json.loads(content).get("listenKey", "")))
            kept = {name: value for name, value in answer.headers.items() if name != "Server"}
            for name in ("Content-Length", "Content-Encoding", "Transfer-Encoding", "Date"):
                kept.pop(name, None)
            return web.Response(status=answer.status, body=content, headers=kept)

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        assert self._session is not None
        ours = web.WebSocketResponse(autoping=False)
        url = self.venue_url.replace("http", "ws", 1) + request.raw_path
        async with self._session.ws_connect(url, autoping=False, max_msg_size=0) as theirs:
            await ours.prepare(request)
            done, left = await asyncio.wait(
                {
                    asyncio.ensure_future(_pump(ours, theirs)),
                    asyncio.ensure_future(_pump(theirs, ours)),
                },
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in left:
                task.cancel()
            await asyncio.wait(done | left)
            await ours.close()
        return ours


_Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def _pump(source: _Socket, target: _Socket) -> None:
    async for message in source:
        if message.type is aiohttp.WSMsgType.TEXT:
            await target.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.PING:
            await target.ping(message.data)
        elif message.type is aiohttp.WSMsgType.PONG:
            await target.pong(message.data)


@asynccontextmanager
async def overhearing(venue_url: str) -> AsyncIterator[OverhearingProxy]:
    """A proxy before the exchange at that address, on a free port of this computer."""
    proxy = OverhearingProxy(venue_url)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", proxy.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with aiohttp.ClientSession(auto_decompress=True) as proxy._session:
        yield proxy
        await runner.cleanup()
