"""WebSocketManager comes to an end at once, whatever its connections wait for; and TLS."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from pathlib import Path

import pytest
from aiohttp import web

import websocket_manager
from milo.clock import VenueClock, monotonic_s
from milo.errors import ConfigError, InvariantBroken, StreamGap
from milo.events import StreamEvent
from milo.wire.dialects import BINANCE
from tests.certificates import make_certificate
from tests.stream_server import (
    FAST,
    STREAM,
    Make,
    Server,
    count_up,
    hang_up,
    kline_frame,
    numbers,
    raw_server,
    stay_mute,
    taken,
    until,
)
from websocket_manager import WebSocketManager


async def test_close_ends_connections_that_wait_for_frames(
    server: Server, manager_of: Make
) -> None:
    manager = manager_of(server.url)
    manager.open_market([STREAM])
    manager.open_user("key")
    await manager.wait_open(5)
    started_s = monotonic_s()

    await manager.close()

    assert monotonic_s() - started_s < 1.0
    await until(lambda: not server.live)


async def test_close_ends_a_connection_whose_handshake_is_never_answered(
    manager_of: Make,
) -> None:
    async with raw_server(stay_mute) as (url, connections):
        manager = manager_of(url)
        manager.open_market([STREAM])
        await until(lambda: len(connections) == 1)
        started_s = monotonic_s()

        await manager.close()

        assert monotonic_s() - started_s < 1.0


async def test_close_ends_a_tls_handshake_that_is_never_answered(manager_of: Make) -> None:
    async with raw_server(stay_mute) as (url, connections):
        manager = manager_of(url.replace("ws://", "wss://"))
        manager.open_market([STREAM])
        await until(lambda: len(connections) == 1)
        started_s = monotonic_s()

        await manager.close()

        assert monotonic_s() - started_s < 1.0


async def test_close_ends_a_connection_attempt_that_gets_no_answer_at_all(
    manager_of: Make,
) -> None:
    with socket.socket() as full, contextlib.ExitStack() as fillers:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        manager = manager_of(f"ws://127.0.0.1:{full.getsockname()[1]}")
        manager.open_market([STREAM])
        with pytest.raises(StreamGap):
            await manager.wait_open(0.3)
        started_s = monotonic_s()

        await manager.close()

        assert monotonic_s() - started_s < 1.0


async def test_close_ends_the_pause_before_the_next_attempt(manager_of: Make) -> None:
    async with raw_server(hang_up) as (url, connections):
        manager = manager_of(url, backoff_s=(60.0, 60.0))
        manager.open_market([STREAM])
        await until(lambda: len(connections) == 1)
        started_s = monotonic_s()

        await manager.close()

        assert monotonic_s() - started_s < 1.0


async def test_next_raises_after_close_and_so_does_a_waiting_one(
    server: Server, manager_of: Make
) -> None:
    manager = manager_of(server.url)
    manager.open_market([STREAM])
    await manager.wait_open(5)
    waiting = asyncio.ensure_future(manager.next())
    await asyncio.sleep(0)

    await manager.close()

    with pytest.raises(StreamGap, match="closed"):
        await waiting
    with pytest.raises(StreamGap, match="closed"):
        await manager.next()


async def test_a_cancelled_next_loses_no_event(server: Server, manager_of: Make) -> None:
    manager = manager_of(server.url)
    manager.open_market([STREAM])
    await manager.wait_open(5)
    await until(lambda: len(server.live) == 1)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await manager.next()

    await server.say(kline_frame(1), kline_frame(2))

    assert numbers(await taken(manager, 2)) == [1, 2]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_thread_that_ends_by_an_error_of_ours_is_not_waited_for_in_vain(
    server: Server, manager_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(frame: bytes) -> StreamEvent:
        raise RuntimeError("a bug")

    monkeypatch.setattr(websocket_manager, "read_frame", fail)
    server.script = count_up
    manager = manager_of(server.url)
    manager.open_market([STREAM])

    with pytest.raises(InvariantBroken, match="ws-market-1"):
        await manager.next()


def test_threads_end_when_the_loop_was_closed_without_closing_the_streams() -> None:
    async def start() -> None:
        manager = WebSocketManager(
            dialect=BINANCE, ws_url="ws://127.0.0.1:1", clock=VenueClock(), backoff_s=FAST
        )
        manager.open_market([STREAM])

    asyncio.run(start())

    for thread in threading.enumerate():
        if thread.name.startswith("ws-"):
            thread.join(5)
            assert not thread.is_alive()


@pytest.mark.parametrize("url", ["", "http://x", "ws://", "fstream.binance.com", "ws://x:y"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="address"):
        WebSocketManager(dialect=BINANCE, ws_url=url, clock=VenueClock())


# --- TLS


async def test_a_trusted_certificate_is_accepted_and_another_is_not(
    manager_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server()
    server.script = count_up
    app = web.Application()
    app.router.add_get("/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    certificate = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    url = f"wss://127.0.0.1:{runner.addresses[0][1]}"

    distrusting = manager_of(url)
    distrusting.open_market([STREAM])
    with pytest.raises(StreamGap, match="SSLCertVerificationError"):
        await distrusting.wait_open(1.0)
    await distrusting.close()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    trusting = manager_of(url)
    trusting.open_market([STREAM])
    items = await taken(trusting, 10)
    started_s = monotonic_s()
    await trusting.close()
    elapsed_s = monotonic_s() - started_s
    await runner.cleanup()

    assert len(numbers(items)) == 10
    assert elapsed_s < 1.0
