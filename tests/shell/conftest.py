"""Fixtures of the tests that use real sockets: scripted servers, and clients of them."""

from __future__ import annotations

import random
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from api_client import ApiClient
from chart_handler import ChartHandler
from milo.clock import VenueClock
from milo.wire.dialects import BINANCE
from tests.chart_market import ChartMarket, snapshot_of, walk
from tests.scripted_venue import (
    ScriptedVenue,
    client_of,
)
from tests.stream_server import (
    FAST,
    Make,
    Server,
)
from websocket_manager import WebSocketManager


@pytest.fixture
def market() -> ChartMarket:
    """What the chart's server shows."""
    return ChartMarket(snapshot_of(walk(120)))


@pytest.fixture
async def chart(market: ChartMarket) -> AsyncIterator[ChartHandler]:
    """The chart's server, on a free port."""
    handler = ChartHandler(market, port=0)
    await handler.start()
    yield handler
    await handler.stop()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_get("/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"ws://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    for ws in list(server.live):
        await ws.close()
    await runner.cleanup()


@pytest.fixture
async def manager_of() -> AsyncIterator[Make]:
    """Make managers that are closed, and whose threads are gone, at the end of the test."""
    made: list[WebSocketManager] = []

    def make(url: str, **changes: Any) -> WebSocketManager:
        given: dict[str, Any] = {
            "dialect": BINANCE,
            "clock": VenueClock(),
            "backoff_s": FAST,
            "rng": random.Random(1),
        }
        made.append(WebSocketManager(ws_url=url, **(given | changes)))
        return made[-1]

    yield make
    for manager in made:
        await manager.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("ws-")]


@pytest.fixture
async def venue() -> AsyncIterator[ScriptedVenue]:
    venue = ScriptedVenue()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", venue.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    venue.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield venue
    await runner.cleanup()


@pytest.fixture
async def client(venue: ScriptedVenue) -> AsyncIterator[ApiClient]:
    async with client_of(venue.url) as client:
        yield client
