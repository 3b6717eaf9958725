"""A client of the embedded exchange for tests: real sockets on loopback, nothing of Milo's own."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp import ClientWebSocketResponse
from yarl import URL

from milo.exchange.process import Settings, build_server, market_of, plan_of
from milo.exchange.server import HOST, ExchangeServer
from milo.exchange.state_db import StateDb

START_MS = 1_767_225_600_000  # 2026-01-01T00:00Z
MINUTE_MS = 60_000


class Client:
    """Signs requests, opens streams, steps the clock."""

    def __init__(self, session: aiohttp.ClientSession, port: int, server: ExchangeServer) -> None:
        self.session = session
        self.server = server
        self.rest_url = f"http://{HOST}:{port}"
        self.ws_url = f"ws://{HOST}:{port}"

    @property
    def now_ms(self) -> int:
        return self.server.venue.now_ms

    async def get(self, path: str, **params: str | int) -> Any:
        """Ask without a signature; the body, whatever the status."""
        async with self.session.get(self.rest_url + path, params=params) as answer:
            return await answer.json()

    async def signed(self, method: str, path: str, **params: str | int) -> Any:
        """Ask with key and signature; the body, whatever the status."""
        keys = self.server.secrets
        payload = urlencode(params | {"timestamp": self.now_ms})
        signature = hmac.new(keys.api_secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
        url = URL(f"{self.rest_url}{path}?{payload}&signature={signature}", encoded=True)
        headers = {"X-MBX-APIKEY": keys.api_key}
        async with self.session.request(method, url, headers=headers) as answer:
            return await answer.json()

    async def listen_key(self) -> str:
        headers = {"X-MBX-APIKEY": self.server.secrets.api_key}
        url = self.rest_url + "/fapi/v1/listenKey"
        async with self.session.post(url, headers=headers) as answer:
            return (await answer.json())["listenKey"]

    async def stream(self, path: str, label: str = "") -> ClientWebSocketResponse:
        """Open a stream by its path below the WebSocket address."""
        headers = {"X-Milo-Stream": label} if label else {}
        return await self.session.ws_connect(self.ws_url + path, headers=headers)

    async def user_stream(self, label: str = "") -> ClientWebSocketResponse:
        return await self.stream(f"/private/ws/{await self.listen_key()}", label)

    async def control(self) -> ClientWebSocketResponse:
        headers = {"X-Milo-Token": self.server.secrets.control_token}
        return await self.session.ws_connect(self.rest_url + "/milo/control", headers=headers)


async def frame_of(socket: ClientWebSocketResponse, timeout_s: float = 5.0) -> Any:
    """Return the next frame's JSON; TimeoutError where none comes."""
    return json.loads(await socket.receive_str(timeout=timeout_s))


async def frames_until(socket: ClientWebSocketResponse, event: str) -> list[Any]:
    """Return the frames up to the first of that event, it included."""
    frames = [await frame_of(socket)]
    while frames[-1]["e"] != event:
        frames.append(await frame_of(socket))
    return frames


class Stepper:
    """An engine that is always idle: consumes every frame, then lets the market move on."""

    def __init__(
        self, control: ClientWebSocketResponse, sockets: dict[str, ClientWebSocketResponse]
    ) -> None:
        self._control = control
        self._sockets = sockets
        self.consumed = dict.fromkeys(sockets, 0)
        self.reply: dict[str, Any] = {}

    async def idle(self) -> list[tuple[str, Any]]:
        """Report idle and return what was sent then: (label, frame) in order."""
        await self._control.send_str(json.dumps({"op": "idle", "consumed": self.consumed}))
        self.reply = json.loads(await self._control.receive_str(timeout=10))
        frames = []
        for label, sent in self.reply["sent"].items():
            while self.consumed[label] < sent:
                frames.append((label, await frame_of(self._sockets[label])))
                self.consumed[label] += 1
        return frames


def market_file(folder: Path, minutes: Sequence[tuple[str, str, str, str]]) -> Path:
    """Write minutes (open, high, low, close) from 2026-01-01 on as a recording."""
    lines = ["open_time_ms,open,high,low,close,volume"]
    for number, prices in enumerate(minutes):
        lines.append(",".join([str(START_MS + number * MINUTE_MS), *prices, "12"]))
    path = folder / "market.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Client]:
    """Run an exchange in this process, on a free port."""
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    store = StateDb(settings.state_dir)
    plan = plan_of(settings)
    server = build_server(settings, market_of(settings), store, plan)
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    try:
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(server.serve(0, ready.set_result))
            port = await ready
            async with aiohttp.ClientSession() as session:
                yield Client(session, port, server)
            server.stop()
            await serving
    finally:
        store.close()
        if plan is not None and plan.ledger is not None:
            plan.ledger.close()
