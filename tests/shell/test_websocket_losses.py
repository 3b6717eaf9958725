"""WebSocketManager with servers that drop, go silent, lie and talk junk."""

from __future__ import annotations

import asyncio
import socket
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web

from milo.clock import VenueClock, monotonic_s
from milo.errors import StreamGap
from milo.events import (
    IgnoredEvent,
    LeverageEvent,
    ListenKeyExpired,
    StreamReset,
)
from tests.stream_server import (
    STREAM,
    Make,
    Server,
    count_up,
    hang_up,
    kline_frame,
    leverage_frame,
    numbers,
    raw_server,
    shake_hands_and_say_nothing,
    taken,
    until,
)


async def test_after_a_drop_a_reset_comes_before_the_new_connections_events(
    server: Server, manager_of: Make
) -> None:
    server.script = count_up
    manager = manager_of(server.url, labelled=True)
    manager.open_market([STREAM])
    before = await taken(manager, 10)

    await server.live[-1].close()
    after = await taken(manager, 11)

    assert after[0].event == StreamReset(route="market", reason="closed by the venue")
    assert not after[0].is_frame
    assert numbers(after) == list(range(200, 210))
    assert {item.connection for item in before} == {server.labels[0]}
    assert {item.connection for item in after} == {server.labels[1]}
    assert manager.consumed_counts() == {server.labels[1]: 10}


async def test_a_connection_that_breaks_without_goodbye_is_opened_again(
    server: Server, manager_of: Make
) -> None:
    manager = manager_of(server.url)
    manager.open_user("key")
    await manager.wait_open(5)
    await until(lambda: len(server.live) == 1)
    writer = server.live[-1]._writer
    assert writer is not None

    writer.transport.abort()
    (item,) = await taken(manager, 1)

    assert isinstance(item.event, StreamReset)
    assert item.event.route == "user"
    assert item.event.reason in ("connection lost", "connection reset by peer")
    assert server.paths == ["/private/ws/key"] * 2


async def test_a_silent_market_connection_is_opened_again_even_if_it_pings(
    server: Server, manager_of: Make
) -> None:
    async def only_ping(ws: web.WebSocketResponse, _: Server) -> None:
        while True:
            await ws.ping()
            await asyncio.sleep(0.02)

    server.script = only_ping
    manager = manager_of(server.url, silence_s=0.3)
    manager.open_market([STREAM])
    started_s = monotonic_s()

    (item,) = await taken(manager, 1)

    assert item.event == StreamReset(route="market", reason="silent for 0.3 s")
    assert monotonic_s() - started_s >= 0.3


async def test_a_quiet_user_connection_stays_as_long_as_it_answers(
    server: Server, manager_of: Make
) -> None:
    manager = manager_of(server.url, silence_s=0.4)
    manager.open_user("key")
    await manager.wait_open(5)

    await until(lambda: server.pings >= 3)

    assert len(server.paths) == 1
    assert manager.is_drained


async def test_a_user_connection_that_answers_no_ping_is_opened_again(manager_of: Make) -> None:
    async with raw_server(shake_hands_and_say_nothing) as (url, connections):
        manager = manager_of(url, silence_s=0.1)
        manager.open_user("key")

        (item,) = await taken(manager, 1)

        assert item.event == StreamReset(route="user", reason="silent for 0.1 s")
        assert len(connections) >= 2


@pytest.mark.parametrize("changes", [{"silence_s": None}, {"clock": VenueClock(speed=0.0)}])
async def test_silence_is_not_watched_where_it_means_nothing(
    server: Server, manager_of: Make, changes: dict[str, Any]
) -> None:
    manager = manager_of(server.url, **({"silence_s": 0.05} | changes))
    manager.open_market([STREAM])
    await manager.wait_open(5)
    await until(lambda: len(server.live) == 1)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.4):
            await manager.next()

    assert len(server.paths) == 1


async def test_a_connection_is_renewed_before_the_venue_ends_it(
    server: Server, manager_of: Make
) -> None:
    manager = manager_of(server.url, rotation_s=0.2, silence_s=0.4)
    manager.open_user("key")

    (item,) = await taken(manager, 1)

    assert item.event == StreamReset(route="user", reason="renewed because of its age")


async def test_a_new_listen_key_replaces_the_connection_and_announces_a_gap(
    server: Server, manager_of: Make
) -> None:
    manager = manager_of(server.url)
    manager.open_user("first")
    await manager.wait_open(5)
    await until(lambda: len(server.live) == 1)
    await server.say('{"e":"listenKeyExpired","E":5,"listenKey":"first"}')
    (expired,) = await taken(manager, 1)

    manager.open_user("second")
    (reset,) = await taken(manager, 1)
    await until(lambda: len(server.live) == 1)

    assert expired.event == ListenKeyExpired(listen_key="first", event_ms=5)
    assert reset.event == StreamReset(route="user", reason="listen key changed")
    assert server.paths == ["/private/ws/first", "/private/ws/second"]


async def test_a_venue_that_comes_up_late_is_waited_for(manager_of: Make) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    manager = manager_of(f"ws://127.0.0.1:{port}")
    manager.open_market([STREAM])
    with pytest.raises(StreamGap, match="connection refused"):
        await manager.wait_open(0.1)
    late = Server()
    late.script = count_up
    app = web.Application()
    app.router.add_get("/{path:.*}", late.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()

    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        items = await taken(manager, 10)
    finally:
        await manager.close()
        await runner.cleanup()

    assert numbers(items) == list(range(100, 110))


async def test_attempts_are_spaced_further_and_further(manager_of: Make) -> None:
    async with raw_server(hang_up) as (url, connections):
        manager = manager_of(url, backoff_s=(0.05, 0.2))
        manager.open_market([STREAM])

        await until(lambda: len(connections) >= 6)

        gaps = [later - earlier for earlier, later in pairwise(connections)]
        assert gaps[0] >= 0.025
        assert min(gaps[2:]) >= 0.1


# --- junk


async def test_frames_that_cannot_be_read_are_counted_and_do_no_harm(
    server: Server, manager_of: Make
) -> None:
    manager = manager_of(server.url)
    manager.open_market([STREAM])
    await manager.wait_open(5)
    await until(lambda: len(server.live) == 1)

    await server.say("", "junk", "{", '{"e":"kline"}', kline_frame(1))
    items = await taken(manager, 5)

    assert [item.event for item in items[:4]] == [IgnoredEvent(name="invalid")] * 4
    assert numbers(items[4:]) == [1]
    assert manager.invalid == 4
    assert list(manager.consumed_counts().values()) == [5]


async def test_an_account_frame_that_cannot_be_read_is_a_gap(
    server: Server, manager_of: Make
) -> None:
    manager = manager_of(server.url)
    manager.open_user("key")
    await manager.wait_open(5)
    await until(lambda: len(server.live) == 1)

    await server.say('{"e":"ORDER_TRADE_UPDATE","E":1,"o":{}}', leverage_frame(2))
    items = await taken(manager, 2)

    assert items[0].event == StreamReset(route="user", reason="unreadable frame")
    assert items[0].is_frame
    assert items[1].event == LeverageEvent(symbol="A", leverage=5, event_ms=2)


async def test_binary_frames_are_no_messages(server: Server, manager_of: Make) -> None:
    manager = manager_of(server.url)
    manager.open_market([STREAM])
    await manager.wait_open(5)
    await until(lambda: len(server.live) == 1)

    await server.live[-1].send_bytes(b"\x00\xff")
    await server.say(kline_frame(1))
    items = await taken(manager, 1)

    assert numbers(items) == [1]
    assert list(manager.arrived_counts().values()) == [1]


async def test_a_broken_frame_ends_the_connection_and_a_new_one_serves(
    server: Server, manager_of: Make
) -> None:
    async def break_once(ws: web.WebSocketResponse, server: Server) -> None:
        assert ws._writer is not None
        if len(server.paths) == 1:
            ws._writer.transport.write(b"\xf1\x01x")
        else:
            await ws.send_str(kline_frame(3))

    server.script = break_once
    manager = manager_of(server.url, silence_s=5.0)
    manager.open_market([STREAM])

    items = await taken(manager, 2)

    assert isinstance(items[0].event, StreamReset)
    assert numbers(items[1:]) == [3]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>", "refused with HTTP 502"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://example.org/\r\n\r\n", "Redirect"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "Invalid status line"),
        (b"\xff\xfe\r\n\r\n", "Invalid header line"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "Invalid WebSocket Header"),
        (b"", "connection lost"),
    ],
)
async def test_a_server_that_is_no_stream_is_named_as_the_reason(
    manager_of: Make, answer: bytes, reason: str
) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    async with raw_server(speak) as (url, connections):
        manager = manager_of(url)
        manager.open_market([STREAM])
        await until(lambda: len(connections) >= 2)

        with pytest.raises(StreamGap, match=reason):
            await manager.wait_open(0.3)
